//! One LSTM layer over a whole sequence.
//!
//! Gates in the order input, forget, candidate, output: with `a = W_ih x + W_hh h + b`, `i = σ(a_i)`, `f = σ(a_f)`, `g = tanh(a_g)`,
//! `o = σ(a_o)`, the cell becomes `c = f c + i g` and the output `h = o tanh(c)`. Source: Hochreiter & Schmidhuber 1997, with the forget
//! gate of Gers et al. 2000, in the form that deep learning libraries share.

use super::{Matrix, affine};
use crate::kernel::{LstmInput, LstmShape, LstmWeights};
use crate::model::backend::cpu::{CpuKernels, Fused, filled};
use crate::model::backend::cpu_slice::{put_gradient, take_gradient, values, values_mut};
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
pub fn composed<D: Device<f32>, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    weights: &Weights<D>,
    state: &LayerState<D>,
) -> (Matrix<D, T>, LayerState<D>) {
    let (lanes, hidden) = *state.h.shape();
    let steps = x.shape().0 / lanes;
    let (inputs, mut tape) = affine(x, weights.w_ih.retaped(), weights.bias.retaped()).split_tape(); // (T * B, 4H)
    let w_hh = weights
        .w_hh
        .retaped::<T>()
        .permute::<(usize, usize), Axes2<1, 0>>();
    let (w_hh, w_hh_tape) = w_hh.split_tape();
    tape = tape.merge(w_hh_tape);

    let mut h: Matrix<D, T> = state.h.retaped();
    let mut c: Matrix<D, T> = state.c.retaped();
    let mut outputs = Vec::with_capacity(steps);
    for t in 0..steps {
        let input = inputs
            .retaped::<T>()
            .slice((t * lanes..(t + 1) * lanes, ..));
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
        h: h.split_tape().0,
        c: c.split_tape().0,
    };
    let (outputs, stack_tape) = outputs
        .stack()
        .reshape_like(&(steps * lanes, hidden))
        .split_tape();
    (outputs.put_tape(tape.merge(stack_tape)), state)
}

/// [`composed`] as one operation, over the vectors `from`; or over the sums of the rows of the table `from` that belong to `keys`, which
/// [`embedding::sum`](super::embedding::sum) and [`composed`] define.
pub fn fused<T: Tape<f32, Cpu>>(
    kernels: &CpuKernels,
    fused: &mut Fused,
    from: Matrix<Cpu, T>,
    keys: Option<&[u128]>,
    weights: &Weights<Cpu>,
    state: &LayerState<Cpu>,
) -> (Matrix<Cpu, T>, LayerState<Cpu>) {
    let (from, mut tape) = from.split_tape();
    let (batch, hidden) = *state.h.shape();
    let rows = keys.map_or(from.shape().0, <[u128]>::len);
    let shape = LstmShape {
        time: rows / batch,
        batch,
        input: from.shape().1,
        hidden,
    };
    let precision = fused.precision.into();
    let mut saved = fused.tapes.pop().unwrap_or_default();
    let mut c: Matrix<Cpu> = from.device().zeros_like(&(batch, hidden));
    let h = filled(from.device(), (rows, hidden), |h| {
        let (h0, c0, c) = (values(&state.h), values(&state.c), values_mut(&mut c));
        fused.kernels.lstm_forward(
            precision,
            shape,
            slices(weights),
            input(&from, keys),
            h0,
            c0,
            &mut saved,
            h,
            c,
        );
    });
    let last = filled(from.device(), (batch, hidden), |last| {
        last.copy_from_slice(&values(&h)[(rows - batch) * hidden..])
    });
    let next = LayerState { h: last, c };
    if !T::OWNS_TAPE {
        fused.tapes.push(saved);
        return (h.put_tape(tape), next);
    }
    let [w_ih, w_hh, bias] = [weights.w_ih, weights.w_hh, weights.bias].map(Clone::clone);
    let (kernels, state, out) = (kernels.clone(), state.clone(), h.clone());
    let keys = keys.map(<[u128]>::to_vec);
    tape.add_backward_op(move |gradients| {
        let dh = take_gradient(gradients, &out);
        let mut grown = [&from, &w_ih, &w_hh, &bias].map(|tensor| take_gradient(gradients, tensor));
        let [dfrom, dw_ih, dw_hh, db] = &mut grown;
        let weights = Weights {
            w_ih: &w_ih,
            w_hh: &w_hh,
            bias: &bias,
        };
        let (h0, c0) = (values(&state.h), values(&state.c));
        let mut fused = kernels.get().expect("the kernels of the forward pass");
        fused.kernels.lstm_backward(
            precision,
            shape,
            slices(&weights),
            input(&from, keys.as_deref()),
            h0,
            c0,
            values(&out),
            &mut saved,
            &dh,
            dfrom,
            dw_ih,
            dw_hh,
            db,
        );
        fused.tapes.push(saved);
        put_gradient(gradients, &out, dh);
        for (tensor, gradient) in [&from, &w_ih, &w_hh, &bias].into_iter().zip(grown) {
            put_gradient(gradients, tensor, gradient);
        }
        Ok(())
    });
    (h.put_tape(tape), next)
}

/// All layers for one step of one lane, in place; gives the last layer's output `(1, H)`.
pub fn fused_step(
    fused: &mut Fused,
    mut x: Matrix<Cpu>,
    layers: &[Weights<Cpu>],
    state: &mut [LayerState<Cpu>],
) -> Matrix<Cpu> {
    for (weights, state) in layers.iter().zip(state) {
        let shape = LstmShape {
            time: 1,
            batch: 1,
            input: x.shape().1,
            hidden: state.h.shape().1,
        };
        let LayerState { h, c } = state;
        fused.kernels.lstm_step(
            shape,
            slices(weights),
            values(&x),
            values_mut(h),
            values_mut(c),
        );
        x = filled(h.device(), *h.shape(), |x| x.copy_from_slice(values(h)));
    }
    x
}

fn input<'a>(from: &'a Matrix<Cpu>, keys: Option<&'a [u128]>) -> LstmInput<'a> {
    match keys {
        Some(masks) => LstmInput::Keys {
            table: values(from),
            masks,
        },
        None => LstmInput::Vectors(values(from)),
    }
}

fn slices<'a>(weights: &Weights<'a, Cpu>) -> LstmWeights<'a> {
    LstmWeights {
        w_ih: values(weights.w_ih),
        w_hh: values(weights.w_hh),
        bias: values(weights.bias),
    }
}
