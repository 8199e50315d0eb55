//! [`op::dropout`](crate::model::op::dropout) in one pass each way.

use super::{Backend, FusedCpu, put_gradient, take_gradient};
use crate::model::matrix::Matrix;
use dfdx::prelude::*;

/// `x` times `mask`.
pub fn dropout<T: Tape<f32, Cpu>>(
    cpu: &FusedCpu,
    x: Matrix<Cpu, T>,
    mask: Vec<f32>,
) -> Matrix<Cpu, T> {
    let (x, mut tape) = x.split_tape();
    let mut out = cpu.buffer(mask.len());
    product(x.values(), &mask, &mut out);
    let out = cpu.matrix(out, x.shape());
    let kept = out.clone();
    tape.add_backward_op(move |gradients| {
        let dout = take_gradient(gradients, &kept);
        let mut dx = take_gradient(gradients, &x);
        product(&dout, &mask, &mut dx);
        put_gradient(gradients, &x, dx);
        put_gradient(gradients, &kept, dout);
        Ok(())
    });
    out.put_tape(tape)
}

fn product(a: &[f32], b: &[f32], out: &mut [f32]) {
    let factors = a.iter().zip(b);
    out.iter_mut()
        .zip(factors)
        .for_each(|(out, (a, b))| *out = a * b);
}
