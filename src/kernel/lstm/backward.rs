//! Backward: the same in reverse, gates becoming the gradients of their sums; then the weights.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`) and extents follow an `LstmShape`, checked against
// all slices on entry.
#![allow(unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use super::super::keys::{KEYS, spread_to_keys};
use super::super::math::tanh;
use super::super::path::FormatTask;
use super::super::product::{Format, Products, Right, RowsProduct, Start, pack_row};
use super::super::simd::Simd;
use super::super::workspace::{Shared, part};
use super::super::{Kernels, Precision};
use super::{LstmInput, LstmShape, LstmTape, LstmWeights};

impl Kernels {
    /// Gradients of a layer from `dh` `(T, B, H)`, the gradient with respect to its outputs; none comes from beyond the
    /// window (truncated backpropagation through time), and none goes to `h0` and `c0`.
    ///
    /// The other arguments are those of [`lstm_forward`](Kernels::lstm_forward), `h` its output. `dfrom`, the gradient of the vectors
    /// `(T, B, I)` or of the table `(88, I)`, `dw_ih`, `dw_hh` and `db` are overwritten. The tape is used up.
    ///
    /// # Panics
    /// If a slice has the wrong length, or the tape was not filled for this shape.
    #[allow(clippy::too_many_arguments)]
    pub fn lstm_backward(
        &mut self,
        precision: Precision,
        shape: LstmShape,
        weights: LstmWeights<'_>,
        from: LstmInput<'_>,
        h0: &[f32],
        c0: &[f32],
        h: &[f32],
        tape: &mut LstmTape,
        dh: &[f32],
        dfrom: &mut [f32],
        dw_ih: &mut [f32],
        dw_hh: &mut [f32],
        db: &mut [f32],
    ) {
        shape.check(weights, from, [h0, c0], h);
        assert_eq!(
            (dh.len(), dfrom.len()),
            (h.len(), from.values().len()),
            "gradients are shaped like values"
        );
        assert_eq!(
            dw_ih.len(),
            weights.w_ih.len(),
            "gradients are shaped like values"
        );
        assert_eq!(
            dw_hh.len(),
            weights.w_hh.len(),
            "gradients are shaped like values"
        );
        assert_eq!(
            db.len(),
            weights.bias.len(),
            "gradients are shaped like values"
        );
        assert_eq!(
            tape.shape.take(),
            Some(shape),
            "the tape was filled by a forward pass of this shape"
        );
        let LstmShape {
            batch,
            input,
            hidden,
            ..
        } = shape;
        let workspace = &mut self.lstm;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision,
        };
        let gates = tape.gates.shared(shape.rows() * 4 * hidden);
        let cells = tape.cells.shared(shape.rows() * hidden);

        let w_hh = products.pack(
            weights.w_hh,
            false,
            4 * hidden,
            hidden,
            &mut workspace.recurrent,
        );
        let w_ih = products.pack(weights.w_ih, false, 4 * hidden, input, &mut workspace.input);
        let depth = products.units(4 * hidden);
        let units = match precision {
            Precision::F32 => gates,
            Precision::Bf16 => workspace.units.shared(shape.rows() * depth),
        };
        let sums = workspace.sums.shared(2 * batch * hidden);
        let (path, tasks) = (self.path, products.pool.threads().min(batch));
        products.pool.run(tasks, &|_, task| {
            let lanes = part(batch, tasks, task);
            path.dispatch_in(
                precision,
                Backward {
                    shape,
                    lanes,
                    w_hh,
                    c0,
                    dh,
                    gates,
                    cells,
                    units,
                    sums,
                },
            );
        });
        // SAFETY: the tape's gates, by now their gradients; no task writes them any more.
        let dgates: &[f32] = unsafe { gates.slice(0, shape.rows() * 4 * hidden) };
        // What the input was multiplied into, its gradient: of all time steps, or of the table's rows.
        let (rows, units, dproduct) = match from {
            LstmInput::Vectors(_) => (shape.rows(), units, dgates),
            LstmInput::Keys { masks, .. } => {
                let projected = workspace.projected.shared(KEYS * 4 * hidden);
                // SAFETY: this call's own scratch.
                let dprojected = unsafe { projected.slice(0, KEYS * 4 * hidden) };
                spread_to_keys(products.pool, path, masks, dgates, dprojected);
                let units = products.rows(dprojected, 4 * hidden, &mut workspace.units);
                (KEYS, units, &*dprojected)
            }
        };
        products.product(RowsProduct {
            a: units.0,
            lda: depth,
            rows,
            b: w_ih.0,
            depth,
            columns: input,
            c: dfrom.as_mut_ptr(),
            ldc: input,
            start: Start::Zero,
        });

