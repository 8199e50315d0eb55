//! The linear layer.

use super::context::Kernels;
use super::product::{Products, Right, RowsProduct, Start};
use super::scratch::ProductWorkspace;
use super::workspace::{Shared, View};

/// A linear layer's parameters.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// `(O, I)`
    pub weight: &'a [f32],
    /// `(O)`
    pub bias: &'a [f32],
}

/// Where the gradients of a linear layer go, each shaped like its value and overwritten.
#[derive(Debug)]
pub struct LinearGradients<'a> {
    /// Of its input.
    pub input: &'a mut [f32],
    /// Of its weight.
    pub weight: &'a mut [f32],
    /// Of its bias.
    pub bias: &'a mut [f32],
}

impl Linear<'_> {
    /// Outputs and inputs.
    pub(super) fn shape(&self) -> (usize, usize) {
        let outputs = self.bias.len();
        assert!(
            outputs > 0 && self.weight.len().is_multiple_of(outputs),
            "a weight is (O, I) and its bias (O)"
        );
        (outputs, self.weight.len() / outputs)
    }
}

impl LinearGradients<'_> {
    pub(super) fn check(&self, input: &[f32], layer: Linear) {
        assert_eq!(
            [self.input.len(), self.weight.len(), self.bias.len()],
            [input.len(), layer.weight.len(), layer.bias.len()],
            "gradients are shaped like values"
        );
    }
}

impl Kernels {
    /// `y = x · Wᵀ + bias`: `x` is `(N, I)`, `y` `(N, O)`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn linear(&mut self, x: &[f32], layer: Linear<'_>, y: &mut [f32]) {
        let (outputs, inputs) = layer.shape();
        let positions = y.len() / outputs;
        assert_eq!(
            (x.len(), y.len()),
            (positions * inputs, positions * outputs),
            "x is (N, I), y (N, O)"
        );
        let ProductWorkspace { units, right, .. } = &mut self.product;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision: self.precision,
        };
        let b = products.pack(layer.weight, true, (inputs, outputs), right);
        let a = products.rows(View::of(x), (positions, inputs), units);
        let depth = products.units(inputs);
        products.product(RowsProduct {
            a,
            lda: depth,
            rows: positions,
            b,
            depth,
            columns: outputs,
            c: Shared::of(y),
            ldc: outputs,
            start: Start::Bias(layer.bias),
        });
    }

    /// Gradients of [`linear`](Kernels::linear) from `dy` `(N, O)`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn linear_backward(
        &mut self,
        x: &[f32],
        layer: Linear<'_>,
        dy: &[f32],
        gradients: LinearGradients<'_>,
    ) {
        let (outputs, inputs) = layer.shape();
        let positions = dy.len() / outputs;
        assert_eq!(
            (x.len(), dy.len()),
            (positions * inputs, positions * outputs),
            "x is (N, I), dy (N, O)"
        );
        gradients.check(x, layer);
        let ProductWorkspace {
            units,
            right,
            chunk,
            ..
        } = &mut self.product;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision: self.precision,
        };
        let b = products.pack(layer.weight, false, (outputs, inputs), right);
        let a = products.rows(View::of(dy), (positions, outputs), units);
        let depth = products.units(outputs);
        products.product(RowsProduct {
            a,
            lda: depth,
            rows: positions,
            b,
            depth,
            columns: inputs,
            c: Shared::of(gradients.input),
            ldc: inputs,
            start: Start::Zero,
        });
        let packed = products.pack(x, false, (positions, inputs), right);
        let right = Right {
            packed,
            columns: inputs,
            to: Shared::of(gradients.weight),
        };
        products.weight_gradient(dy, &[right], gradients.bias, chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{self, Numbers};
    use super::super::{KernelPath, Precision};
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
                        let mut kernels = Kernels::new(path, threads, precision);
                        let mut found =
                            [dy.len(), x.len(), w.len(), outputs].map(|len| vec![f32::NAN; len]);
                        let [y, dx, dw, db] = &mut found;
                        let layer = Linear {
                            weight: &w,
                            bias: &bias,
                        };
                        let gradients = LinearGradients {
                            input: dx,
                            weight: dw,
                            bias: db,
                        };
                        kernels.linear(&x, layer, y);
                        kernels.linear_backward(&x, layer, &dy, gradients);
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
