//! [`op::lstm`](crate::model::op::lstm) as one operation: the inputs of all steps in one product, then for each step one product and one
//! kernel.

use super::FusedCuda;
use super::kernels::{Kernels, LstmStepBackward, Tape};
use super::product::Read;
use super::span::Span;
use crate::model::matrix::Matrix;
use crate::model::op::lstm::{LayerState, Weights};
use dfdx::prelude::{Cuda, Gradients, ZerosTensor};

/// All sizes of a layer and of what goes through it.
#[derive(Clone, Copy)]
struct Sizes {
    /// `T * B`.
    rows: usize,
    batch: usize,
    input: usize,
    hidden: usize,
}

impl Sizes {
    fn of(x: &Matrix<Cuda>, state: &LayerState<Cuda>) -> Self {
        let ((rows, input), (batch, hidden)) = (x.shape(), state.h.shape());
        Self {
            rows,
            batch,
            input,
            hidden,
        }
    }

    fn steps(self) -> usize {
        self.rows / self.batch
    }

    /// Of values of which each sequence has `width` at each time step, those of step `t`.
    fn step(self, values: Span, t: usize, width: usize) -> Span {
        let size = self.batch * width;
        values.part(t * size..(t + 1) * size)
    }

    /// The gates and cells of a tape.
    fn saved(self, tape: &Tape) -> (Span<'_>, Span<'_>) {
        let (rows, hidden) = (self.rows, self.hidden);
        let gates = Span::of_slice(&tape.gates).part(0..rows * 4 * hidden);
        (gates, Span::of_slice(&tape.cells).part(0..rows * hidden))
    }

    /// A tape that has room: one that is not in use, or else a new one.
    fn tape(self, kernels: &mut Kernels) -> Tape {
        let cells = self.rows * self.hidden;
        match kernels.tapes.pop() {
            Some(tape) if Span::of_slice(&tape.cells).len() >= cells => tape,
            _ => Tape {
                gates: kernels.uninitialized(4 * cells),
                cells: kernels.uninitialized(cells),
            },
        }
    }
}

/// Outputs of all steps for inputs `(T * B, I)`, `(T * B, H)`, and the state after the last.
pub fn lstm<T: dfdx::prelude::Tape<f32, Cuda>>(
    cuda: &FusedCuda,
    x: Matrix<Cuda, T>,
    weights: &Weights<Cuda>,
    state: &LayerState<Cuda>,
) -> (Matrix<Cuda, T>, LayerState<Cuda>) {
    let (x, mut tape) = x.split_tape();
    let sizes = Sizes::of(&x, state);
    let zeros = |rows| -> Matrix<Cuda> { cuda.device.zeros_like(&(rows, sizes.hidden)).into() };
    let (h, last, c) = (zeros(sizes.rows), zeros(sizes.batch), zeros(sizes.batch));
    let saved = cuda.with(|kernels| {
        let saved = sizes.tape(kernels);
        forward(kernels, sizes, &x, weights, state, (&h, &saved));
        let end = |values| sizes.step(values, sizes.steps() - 1, sizes.hidden);
        let (_, cells) = sizes.saved(&saved);
        kernels.copy(end(Span::of(&h)), Span::of(&last));
        kernels.copy(end(cells), Span::of(&c));
        saved
    });
    let next = LayerState { h: last, c };
    if !T::OWNS_TAPE {
        cuda.with(|kernels| kernels.tapes.push(saved));
        return (h.put_tape(tape), next);
    }
    let [w_ih, w_hh, bias] = [weights.w_ih, weights.w_hh, weights.bias].map(Clone::clone);
    let (cuda, state, out) = (cuda.clone(), state.clone(), h.clone());
    tape.add_backward_op(move |gradients| {
        let weights = Weights {
            w_ih: &w_ih,
            w_hh: &w_hh,
            bias: &bias,
        };
        cuda.with(|kernels| {
            backward(kernels, gradients, &x, &weights, &state, (&out, &saved));
            kernels.tapes.push(saved);
        });
        Ok(())
    });
    (h.put_tape(tape), next)
}

