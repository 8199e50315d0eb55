//! One LSTM layer over a whole sequence, forward and backward.
//!
//! Gates in PyTorch's order i, f, g, o (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000):
//! i, f, o = σ(…), g = tanh(…), c = f·c₋₁ + i·g, h = o·tanh c.
//!
//! The inputs of all time steps are multiplied at once; then each thread takes some lanes of the batch through all time
//! steps on its own, since lanes never meet, with the recurrent weights packed in its second-level cache. Backward the
//! same in reverse, and one product at the end for the weights.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`) and extents follow an `LstmShape`, checked against
// all slices on entry.
#![allow(unsafe_op_in_unsafe_fn)]

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::linear::{Products, Right};
use super::math::{sigmoid, tanh};
use super::path::FormatTask;
use super::product::{Format, RowsProduct, Start, pack_row};
use super::simd::Simd;
use super::workspace::{Buffer, Shared, part};
use super::{Kernels, Precision};

/// Sizes of a layer and of what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmShape {
    /// Time steps `T`.
    pub time: usize,
    /// Lanes of the batch `B`.
    pub batch: usize,
    /// Input width `I`.
    pub input: usize,
    /// Hidden units `H`.
    pub hidden: usize,
}

/// A layer's parameters.
#[derive(Debug, Clone, Copy)]
pub struct LstmWeights<'a> {
    /// `(4H, I)`
    pub w_ih: &'a [f32],
    /// `(4H, H)`
    pub w_hh: &'a [f32],
    /// `(4H)`
    pub bias: &'a [f32],
}

/// What forward leaves for backward: gates and cell states. Keep one per layer and reuse it.
#[derive(Default)]
pub struct LstmTape {
    gates: Buffer,
    cells: Buffer,
    shape: Option<LstmShape>,
}

/// What the op keeps from call to call.
#[derive(Default)]
pub(super) struct LstmWorkspace {
    input: Buffer,
    recurrent: Buffer,
    units: Buffer,
    states: Buffer,
    previous: Buffer,
    chunk: Buffer,
    sums: Buffer,
}

impl LstmShape {
    fn rows(self) -> usize {
        self.time * self.batch
    }

    fn check(self, weights: LstmWeights<'_>, x: &[f32], states: [&[f32]; 2], sequence: &[f32]) {
        let Self {
            batch,
            input,
            hidden,
            ..
        } = self;
        assert!(
            self.rows() > 0 && input > 0 && hidden > 0,
            "no size of an LSTM is zero: {self:?}"
        );
        assert_eq!(weights.w_ih.len(), 4 * hidden * input, "w_ih is (4H, I)");
        assert_eq!(weights.w_hh.len(), 4 * hidden * hidden, "w_hh is (4H, H)");
        assert_eq!(weights.bias.len(), 4 * hidden, "the bias is (4H)");
        assert_eq!(x.len(), self.rows() * input, "x is (T, B, I)");
        assert_eq!(
            states.map(<[f32]>::len),
            [batch * hidden; 2],
            "states are (B, H)"
        );
        assert_eq!(sequence.len(), self.rows() * hidden, "h is (T, B, H)");
    }
}

impl Kernels {
    /// A layer over a sequence. `x` is `(T, B, I)`, `h0` and `c0` `(B, H)`; writes `h` `(T, B, H)`, whose last time step is
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
        x: &[f32],
        h0: &[f32],
        c0: &[f32],
        tape: &mut LstmTape,
        h: &mut [f32],
        c_final: &mut [f32],
    ) {
        shape.check(weights, x, [h0, c0], h);
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
        let inputs = products.rows(x, input, &mut workspace.units);
        let depth = products.units(input);
        products.product(RowsProduct {
            a: inputs.0,
            lda: depth,
            rows: shape.rows(),
            b: w_ih.0,
            depth,
            columns: 4 * hidden,
            c: gates.0,
            ldc: 4 * hidden,
            start: Start::Bias(weights.bias.as_ptr()),
        });
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

    /// Gradients of a layer from `dh` `(T, B, H)`, the gradient with respect to its outputs; none comes from beyond the
    /// window (truncated backpropagation through time), and none goes to `h0` and `c0`.
    ///
    /// The other arguments are those of [`lstm_forward`](Kernels::lstm_forward), `h` its output. `dx` `(T, B, I)`, `dw_ih`,
    /// `dw_hh` and `db` are overwritten. The tape is used up.
    ///
    /// # Panics
    /// If a slice has the wrong length, or the tape was not filled for this shape.
    #[allow(clippy::too_many_arguments)]
    pub fn lstm_backward(
        &mut self,
        precision: Precision,
        shape: LstmShape,
        weights: LstmWeights<'_>,
        x: &[f32],
        h0: &[f32],
        c0: &[f32],
        h: &[f32],
        tape: &mut LstmTape,
        dh: &[f32],
        dx: &mut [f32],
        dw_ih: &mut [f32],
        dw_hh: &mut [f32],
        db: &mut [f32],
    ) {
        shape.check(weights, x, [h0, c0], h);
        assert_eq!(
            (dh.len(), dx.len()),
            (h.len(), x.len()),
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
        products.product(RowsProduct {
            a: units.0,
            lda: depth,
            rows: shape.rows(),
            b: w_ih.0,
            depth,
            columns: input,
            c: dx.as_mut_ptr(),
            ldc: input,
            start: Start::Zero,
        });

        let previous = workspace.previous.shared(h.len());
        // SAFETY: this call's own scratch, as long as `h`.
        let previous = unsafe { previous.slice(0, h.len()) };
        previous[..h0.len()].copy_from_slice(h0);
        previous[h0.len()..].copy_from_slice(&h[..h.len() - h0.len()]);
        let packed_x = products.pack(x, false, shape.rows(), input, &mut workspace.input);
        let packed_h = products.pack(
            previous,
            false,
            shape.rows(),
            hidden,
            &mut workspace.recurrent,
        );
        let rights = [
            Right {
                packed: packed_x,
                columns: input,
                to: Shared::of(dw_ih),
            },
            Right {
                packed: packed_h,
                columns: hidden,
                to: Shared::of(dw_hh),
            },
        ];
        // SAFETY: the tape's gates, by now their gradients; no task writes them any more.
        let dgates = unsafe { gates.slice(0, shape.rows() * 4 * hidden) };
        products.weight_gradient(dgates, &rights, db, &mut workspace.chunk);
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
pub(super) unsafe fn cell<S: Simd>(
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
