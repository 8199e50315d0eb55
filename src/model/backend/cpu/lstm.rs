//! [`op::lstm`](crate::model::op::lstm) as one operation, and a time step of one sequence for generation.

use super::{Backend, FusedCpu, put_gradient, take_gradient};
use crate::kernel::{Bags, LstmGradients, LstmInput, LstmLayer, LstmShape, LstmWeights};
use crate::model::matrix::Matrix;
use crate::model::op::lstm::{LayerState, Weights};
use dfdx::prelude::*;

/// Outputs of all steps for the vectors `from` `(T * B, I)`, or for the sums of the rows of the table `from` that are in `bags`; and the
/// state after the last step.
pub fn lstm<T: Tape<f32, Cpu>>(
    cpu: &FusedCpu,
    from: Matrix<Cpu, T>,
    bags: Option<Bags>,
    weights: &Weights<Cpu>,
    state: &LayerState<Cpu>,
) -> (Matrix<Cpu, T>, LayerState<Cpu>) {
    let (from, mut tape) = from.split_tape();
    let (batch, hidden) = state.h.shape();
    let rows = bags.map_or(from.shape().0, Bags::len);
    let mut saved = cpu.with(|it| it.tapes.pop()).unwrap_or_default();
    let (mut h, mut c) = (cpu.buffer(rows * hidden), cpu.buffer(batch * hidden));
    let layer = layer_of(&from, bags, weights, state);
    cpu.with(|it| it.kernels.lstm_forward(layer, &mut saved, &mut h, &mut c));
    let mut last = cpu.buffer(batch * hidden);
    last.copy_from_slice(&h[(rows - batch) * hidden..]);
    let h = cpu.matrix(h, (rows, hidden));
    let [last, c] = [last, c].map(|values| cpu.matrix(values, (batch, hidden)));
    let next = LayerState { h: last, c };
    if !T::OWNS_TAPE {
        cpu.with(|it| it.tapes.push(saved));
        return (h.put_tape(tape), next);
    }
    let [w_ih, w_hh, bias] = [weights.w_ih, weights.w_hh, weights.bias].map(Clone::clone);
    let (cpu, state, out) = (cpu.clone(), state.clone(), h.clone());
    let bags = bags.map(|bags| (bags.masks.to_vec(), bags.bits));
    tape.add_backward_op(move |gradients| {
        let dh = take_gradient(gradients, &out);
        let values = [&from, &w_ih, &w_hh, &bias];
        let mut of_values = values.map(|value| take_gradient(gradients, value));
        let [input, d_w_ih, d_w_hh, d_bias] = &mut of_values;
        let weights = Weights {
            w_ih: &w_ih,
            w_hh: &w_hh,
            bias: &bias,
        };
        let bags = bags
            .as_ref()
            .map(|(masks, bits)| Bags { masks, bits: *bits });
        let layer = layer_of(&from, bags, &weights, &state);
        let to = LstmGradients {
            input,
            w_ih: d_w_ih,
            w_hh: d_w_hh,
            bias: d_bias,
        };
        cpu.with(|it| {
            let h = out.values();
            it.kernels.lstm_backward(layer, &mut saved, h, &dh, to);
            it.tapes.push(saved);
        });
        put_gradient(gradients, &out, dh);
        for (value, gradient) in values.into_iter().zip(of_values) {
            put_gradient(gradients, value, gradient);
        }
        Ok(())
    });
    (h.put_tape(tape), next)
}

/// All layers for one time step of one sequence; gives the last layer's output `(1, H)`.
pub fn step(
    cpu: &FusedCpu,
    mut x: Matrix<Cpu>,
    layers: &[Weights<Cpu>],
    state: &mut [LayerState<Cpu>],
) -> Matrix<Cpu> {
    for (weights, state) in layers.iter().zip(state) {
        let shape = state.h.shape();
        let [mut h, mut c] = [&state.h, &state.c].map(|before| {
            let mut values = cpu.buffer(shape.0 * shape.1);
            values.copy_from_slice(before.values());
            values
        });
        let weights = slices(weights);
        cpu.with(|it| it.kernels.lstm_step(weights, x.values(), &mut h, &mut c));
        let [h, c] = [h, c].map(|values| cpu.matrix(values, shape));
        *state = LayerState { h, c };
        x = state.h.clone();
    }
    x
}

/// A layer as the kernels see it.
fn layer_of<'a>(
    from: &'a Matrix<Cpu>,
    bags: Option<Bags<'a>>,
    weights: &Weights<'a, Cpu>,
    state: &'a LayerState<Cpu>,
) -> LstmLayer<'a> {
    let (batch, hidden) = state.h.shape();
    let (rows, input) = match bags {
        Some(bags) => {
            let table = from.values();
            (bags.len(), LstmInput::Bags { table, bags })
        }
        None => (from.shape().0, LstmInput::Vectors(from.values())),
    };
    LstmLayer {
        shape: LstmShape {
            time: rows / batch,
            batch,
            input: from.shape().1,
            hidden,
        },
        weights: slices(weights),
        input,
        h0: state.h.values(),
        c0: state.c.values(),
    }
}

fn slices<'a>(weights: &Weights<'a, Cpu>) -> LstmWeights<'a> {
    LstmWeights {
        w_ih: weights.w_ih.values(),
        w_hh: weights.w_hh.values(),
        bias: weights.bias.values(),
    }
}
