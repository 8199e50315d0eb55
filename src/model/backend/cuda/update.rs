//! [`op::update`](crate::model::op::update): the gradients' norm, and Adam's step, by kernels of our own.

use super::FusedCuda;
use super::span::Span;
use crate::model::matrix::Buffer;
use crate::model::op;
use crate::model::op::update::Rule;
use crate::model::parameters::{Parameter, Parameters};
use dfdx::prelude::*;

/// The norm of the gradients of all parameters together.
pub fn gradient_norm(
    cuda: &FusedCuda,
    parameters: &Parameters<Cuda>,
    gradients: &mut Gradients<f32, Cuda>,
) -> f64 {
    let gradients = Span::of_all_gradients(gradients, parameters);
    cuda.with(|kernels| kernels.sum_of_squares(&gradients).sqrt())
}

/// Moves `parameter` along its gradient times `scale`: by Adam at once, by any other rule as the reference does.
pub fn update(
    cuda: &FusedCuda,
    rule: &Rule,
    scale: f32,
    parameter: &mut Parameter<Cuda>,
    slots: &mut [Buffer<Cuda>],
    gradients: &mut Gradients<f32, Cuda>,
) {
    let matrix = &mut parameter.matrix;
    match (rule, &*slots) {
        (Rule::Adam { .. }, [first, second]) => {
            let moments = [first, second].map(Span::of_buffer);
            let [gradient] = Span::of_gradients(gradients, [matrix]);
            let parameter = Span::of(matrix);
            cuda.with(|kernels| kernels.adam(rule, scale, parameter, moments, gradient));
        }
        _ => op::update::update(rule, scale, matrix, slots, gradients),
    }
}