/// Writes the outputs and the tape.
fn forward(
    kernels: &mut Kernels,
    sizes: Sizes,
    x: &Matrix<Cuda>,
    weights: &Weights<Cuda>,
    state: &LayerState<Cuda>,
    (out, saved): (&Matrix<Cuda>, &Tape),
) {
    let Sizes {
        rows,
        batch,
        input,
        hidden,
    } = sizes;
    kernels.reserve(rows, 0);
    let (gates, cells) = sizes.saved(saved);
    let outputs = Span::of(out);
    kernels.product(
        (rows, 1, 4 * hidden),
        (kernels.ones(rows), Read::Plain),
        (Span::of(weights.bias), Read::Plain),
        0.0,
        gates,
    );
    kernels.product(
        (rows, input, 4 * hidden),
        (Span::of(x), Read::Plain),
        (Span::of(weights.w_ih), Read::Transposed),
        1.0,
        gates,
    );
    let w_hh = Span::of(weights.w_hh);
    for t in 0..sizes.steps() {
        let (h_before, c_before) = match t {
            0 => (Span::of(&state.h), Span::of(&state.c)),
            _ => (
                sizes.step(outputs, t - 1, hidden),
                sizes.step(cells, t - 1, hidden),
            ),
        };
        let gates = sizes.step(gates, t, 4 * hidden);
        kernels.product(
            (batch, hidden, 4 * hidden),
            (h_before, Read::Plain),
            (w_hh, Read::Transposed),
            1.0,
            gates,
        );
        let (cell, output) = (sizes.step(cells, t, hidden), sizes.step(outputs, t, hidden));
        kernels.lstm_step(gates, c_before, cell, output, hidden);
    }
}

/// Writes the gradients of `x` and the weights from that of the outputs.
fn backward(
    kernels: &mut Kernels,
    gradients: &mut Gradients<f32, Cuda>,
    x: &Matrix<Cuda>,
    weights: &Weights<Cuda>,
    state: &LayerState<Cuda>,
    (out, saved): (&Matrix<Cuda>, &Tape),
) {
    let sizes = Sizes::of(x, state);
    let Sizes {
        rows,
        batch,
        input,
        hidden,
    } = sizes;
    kernels.reserve(rows, 0);
    let Weights { w_ih, w_hh, bias } = *weights;
    let [d_outputs, dx, d_w_ih, d_w_hh, d_bias] =
        Span::of_gradients(gradients, [out, x, w_ih, w_hh, bias]);
    let (gates, _) = sizes.saved(saved);
    back_through_time(kernels, sizes, Span::of(w_hh), state, saved, d_outputs);
    // `gates` are now the gradient before activation, (T * B, 4H).
    kernels.product(
        (rows, 4 * hidden, input),
        (gates, Read::Plain),
        (Span::of(w_ih), Read::Plain),
        0.0,
        dx,
    );
    kernels.product(
        (4 * hidden, rows, input),
        (gates, Read::Transposed),
        (Span::of(x), Read::Plain),
        0.0,
        d_w_ih,
    );
    kernels.product(
        (4 * hidden, batch, hidden),
        (sizes.step(gates, 0, 4 * hidden), Read::Transposed),
        (Span::of(&state.h), Read::Plain),
        0.0,
        d_w_hh,
    );
    let later = rows - batch;
    if later > 0 {
        let gates = gates.part(batch * 4 * hidden..rows * 4 * hidden);
        kernels.product(
            (4 * hidden, later, hidden),
            (gates, Read::Transposed),
            (Span::of(out).part(0..later * hidden), Read::Plain),
            1.0,
            d_w_hh,
        );
    }
    kernels.product(
        (1, rows, 4 * hidden),
        (kernels.ones(rows), Read::Plain),
        (gates, Read::Plain),
        0.0,
        d_bias,
    );
}

/// Turns the gates of a tape into the gradients of their sums, from the last step to the first.
fn back_through_time(
    kernels: &Kernels,
    sizes: Sizes,
    w_hh: Span,
    state: &LayerState<Cuda>,
    saved: &Tape,
    d_outputs: Span,
) {
    let (batch, hidden) = (sizes.batch, sizes.hidden);
    let (gates, cells) = sizes.saved(saved);
    let carried = kernels.uninitialized(2 * batch * hidden);
    let carried = Span::of_slice(&carried);
    kernels.clear(carried);
    let (d_carried, d_cell) = (
        sizes.step(carried, 0, hidden),
        sizes.step(carried, 1, hidden),
    );
    for t in (0..sizes.steps()).rev() {
        let gates = sizes.step(gates, t, 4 * hidden);
        let step = LstmStepBackward {
            gates,
            cell_before: match t {
                0 => Span::of(&state.c),
                _ => sizes.step(cells, t - 1, hidden),
            },
            cell: sizes.step(cells, t, hidden),
            d_output: sizes.step(d_outputs, t, hidden),
            d_carried,
            d_cell,
        };
        kernels.lstm_step_backward(step, hidden);
        kernels.product(
            (batch, 4 * hidden, hidden),
            (gates, Read::Plain),
            (w_hh, Read::Plain),
            0.0,
            d_carried,
        );
    }
}
