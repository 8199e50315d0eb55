//! The operations of a model, each composed of dfdx's, for any device. They are the reference for the fused forms in `backend/`, file by
//! file.
//!
//! Sequences are time-major: row `t * B + b` of a `(T * B, _)` matrix is step `t` of sequence `b`.

pub mod dropout;
pub mod embedding;
pub mod lstm;
pub mod sigmoid;
pub mod softmax;
pub mod update;

use super::matrix::{Matrix, Tensor2};
use dfdx::prelude::*;

/// A matrix whose operations are taped.
pub type Taped<D> = Matrix<D, OwnedTape<f32, D>>;

/// A loss, the root of the tape.
pub type Loss<D> = Tensor<Rank0, f32, D, OwnedTape<f32, D>>;

/// The parameters of the output projection `h Wᵀ + b`.
#[derive(Debug)]
pub struct Projection<'a, D: Storage<f32>> {
    /// `(V, H)`.
    pub weight: &'a Matrix<D>,
    /// `(1, V)`.
    pub bias: &'a Matrix<D>,
}

impl<D: Storage<f32>> Clone for Projection<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Storage<f32>> Copy for Projection<'_, D> {}

/// Keeps only the gradients of `tensors`. (dfdx can do so only for tensors of compile-time size.)
fn keep<D: Device<f32>>(
    mut gradients: Gradients<f32, D>,
    tensors: &[&Tensor2<D>],
) -> Gradients<f32, D> {
    let mut kept = Gradients::leaky();
    for tensor in tensors {
        swap_gradient(&mut kept, &mut gradients, tensor);
    }
    kept
}

/// Exchanges the gradients that two containers hold for `tensor`, zeros where one holds none.
pub(super) fn swap_gradient<D: Device<f32>>(
    a: &mut Gradients<f32, D>,
    b: &mut Gradients<f32, D>,
    tensor: &Tensor2<D>,
) {
    let in_a = a.get_or_alloc_mut(tensor);
    let in_b = b.get_or_alloc_mut(tensor);
    std::mem::swap(
        in_a.expect("a gradient fits in memory"),
        in_b.expect("a gradient fits in memory"),
    );
}

/// `x Wᵀ + b`: `(N, I)`, `(O, I)` and `(1, O)` give `(N, O)`.
fn affine<D: Device<f32>, T: Tape<f32, D>>(
    x: Tensor2<D, T>,
    weight: Tensor2<D, T>,
    bias: Tensor2<D, T>,
) -> Tensor2<D, T> {
    let ones: Tensor2<D> = x.device().ones_like(&(x.shape().0, 1));
    let product = x.matmul(weight.permute::<(usize, usize), Axes2<1, 0>>());
    // A product with a column of ones repeats the bias, and sums its gradient in a fixed order, as fast as any product.
    product + ones.put_tape(T::default()).matmul(bias)
}

/// The logits of `N` positions, `(N, V)` row-major, all at once: for generation, and for the sigmoid model.
pub fn logits<D: Device<f32>>(h: &Matrix<D>, projection: Projection<D>) -> Vec<f32> {
    let Projection { weight, bias } = projection;
    let [h, weight, bias] = [h, weight, bias].map(|matrix| matrix.tensor().clone());
    affine(h, weight, bias).as_vec()
}