        let previous = workspace.previous.shared(h.len());
        // SAFETY: this call's own scratch, as long as `h`.
        let previous = unsafe { previous.slice(0, h.len()) };
        previous[..h0.len()].copy_from_slice(h0);
        previous[h0.len()..].copy_from_slice(&h[..h.len() - h0.len()]);
        let packed_from = products.pack(from.values(), false, rows, input, &mut workspace.input);
        let packed_h = products.pack(
            previous,
            false,
            shape.rows(),
            hidden,
            &mut workspace.recurrent,
        );
        let of_input = Right {
            packed: packed_from,
            columns: input,
            to: Shared::of(dw_ih),
        };
        let of_recurrence = Right {
            packed: packed_h,
            columns: hidden,
            to: Shared::of(dw_hh),
        };
        let chunk = &mut workspace.chunk;
        match from {
            LstmInput::Vectors(_) => {
                products.weight_gradient(dgates, &[of_input, of_recurrence], db, chunk);
            }
            LstmInput::Keys { .. } => {
                products.weight_gradient(dproduct, &[of_input], db, chunk);
                // The bias is added once to every time step, whatever sounds: its gradient is this one's.
                products.weight_gradient(dgates, &[of_recurrence], db, chunk);
            }
        }
    }
}

/// Some lanes back through all time steps: gates become the gradients of their sums.
struct Backward<'a> {
    shape: LstmShape,
    lanes: Range<usize>,
    w_hh: Shared,
    c0: &'a [f32],
    dh: &'a [f32],
    gates: Shared,
    cells: Shared,
    /// The gates' gradients in units: `gates` itself in f32.
    units: Shared,
    /// `(2, B, H)`: what the next step hands back to h, and to c.
    sums: Shared,
}

impl FormatTask for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let LstmShape {
            time,
            batch,
            hidden,
            ..
        } = self.shape;
        let depth = (4 * hidden).div_ceil(M::PAIR);
        // SAFETY: rows of this task's lanes throughout.
        unsafe {
            let to_h = self.sums.at(self.lanes.start * hidden);
            let to_c = self.sums.at((batch + self.lanes.start) * hidden);
            std::slice::from_raw_parts_mut(to_h, self.lanes.len() * hidden).fill(0.0);
            std::slice::from_raw_parts_mut(to_c, self.lanes.len() * hidden).fill(0.0);
            for t in (0..time).rev() {
                let row = t * batch + self.lanes.start;
                if t + 1 < time {
                    S::PATH.dispatch_as::<M, _>(RowsProduct {
                        a: self.units.at((row + batch) * depth),
                        lda: depth,
                        rows: self.lanes.len(),
                        b: self.w_hh.0,
                        depth,
                        columns: hidden,
                        c: to_h,
                        ldc: hidden,
                        start: Start::Zero,
                    });
                }
                for lane in 0..self.lanes.len() {
                    let gates = self.gates.at((row + lane) * 4 * hidden);
                    let before = match t {
                        0 => self.c0.as_ptr().add((self.lanes.start + lane) * hidden),
                        _ => self.cells.at((row + lane - batch) * hidden).cast_const(),
                    };
                    cell_gradient::<S>(
                        hidden,
                        gates,
                        before,
                        self.cells.at((row + lane) * hidden),
                        self.dh.as_ptr().add((row + lane) * hidden),
                        to_h.add(lane * hidden),
                        to_c.add(lane * hidden),
                    );
                    if M::PAIR == 2 {
                        pack_row::<S, M>(gates, 4 * hidden, self.units.at((row + lane) * depth));
                    }
                }
            }
        }
    }
}

/// One lane's step backward: activated gates become the gradients of their sums, `to_c` what goes to the cell before.
#[inline(always)]
unsafe fn cell_gradient<S: Simd>(
    hidden: usize,
    gates: *mut f32,
    c_before: *const f32,
    c: *const f32,
    dh: *const f32,
    to_h: *const f32,
    to_c: *mut f32,
) {
    let one = S::splat(1.0);
    for j in (0..hidden).step_by(S::LANES) {
        let count = hidden - j;
        let at = [0, 1, 2, 3].map(|gate| gates.add(gate * hidden + j));
        let i = S::load_up_to(at[0], count);
        let f = S::load_up_to(at[1], count);
        let g = S::load_up_to(at[2], count);
        let o = S::load_up_to(at[3], count);
        let dh = S::add(
            S::load_up_to(dh.add(j), count),
            S::load_up_to(to_h.add(j), count),
        );
        let tanh_c = tanh::<S>(S::load_up_to(c.add(j), count));
        let slope = S::sub(one, S::mul(tanh_c, tanh_c));
        let dc = S::fma(S::mul(dh, o), slope, S::load_up_to(to_c.add(j), count));
        let before = S::load_up_to(c_before.add(j), count);
        S::store_up_to(
            at[0],
            count,
            S::mul(S::mul(dc, g), S::mul(i, S::sub(one, i))),
        );
        S::store_up_to(
            at[1],
            count,
            S::mul(S::mul(dc, before), S::mul(f, S::sub(one, f))),
        );
        S::store_up_to(
            at[2],
            count,
            S::mul(S::mul(dc, i), S::sub(one, S::mul(g, g))),
        );
        S::store_up_to(
            at[3],
            count,
            S::mul(S::mul(dh, tanh_c), S::mul(o, S::sub(one, o))),
        );
        S::store_up_to(to_c.add(j), count, S::mul(dc, f));
    }
}
