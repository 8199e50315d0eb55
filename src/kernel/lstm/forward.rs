//! Forward: each thread takes some lanes through all time steps.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`) and extents follow an `LstmShape`, checked against
// all slices on entry.
#![allow(unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use super::super::keys::{KEYS, sum_keys};
use super::super::math::{sigmoid, tanh};
use super::super::path::FormatTask;
use super::super::product::{Format, Products, RowsProduct, Start, pack_row};
use super::super::simd::Simd;
use super::super::workspace::{Shared, part};
use super::super::{Kernels, Precision};
use super::{LstmInput, LstmShape, LstmTape, LstmWeights};

impl Kernels {
    /// A layer over a sequence. `h0` and `c0` are `(B, H)`; writes `h` `(T, B, H)`, whose last time step is
    /// the final hidden state, and `c_final` `(B, H)`; fills `tape` for [`lstm_backward`](Kernels::lstm_backward).
    ///
    /// # Panics
    /// If a slice has the wrong length or a size is zero.
    #[allow(clippy::too_many_arguments)]
    pub fn lstm_forward(
        &mut self,
        precision: Precision,
        shape: LstmShape,
        weights: LstmWeights<'_>,
        from: LstmInput<'_>,
        h0: &[f32],
        c0: &[f32],
        tape: &mut LstmTape,
        h: &mut [f32],
        c_final: &mut [f32],
    ) {
        shape.check(weights, from, [h0, c0], h);
        assert_eq!(c_final.len(), c0.len(), "states are (B, H)");
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
        tape.shape = Some(shape);

        let w_ih = products.pack(weights.w_ih, true, input, 4 * hidden, &mut workspace.input);
        let w_hh = products.pack(
            weights.w_hh,
            true,
            hidden,
            4 * hidden,
            &mut workspace.recurrent,
        );
        let inputs = products.rows(from.values(), input, &mut workspace.units);
        let depth = products.units(input);
        let (rows, to, start) = match from {
            LstmInput::Vectors(_) => (shape.rows(), gates, Start::Bias(weights.bias.as_ptr())),
            LstmInput::Keys { .. } => {
                let projected = workspace.projected.shared(KEYS * 4 * hidden);
                (KEYS, projected, Start::Zero)
            }
        };
        products.product(RowsProduct {
            a: inputs.0,
            lda: depth,
            rows,
            b: w_ih.0,
            depth,
            columns: 4 * hidden,
            c: to.0,
            ldc: 4 * hidden,
            start,
        });
        if let LstmInput::Keys { masks, .. } = from {
            // SAFETY: this call's own scratch and tape; no task writes them any more.
            let (projected, gates) = unsafe {
                (
                    to.slice(0, KEYS * 4 * hidden),
                    gates.slice(0, shape.rows() * 4 * hidden),
                )
            };
            let bias = Some(weights.bias);
            sum_keys(products.pool, self.path, projected, masks, bias, gates);
        }
        let states = workspace.states.shared(batch * products.units(hidden));
        let h = Shared::of(h);
        let (path, tasks) = (self.path, self.pool.threads().min(batch));
        self.pool.run(tasks, &|_, task| {
            let lanes = part(batch, tasks, task);
            path.dispatch_in(
                precision,
                Forward {
                    shape,
                    lanes,
                    w_hh,
                    h0,
                    c0,
                    gates,
                    cells,
                    h,
                    states,
                },
            );
        });
        // SAFETY: no task runs any more; the last time step's cells.
        c_final.copy_from_slice(unsafe {
            cells.slice((shape.rows() - batch) * hidden, batch * hidden)
        });
    }
}

/// Some lanes through all time steps.
struct Forward<'a> {
    shape: LstmShape,
    lanes: Range<usize>,
    w_hh: Shared,
    h0: &'a [f32],
    c0: &'a [f32],
    gates: Shared,
    cells: Shared,
    h: Shared,
    /// `(B, H)` in units, for bf16.
    states: Shared,
}

impl FormatTask for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let LstmShape {
            time,
            batch,
            hidden,
            ..
        } = self.shape;
        let depth = hidden.div_ceil(M::PAIR);
        for t in 0..time {
            // SAFETY: rows of this task's lanes, in this time step and the one before.
            unsafe {
                let row = t * batch + self.lanes.start;
                let h0 = self.h0.as_ptr().add(self.lanes.start * hidden);
                let c0 = self.c0.as_ptr().add(self.lanes.start * hidden);
                let previous = |now: Shared, first| {
                    if t == 0 {
                        first
                    } else {
                        now.at((row - batch) * hidden).cast_const()
                    }
                };
                let (h_before, c_before) = (previous(self.h, h0), previous(self.cells, c0));
                let mut a = h_before;
                if M::PAIR == 2 {
                    a = self.states.at(self.lanes.start * depth);
                    for lane in 0..self.lanes.len() {
                        let to = self.states.at((self.lanes.start + lane) * depth);
                        pack_row::<S, M>(h_before.add(lane * hidden), hidden, to);
                    }
                }
                let gates = self.gates.at(row * 4 * hidden);
                S::PATH.dispatch_as::<M, _>(RowsProduct {
                    a,
                    lda: depth,
                    rows: self.lanes.len(),
                    b: self.w_hh.0,
                    depth,
                    columns: 4 * hidden,
                    c: gates,
                    ldc: 4 * hidden,
                    start: Start::Add,
                });
                for lane in 0..self.lanes.len() {
                    cell::<S>(
                        hidden,
                        gates.add(lane * 4 * hidden),
                        c_before.add(lane * hidden),
                        self.cells.at((row + lane) * hidden),
                        self.h.at((row + lane) * hidden),
                    );
                }
            }
        }
    }
}

/// One lane's step from its gates' sums: activates the gates in place and writes the new cell and hidden state, each
/// `hidden` wide. `c_before` and `c` may be the same.
#[inline(always)]
pub(in crate::kernel) unsafe fn cell<S: Simd>(
    hidden: usize,
    gates: *mut f32,
    c_before: *const f32,
    c: *mut f32,
    h: *mut f32,
) {
    for j in (0..hidden).step_by(S::LANES) {
        let count = hidden - j;
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates.add(gate * hidden + j));
        let input = sigmoid::<S>(S::load_up_to(i, count));
        let forget = sigmoid::<S>(S::load_up_to(f, count));
        let candidate = tanh::<S>(S::load_up_to(g, count));
        let output = sigmoid::<S>(S::load_up_to(o, count));
        S::store_up_to(i, count, input);
        S::store_up_to(f, count, forget);
        S::store_up_to(g, count, candidate);
        S::store_up_to(o, count, output);
        let state = S::fma(
            forget,
            S::load_up_to(c_before.add(j), count),
            S::mul(input, candidate),
        );
        S::store_up_to(c.add(j), count, state);
        S::store_up_to(h.add(j), count, S::mul(output, tanh::<S>(state)));
    }
}
