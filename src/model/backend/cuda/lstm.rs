//! [`lstm::composed`](crate::model::op::lstm::composed) as one operation: the inputs of all steps in one product, then for each step
//! one product and one kernel.

use super::CudaKernels;
use super::kernels::{Kernels, Read};
use super::span::Span;
use crate::model::op::Matrix;
use crate::model::op::lstm::{LayerState, Weights};
use cudarc::driver::CudaSlice;
use dfdx::prelude::*;

/// What a layer keeps from its forward to its backward pass, as far as its buffers have grown.
#[derive(Debug)]
pub struct Tape {
    /// Gates, `(T * B, 4H)`: activated, and after the backward pass their gradient.
    gates: CudaSlice<f32>,
    /// Cells, `(T * B, H)`.
    cells: CudaSlice<f32>,
}

impl Tape {
    /// A tape that has room for `rows` of width `hidden`: one that is not in use, or else a new one.
    fn take(kernels: &mut Kernels, rows: usize, hidden: usize) -> Self {
        let fits = |tape: &Self| Span::of_slice(&tape.cells).length >= rows * hidden;
        match kernels.tapes.pop() {
            Some(tape) if fits(&tape) => tape,
            _ => Self {
                gates: kernels.uninitialized(rows * 4 * hidden),
                cells: kernels.uninitialized(rows * hidden),
            },
        }
    }

    fn gates(&self, rows: usize, hidden: usize) -> Span {
        Span::of_slice(&self.gates).part(0..rows * 4 * hidden)
    }

    fn cells(&self, rows: usize, hidden: usize) -> Span {
        Span::of_slice(&self.cells).part(0..rows * hidden)
    }
}

/// Of values that are `size` for each time step, those of step `t`.
fn step(values: Span, size: usize, t: usize) -> Span {
    values.part(t * size..(t + 1) * size)
}

/// Outputs of all steps for inputs `(T * B, I)`, `(T * B, H)`, and the state after the last.
pub fn sequence<T: dfdx::prelude::Tape<f32, Cuda>>(
    shared: &CudaKernels,
    kernels: &mut Kernels,
    x: Matrix<Cuda, T>,
    weights: &Weights<Cuda>,
    state: &LayerState<Cuda>,
) -> (Matrix<Cuda, T>, LayerState<Cuda>) {
    let (x, mut tape) = x.split_tape();
    let device = x.device().clone();
    let (lanes, hidden) = *state.h.shape();
    let (rows, input) = *x.shape();
    let size = lanes * hidden;
    let saved = Tape::take(kernels, rows, hidden);
    let (gates, cells) = (saved.gates(rows, hidden), saved.cells(rows, hidden));
    let h: Matrix<Cuda> = device.zeros_like(&(rows, hidden));
    let outputs = Span::of(&h);

    let ones = kernels.ones(rows);
    let bias = Span::of(weights.bias);
    kernels.product(
        (rows, 1, 4 * hidden),
        (ones, Read::Plain),
        (bias, Read::Plain),
        0.0,
        gates,
    );
    kernels.product(
        (rows, input, 4 * hidden),
        (Span::of(&x), Read::Plain),
        (Span::of(weights.w_ih), Read::Transposed),
        1.0,
        gates,
    );
    let w_hh = Span::of(weights.w_hh);
    for t in 0..rows / lanes {
        let (h_before, c_before) = match t {
            0 => (Span::of(&state.h), Span::of(&state.c)),
            _ => (step(outputs, size, t - 1), step(cells, size, t - 1)),
        };
        let gates = step(gates, 4 * size, t);
        kernels.product(
            (lanes, hidden, 4 * hidden),
            (h_before, Read::Plain),
            (w_hh, Read::Transposed),
            1.0,
            gates,
        );
        kernels.lstm_step(
            gates,
            c_before,
            step(cells, size, t),
            step(outputs, size, t),
            hidden,
        );
    }
    let last = |values: Span| {
        let copy: Matrix<Cuda> = device.zeros_like(&(lanes, hidden));
        kernels.copy(step(values, size, rows / lanes - 1), Span::of(&copy));
        copy
    };
    let next = LayerState {
        h: last(outputs),
        c: last(cells),
    };
    if !T::OWNS_TAPE {
        kernels.tapes.push(saved);
        return (h.put_tape(tape), next);
    }
    let [w_ih, w_hh, bias] = [weights.w_ih, weights.w_hh, weights.bias].map(Clone::clone);
    let (shared, state, out) = (shared.clone(), state.clone(), h.clone());
    tape.add_backward_op(move |gradients| {
        let mut kernels = shared.get().expect("the kernels of the forward pass");
        let weights = Weights {
            w_ih: &w_ih,
            w_hh: &w_hh,
            bias: &bias,
        };
        backward(&mut kernels, gradients, &x, &weights, &state, &out, &saved);
        kernels.tapes.push(saved);
        Ok(())
    });
    (h.put_tape(tape), next)
}

