//! Backward: the same in reverse, gates becoming the gradients of their sums; then the weights.

#![allow(unsafe_code)]

use std::ops::Range;

use super::super::context::Kernels;
use super::super::dispatch::FormatTask;
use super::super::embedding_bag::spread_to_rows;
use super::super::math::tanh;
use super::super::precision::Precision;
use super::super::product::{Format, Products, Right, RowsProduct, Start, pack_row};
use super::super::simd::Simd;
use super::super::workspace::{Shared, View, part};
use super::layer::{LstmGradients, LstmInput, LstmLayer, LstmShape, LstmTape, before};

impl Kernels {
    /// Gradients of a layer from `dh` `(T, B, H)`, the gradient with respect to its outputs; none comes from beyond the
    /// window (truncated backpropagation through time), and none goes to `h0` and `c0`.
    ///
    /// `layer` is that of [`lstm_forward`](Kernels::lstm_forward), `h` its output. The tape is used up.
    ///
    /// # Panics
    /// If a slice has the wrong length, or the tape was not filled for this shape.
    pub fn lstm_backward(
        &mut self,
        layer: LstmLayer<'_>,
        tape: &mut LstmTape,
        h: &[f32],
        dh: &[f32],
        gradients: LstmGradients<'_>,
    ) {
        layer.check(h);
        gradients.check(layer);
        assert_eq!(dh.len(), h.len(), "gradients are shaped like values");
        let shape = layer.shape;
        assert_eq!(
            tape.shape.take(),
            Some(shape),
            "the tape was filled by a forward pass of this shape"
        );
        let LstmShape { batch, hidden, .. } = shape;
        let workspace = &mut self.lstm;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision: self.precision,
        };
        let gates = tape.gates.shared(shape.rows() * 4 * hidden);
        let cells = tape.cells.shared(shape.rows() * hidden).view();
        let recurrent = &mut workspace.recurrent;
        let w_hh = products.pack(layer.weights.w_hh, false, (4 * hidden, hidden), recurrent);
        let units = match self.precision {
            Precision::F32 => gates,
            Precision::Bf16 => {
                let units = shape.rows() * products.units(4 * hidden);
                workspace.units.shared(units)
            }
        };
        let sums = workspace.sums.shared(2 * batch * hidden);
        let (path, precision, tasks) = (self.path, self.precision, self.pool.threads().min(batch));
        self.pool.run(tasks, &|_, task| {
            let backward = Backward {
                layer,
                sequences: part(batch, tasks, task),
                w_hh,
                dh,
                gates,
                cells,
                units,
                sums,
            };
            path.dispatch_in(precision, backward);
        });
        // SAFETY: the tape's gates, by now their gradients; nothing writes them any more.
        let dgates = unsafe { gates.slice(0, shape.rows() * 4 * hidden) };
        self.lstm_weights(layer, h, dgates, gradients);
    }

    /// The gradients of the input and of the weights from those of the gates' sums.
    fn lstm_weights(
        &mut self,
        layer: LstmLayer<'_>,
        h: &[f32],
        dgates: &[f32],
        gradients: LstmGradients<'_>,
    ) {
        let LstmShape { input, hidden, .. } = layer.shape;
        let workspace = &mut self.lstm;
        let mut products = Products {
            pool: &mut self.pool,
            path: self.path,
            precision: self.precision,
        };
        // What the input was multiplied into, its gradient: of all time steps, or of the table's rows.
        let (rows, dproduct) = match layer.input {
            LstmInput::Vectors(_) => (layer.shape.rows(), dgates),
            LstmInput::Bags { bags, .. } => {
                let projected = workspace.projected.slice(bags.bits.rows * 4 * hidden);
                spread_to_rows(products.pool, self.path, bags, dgates, projected);
                (bags.bits.rows, &*projected)
            }
        };
        let packed = &mut workspace.input;
        let w_ih = products.pack(layer.weights.w_ih, false, (4 * hidden, input), packed);
        let units = products.rows(View::of(dproduct), (rows, 4 * hidden), &mut workspace.units);
        let depth = products.units(4 * hidden);
        products.product(RowsProduct {
            a: units,
            lda: depth,
            rows,
            b: w_ih,
            depth,
            columns: input,
            c: Shared::of(gradients.input),
            ldc: input,
            start: Start::Zero,
        });

        let previous = workspace.previous.slice(h.len());
        let (first, later) = previous.split_at_mut(layer.h0.len());
        first.copy_from_slice(layer.h0);
        later.copy_from_slice(&h[..later.len()]);
        let from = layer.input.values();
        let packed_from = products.pack(from, false, (rows, input), &mut workspace.input);
        let recurrent = &mut workspace.recurrent;
        let packed_h = products.pack(previous, false, (layer.shape.rows(), hidden), recurrent);
        let of_input = Right {
            packed: packed_from,
            columns: input,
            to: Shared::of(gradients.w_ih),
        };
        let of_recurrence = Right {
            packed: packed_h,
            columns: hidden,
            to: Shared::of(gradients.w_hh),
        };
        let (db, chunk) = (gradients.bias, &mut workspace.chunk);
        match layer.input {
            LstmInput::Vectors(_) => {
                products.weight_gradient(dgates, &[of_input, of_recurrence], db, chunk);
            }
            LstmInput::Bags { .. } => {
                products.weight_gradient(dproduct, &[of_input], db, chunk);
                // The bias is added once to every time step, whatever is in its set: its gradient is this one's.
                products.weight_gradient(dgates, &[of_recurrence], db, chunk);
            }
        }
    }
}

