//! Forward: each thread takes some sequences through all time steps.

#![allow(unsafe_code)]

use std::ops::Range;

use super::super::context::Kernels;
use super::super::dispatch::FormatTask;
use super::super::embedding_bag::sum_rows;
use super::super::math::{sigmoid, tanh};
use super::super::product::{Format, Products, RowsProduct, Start, pack_row};
use super::super::simd::Simd;
use super::super::workspace::{Shared, View, part};
use super::layer::{LstmInput, LstmLayer, LstmShape, LstmTape, before};

impl Kernels {
    /// A layer over a sequence. Writes `h` `(T, B, H)`, whose last time step is the final hidden state, and the final cell `c`
    /// `(B, H)`; fills `tape` for [`lstm_backward`](Kernels::lstm_backward).
    ///
    /// # Panics
    /// If a slice has the wrong length or a size is zero.
    pub fn lstm_forward(
        &mut self,
        layer: LstmLayer<'_>,
        tape: &mut LstmTape,
        h: &mut [f32],
        c: &mut [f32],
    ) {
        layer.check(h);
        assert_eq!(c.len(), layer.c0.len(), "states are (B, H)");
        let shape = layer.shape;
        let LstmShape { batch, hidden, .. } = shape;
        let gates = tape.gates.shared(shape.rows() * 4 * hidden);
        let cells = tape.cells.shared(shape.rows() * hidden);
        tape.shape = Some(shape);
        self.lstm_inputs(layer, gates);
        let workspace = &mut self.lstm;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision: self.precision,
        };
        let recurrent = &mut workspace.recurrent;
        let w_hh = products.pack(layer.weights.w_hh, true, (hidden, 4 * hidden), recurrent);
        let states = workspace.states.shared(batch * products.units(hidden));
        let h = Shared::of(h);
        let (path, precision, tasks) = (self.path, self.precision, self.pool.threads().min(batch));
        self.pool.run(tasks, &|_, task| {
            let forward = Forward {
                layer,
                sequences: part(batch, tasks, task),
                w_hh,
                gates,
                cells,
                h,
                states,
            };
            path.dispatch_in(precision, forward);
        });
        // SAFETY: no task runs any more; the last time step's cells.
        c.copy_from_slice(unsafe { cells.slice((shape.rows() - batch) * hidden, batch * hidden) });
    }

    /// What the inputs of all time steps give to the gates, with the bias.
    fn lstm_inputs(&mut self, layer: LstmLayer<'_>, gates: Shared) {
        let LstmShape { input, hidden, .. } = layer.shape;
        let rows = layer.shape.rows();
        let workspace = &mut self.lstm;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision: self.precision,
        };
        let packed = &mut workspace.input;
        let w_ih = products.pack(layer.weights.w_ih, true, (input, 4 * hidden), packed);
        let (multiplied, to, start) = match layer.input {
            LstmInput::Vectors(_) => (rows, gates, Start::Bias(layer.weights.bias)),
            LstmInput::Bags { bags, .. } => {
                let projected = workspace.projected.shared(bags.bits.rows * 4 * hidden);
                (bags.bits.rows, projected, Start::Zero)
            }
        };
        let values = View::of(layer.input.values());
        let units = products.rows(values, (multiplied, input), &mut workspace.units);
        let depth = products.units(input);
        products.product(RowsProduct {
            a: units,
            lda: depth,
            rows: multiplied,
            b: w_ih,
            depth,
            columns: 4 * hidden,
            c: to,
            ldc: 4 * hidden,
            start,
        });
        if let LstmInput::Bags { bags, .. } = layer.input {
            // SAFETY: this call's own scratch and tape; no task runs now.
            let (projected, gates) = unsafe {
                (
                    to.slice(0, multiplied * 4 * hidden),
                    gates.slice(0, rows * 4 * hidden),
                )
            };
            let bias = Some(layer.weights.bias);
            sum_rows(products.pool, self.path, projected, bags, bias, gates);
        }
    }
}

/// Some sequences through all time steps.
struct Forward<'a> {
    layer: LstmLayer<'a>,
    sequences: Range<usize>,
    w_hh: View<'a>,
    gates: Shared<'a>,
    cells: Shared<'a>,
    h: Shared<'a>,
    /// `(B, H)` in units, for bf16.
    states: Shared<'a>,
}

impl FormatTask for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let shape = self.layer.shape;
        let LstmShape {
            time,
            batch,
            hidden,
            ..
        } = shape;
        let depth = hidden.div_ceil(M::PAIR);
        let count = self.sequences.len();
        for t in 0..time {
            let row = t * batch + self.sequences.start;
            let h_before = before(self.h.view(), self.layer.h0, row, shape);
            let c_before = before(self.cells.view(), self.layer.c0, row, shape);
            let mut a = h_before;
            if M::PAIR == 2 {
                let states = self
                    .states
                    .part(self.sequences.start * depth, count * depth);
                for k in 0..count {
                    // SAFETY: the row of a sequence, in units of this task's own.
                    unsafe {
                        pack_row::<S, M>(s, h_before.at(k * hidden), hidden, states.at(k * depth));
                    }
                }
                a = states.view();
            }
            let gates = self.gates.part(row * 4 * hidden, count * 4 * hidden);
            S::PATH.dispatch_as::<M, _>(RowsProduct {
                a,
                lda: depth,
                rows: count,
                b: self.w_hh,
                depth,
                columns: 4 * hidden,
                c: gates,
                ldc: 4 * hidden,
                start: Start::Add,
            });
            for k in 0..count {
                // SAFETY: rows of this task's sequences, in this time step and the one before.
                unsafe {
                    cell(
                        s,
                        hidden,
                        gates.at(k * 4 * hidden),
                        c_before.at(k * hidden),
                        self.cells.at((row + k) * hidden),
                        self.h.at((row + k) * hidden),
                    );
                }
            }
        }
    }
}

/// One sequence's step from its gates' sums: activates the gates in place and writes the new cell and hidden state, each
/// `hidden` wide. `c_before` and `c` may be the same.
///
/// # Safety
/// `4 * hidden` gates can be read and written, `hidden` values of `c_before` read, and as many of `c` and `h` written.
#[inline(always)]
pub(in crate::kernel) unsafe fn cell<S: Simd>(
    s: S,
    hidden: usize,
    gates: *mut f32,
    c_before: *const f32,
    c: *mut f32,
    h: *mut f32,
) {
    for j in (0..hidden).step_by(S::LANES) {
        let count = hidden - j;
        // SAFETY: `count` values are left of each gate and state.
        unsafe {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates.add(gate * hidden + j));
            let input = sigmoid(s, s.load_up_to(i, count));
            let forget = sigmoid(s, s.load_up_to(f, count));
            let candidate = tanh(s, s.load_up_to(g, count));
            let output = sigmoid(s, s.load_up_to(o, count));
            s.store_up_to(i, count, input);
            s.store_up_to(f, count, forget);
            s.store_up_to(g, count, candidate);
            s.store_up_to(o, count, output);
            let before = s.load_up_to(c_before.add(j), count);
            let state = s.fma(forget, before, s.mul(input, candidate));
            s.store_up_to(c.add(j), count, state);
            s.store_up_to(h.add(j), count, s.mul(output, tanh(s, state)));
        }
    }
}
