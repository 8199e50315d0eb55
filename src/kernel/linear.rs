//! The linear layer.

use super::product::{Products, Right, RowsProduct, Start};
use super::workspace::{Buffer, Shared};
use super::{Kernels, Precision};

/// What the products keep from call to call.
#[derive(Default)]
pub(super) struct ProductWorkspace {
    units: Buffer,
    right: Buffer,
    chunk: Buffer,
    pub losses: Buffer,
}

impl Kernels {
    /// `y = x · Wᵀ + bias`: `x` is `(N, I)`, `w` `(O, I)`, `bias` `(O)`, `y` `(N, O)`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn linear_forward(
        &mut self,
        precision: Precision,
        x: &[f32],
        w: &[f32],
        bias: &[f32],
        y: &mut [f32],
    ) {
        let (outputs, inputs, positions) = linear_shape(w, bias.len(), y.len());
        assert_eq!(x.len(), positions * inputs, "x is (N, I)");
        let ProductWorkspace { units, right, .. } = &mut self.product;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision,
        };
        let b = products.pack(w, true, inputs, outputs, right);
        let a = products.rows(x, inputs, units);
        let depth = products.units(inputs);
        products.product(RowsProduct {
            a: a.0,
            lda: depth,
            rows: positions,
            b: b.0,
            depth,
            columns: outputs,
            c: y.as_mut_ptr(),
            ldc: outputs,
            start: Start::Bias(bias.as_ptr()),
        });
    }

    /// Gradients of [`linear_forward`](Kernels::linear_forward) from `dy` `(N, O)`; `dx`, `dw` and `db`, shaped like `x`,
    /// `w` and the bias, are overwritten.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    #[allow(clippy::too_many_arguments)]
    pub fn linear_backward(
        &mut self,
        precision: Precision,
        x: &[f32],
        w: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dw: &mut [f32],
        db: &mut [f32],
    ) {
        let (outputs, inputs, positions) = linear_shape(w, db.len(), dy.len());
        assert_eq!(
            (x.len(), dx.len(), dw.len()),
            (positions * inputs, positions * inputs, w.len()),
            "x is (N, I)"
        );
        let ProductWorkspace {
            units,
            right,
            chunk,
            ..
        } = &mut self.product;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision,
        };
        let b = products.pack(w, false, outputs, inputs, right);
        let a = products.rows(dy, outputs, units);
        let depth = products.units(outputs);
        products.product(RowsProduct {
            a: a.0,
            lda: depth,
            rows: positions,
            b: b.0,
            depth,
            columns: inputs,
            c: dx.as_mut_ptr(),
            ldc: inputs,
            start: Start::Zero,
        });
        let packed = products.pack(x, false, positions, inputs, right);
        let right = Right {
            packed,
            columns: inputs,
            to: Shared::of(dw),
        };
        products.weight_gradient(dy, &[right], db, chunk);
    }
}

/// Outputs, inputs and positions of a linear layer.
fn linear_shape(w: &[f32], outputs: usize, y: usize) -> (usize, usize, usize) {
    assert!(
        outputs > 0 && w.len().is_multiple_of(outputs) && y.is_multiple_of(outputs),
        "w is (O, I), y (N, O) and the bias (O)"
    );
    (outputs, w.len() / outputs, y / outputs)
}

#[cfg(test)]
mod tests {
    use super::super::KernelPath;
    use super::super::reference::{self, Numbers};
    use super::*;

    #[test]
    fn values_and_gradients_agree_with_f64_on_every_path_and_odd_shape() {
        for (n, inputs, outputs) in [
            (1, 1, 1),
            (7, 5, 3),
            (50, 128, 88),
            (601, 33, 70),
            (13, 300, 19),
            (600, 16, 65),
        ] {
            let mut numbers = Numbers::new(3);
            let (x, w) = (
                numbers.vector(n * inputs, 1.0),
                numbers.vector(outputs * inputs, 1.0),
            );
            let (bias, dy) = (
                numbers.vector(outputs, 1.0),
                numbers.vector(n * outputs, 1.0),
            );
            let truth = reference::linear(&x, &w, &bias, &dy);
            for path in KernelPath::testable() {
                for (precision, tolerance) in [(Precision::F32, 3e-6), (Precision::Bf16, 1.5e-2)] {
                    let mut first: Option<[Vec<f32>; 4]> = None;
                    for threads in [1, 2, 3] {
                        let mut kernels = Kernels::new(path, threads);
                        let mut found =
                            [dy.len(), x.len(), w.len(), outputs].map(|len| vec![f32::NAN; len]);
                        let [y, dx, dw, db] = &mut found;
                        kernels.linear_forward(precision, &x, &w, &bias, y);
                        kernels.linear_backward(precision, &x, &w, &dy, dx, dw, db);
                        let name =
                            format!("{} {precision:?} {n} x {inputs} x {outputs}", path.name());
                        for (found, truth) in found.iter().zip(&truth) {
                            reference::assert_close(found, truth, tolerance, &name);
                        }
                        assert!(
                            first.as_ref().is_none_or(|first| *first == found),
                            "{name}: {threads} threads differ"
                        );
                        first = Some(found);
                    }
                }
            }
        }
    }
}