/// Writes the gradients of `x` and the weights from that of the outputs.
fn backward(
    kernels: &mut Kernels,
    gradients: &mut Gradients<f32, Cuda>,
    x: &Matrix<Cuda>,
    weights: &Weights<Cuda>,
    state: &LayerState<Cuda>,
    out: &Matrix<Cuda>,
    saved: &Tape,
) {
    let (lanes, hidden) = *state.h.shape();
    let (rows, input) = *x.shape();
    let size = lanes * hidden;
    let (gates, cells) = (saved.gates(rows, hidden), saved.cells(rows, hidden));
    let outputs = Span::of(out);
    let d_outputs = Span::of_gradient(gradients, out);
    let w_hh = Span::of(weights.w_hh);
    let carried = kernels.uninitialized(2 * size);
    let carried = Span::of_slice(&carried);
    kernels.clear(carried);
    let (d_carried, d_cell) = (step(carried, size, 0), step(carried, size, 1));
    for t in (0..rows / lanes).rev() {
        let c_before = match t {
            0 => Span::of(&state.c),
            _ => step(cells, size, t - 1),
        };
        let gates = step(gates, 4 * size, t);
        kernels.lstm_step_backward(
            gates,
            c_before,
            step(cells, size, t),
            step(d_outputs, size, t),
            d_carried,
            d_cell,
            hidden,
        );
        kernels.product(
            (lanes, 4 * hidden, hidden),
            (gates, Read::Plain),
            (w_hh, Read::Plain),
            0.0,
            d_carried,
        );
    }
    // `gates` are now the gradient before activation, (T * B, 4H).
    kernels.product(
        (rows, 4 * hidden, input),
        (gates, Read::Plain),
        (Span::of(weights.w_ih), Read::Plain),
        0.0,
        Span::of_gradient(gradients, x),
    );
    kernels.product(
        (4 * hidden, rows, input),
        (gates, Read::Transposed),
        (Span::of(x), Read::Plain),
        0.0,
        Span::of_gradient(gradients, weights.w_ih),
    );
    let d_w_hh = Span::of_gradient(gradients, weights.w_hh);
    kernels.product(
        (4 * hidden, lanes, hidden),
        (step(gates, 4 * size, 0), Read::Transposed),
        (Span::of(&state.h), Read::Plain),
        0.0,
        d_w_hh,
    );
    let later = rows - lanes;
    if later > 0 {
        kernels.product(
            (4 * hidden, later, hidden),
            (gates.part(4 * size..rows * 4 * hidden), Read::Transposed),
            (outputs.part(0..later * hidden), Read::Plain),
            1.0,
            d_w_hh,
        );
    }
    let ones = kernels.ones(rows);
    kernels.product(
        (1, rows, 4 * hidden),
        (ones, Read::Plain),
        (gates, Read::Plain),
        0.0,
        Span::of_gradient(gradients, weights.bias),
    );
}
