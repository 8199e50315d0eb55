//! One LSTM layer over a whole sequence.
//!
//! Gates in the order input, forget, candidate, output: with `a = W_ih x + W_hh h + b`, `i = σ(a_i)`, `f = σ(a_f)`, `g = tanh(a_g)`,
//! `o = σ(a_o)`, the cell becomes `c = f c + i g` and the output `h = o tanh(c)`. Source: Hochreiter & Schmidhuber 1997, with the forget
//! gate of Gers et al. 2000, in the form that deep learning libraries share.

use super::affine;
use crate::model::matrix::{Matrix, Tensor2};
use dfdx::prelude::*;

/// The parameters of one layer of width `H` that reads vectors of width `I`.
pub struct Weights<'a, D: Storage<f32>> {
    /// `(4H, I)`.
    pub w_ih: &'a Matrix<D>,
    /// `(4H, H)`.
    pub w_hh: &'a Matrix<D>,
    /// `(1, 4H)`.
    pub bias: &'a Matrix<D>,
}

/// What one layer carries from step to step, each `(B, H)`.
#[derive(Debug, Clone)]
pub struct LayerState<D: Storage<f32>> {
    /// The output of the last step.
    pub h: Matrix<D>,
    /// The cell.
    pub c: Matrix<D>,
}

/// Outputs of all steps for inputs `(T * B, I)`, `(T * B, H)`, and the state after the last; no gradient flows into or out of a state.
pub fn lstm<D: Device<f32>, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    weights: &Weights<D>,
    state: &LayerState<D>,
) -> (Matrix<D, T>, LayerState<D>) {
    let (batch, hidden) = state.h.shape();
    let steps = x.shape().0 / batch;
    let [w_ih, w_hh, bias] =
        [weights.w_ih, weights.w_hh, weights.bias].map(|weight| weight.tensor().retaped::<T>());
    let (inputs, mut tape) = affine(x.into_tensor(), w_ih, bias).split_tape(); // (T * B, 4H)
    let (w_hh, w_hh_tape) = w_hh.permute::<(usize, usize), Axes2<1, 0>>().split_tape();
    tape = tape.merge(w_hh_tape);

    let mut h: Tensor2<D, T> = state.h.tensor().retaped();
    let mut c: Tensor2<D, T> = state.c.tensor().retaped();
    let mut outputs = Vec::with_capacity(steps);
    for t in 0..steps {
        let input = inputs
            .retaped::<T>()
            .slice((t * batch..(t + 1) * batch, ..));
        let (gates, gates_tape) = (h.matmul(w_hh.retaped::<T>()) + input).split_tape(); // (B, 4H)
        let gate = |k: usize| {
            gates
                .retaped::<T>()
                .slice((.., k * hidden..(k + 1) * hidden))
        };
        tape = tape.merge(gates_tape);
        c = gate(1).sigmoid() * c + gate(0).sigmoid() * gate(2).tanh();
        let (cell, cell_tape) = c.split_tape();
        tape = tape.merge(cell_tape);
        c = cell.retaped();
        let (output, output_tape) =
            (gate(3).sigmoid() * cell.put_tape(T::default()).tanh()).split_tape();
        tape = tape.merge(output_tape);
        outputs.push(output.retaped::<T>());
        h = output.put_tape(T::default());
    }
    let state = LayerState {
        h: h.split_tape().0.into(),
        c: c.split_tape().0.into(),
    };
    let (outputs, stack_tape) = outputs
        .stack()
        .reshape_like(&(steps * batch, hidden))
        .split_tape();
    (outputs.put_tape(tape.merge(stack_tape)).into(), state)
}