impl LstmGradients<'_> {
    fn check(&self, layer: LstmLayer) {
        let LstmLayer { weights, input, .. } = layer;
        assert_eq!(
            [
                self.input.len(),
                self.w_ih.len(),
                self.w_hh.len(),
                self.bias.len()
            ],
            [
                input.values().len(),
                weights.w_ih.len(),
                weights.w_hh.len(),
                weights.bias.len()
            ],
            "gradients are shaped like values"
        );
    }
}

/// Some sequences back through all time steps: gates become the gradients of their sums.
struct Backward<'a> {
    layer: LstmLayer<'a>,
    sequences: Range<usize>,
    w_hh: View<'a>,
    dh: &'a [f32],
    gates: Shared<'a>,
    cells: View<'a>,
    /// The gates' gradients in units: `gates` itself in f32.
    units: Shared<'a>,
    /// `(2, B, H)`: what the next step hands back to h, and to c.
    sums: Shared<'a>,
}

impl FormatTask for Backward<'_> {
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
        let depth = (4 * hidden).div_ceil(M::PAIR);
        let count = self.sequences.len();
        let own = |which: usize| {
            let first = (which * batch + self.sequences.start) * hidden;
            self.sums.part(first, count * hidden)
        };
        let (to_h, to_c) = (own(0), own(1));
        // SAFETY: sums of this task's sequences.
        unsafe {
            to_h.slice(0, count * hidden).fill(0.0);
            to_c.slice(0, count * hidden).fill(0.0);
        }
        for t in (0..time).rev() {
            let row = t * batch + self.sequences.start;
            if t + 1 < time {
                let later = self.units.part((row + batch) * depth, count * depth);
                S::PATH.dispatch_as::<M, _>(RowsProduct {
                    a: later.view(),
                    lda: depth,
                    rows: count,
                    b: self.w_hh,
                    depth,
                    columns: hidden,
                    c: to_h,
                    ldc: hidden,
                    start: Start::Zero,
                });
            }
            let c_before = before(self.cells, self.layer.c0, row, shape);
            for k in 0..count {
                let gates = self.gates.at((row + k) * 4 * hidden);
                // SAFETY: rows of this task's sequences.
                unsafe {
                    Step {
                        gates,
                        c_before: c_before.at(k * hidden),
                        c: self.cells.at((row + k) * hidden),
                        dh: self.dh[(row + k) * hidden..].as_ptr(),
                        to_h: to_h.at(k * hidden),
                        to_c: to_c.at(k * hidden),
                    }
                    .back(s, hidden);
                    if M::PAIR == 2 {
                        let units = self.units.at((row + k) * depth);
                        pack_row::<S, M>(s, gates, 4 * hidden, units);
                    }
                }
            }
        }
    }
}

/// One sequence's values at one time step, each `hidden` wide, and the gates, which are four times that.
struct Step {
    gates: *mut f32,
    c_before: *const f32,
    c: *const f32,
    dh: *const f32,
    to_h: *const f32,
    to_c: *mut f32,
}

impl Step {
    /// Activated gates become the gradients of their sums, `to_c` what goes to the cell before.
    ///
    /// # Safety
    /// All values can be read, the gates and `to_c` written.
    #[inline(always)]
    unsafe fn back<S: Simd>(self, s: S, hidden: usize) {
        let one = s.splat(1.0);
        for j in (0..hidden).step_by(S::LANES) {
            let count = hidden - j;
            // SAFETY: `count` values are left of each.
            unsafe {
                let at = [0, 1, 2, 3].map(|gate| self.gates.add(gate * hidden + j));
                let [i, f, g, o] = at.map(|gate| s.load_up_to(gate, count));
                let dh = s.add(
                    s.load_up_to(self.dh.add(j), count),
                    s.load_up_to(self.to_h.add(j), count),
                );
                let tanh_c = tanh(s, s.load_up_to(self.c.add(j), count));
                let slope = s.sub(one, s.mul(tanh_c, tanh_c));
                let to_c = s.load_up_to(self.to_c.add(j), count);
                let dc = s.fma(s.mul(dh, o), slope, to_c);
                let before = s.load_up_to(self.c_before.add(j), count);
                let gradients = [
                    s.mul(s.mul(dc, g), s.mul(i, s.sub(one, i))),
                    s.mul(s.mul(dc, before), s.mul(f, s.sub(one, f))),
                    s.mul(s.mul(dc, i), s.sub(one, s.mul(g, g))),
                    s.mul(s.mul(dh, tanh_c), s.mul(o, s.sub(one, o))),
                ];
                for (at, gradient) in at.into_iter().zip(gradients) {
                    s.store_up_to(at, count, gradient);
                }
                s.store_up_to(self.to_c.add(j), count, s.mul(dc, f));
            }
        }
    }
}
