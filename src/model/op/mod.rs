//! The operations a model is made of: each file defines one by composing dfdx ops, for any device, and beside it the fused form for
//! the CPU, which the composed one is the reference for.
//!
//! Sequences are time-major: row `t * B + b` of a `(T * B, _)` matrix is step `t` of lane `b`.

pub mod dropout;
pub mod embedding;
pub mod lstm;
mod root;
pub mod sigmoid;
pub mod softmax;
pub mod update;

use dfdx::prelude::*;

/// A matrix of run-time size on a device, row-major; `T` says whether operations on it are taped.
pub type Matrix<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;

/// One number on a device.
pub type Scalar<D, T = NoneTape> = Tensor<Rank0, f32, D, T>;

/// The storage of a tensor's values or gradients on a device.
pub type Buffer<D> = <D as Storage<f32>>::Vec;

/// Of `gradients` those of `tensors` alone. (dfdx itself marks as kept only the gradients of tensors of compile-time size.)
pub(crate) fn keep<D: Device<f32>>(
    mut gradients: Gradients<f32, D>,
    tensors: &[&Matrix<D>],
) -> Gradients<f32, D> {
    let mut kept = Gradients::leaky();
    for tensor in tensors {
        swap_gradient(&mut kept, &mut gradients, tensor);
    }
    kept
}

/// Exchanges the gradients that two containers hold for `tensor`, zeros where one holds none.
pub(crate) fn swap_gradient<D: Device<f32>>(
    a: &mut Gradients<f32, D>,
    b: &mut Gradients<f32, D>,
    tensor: &Matrix<D>,
) {
    let in_a = a
        .get_or_alloc_mut(tensor)
        .expect("a gradient fits in memory");
    let in_b = b
        .get_or_alloc_mut(tensor)
        .expect("a gradient fits in memory");
    std::mem::swap(in_a, in_b);
}

/// `x Wᵀ + b`: `(N, I)`, `(O, I)` and `(1, O)` give `(N, O)`.
pub(crate) fn affine<D: Device<f32>, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    weight: Matrix<D, T>,
    bias: Matrix<D, T>,
) -> Matrix<D, T> {
    let ones: Matrix<D> = x.device().ones_like(&(x.shape().0, 1));
    let product = x.matmul(weight.permute::<(usize, usize), Axes2<1, 0>>());
    // A product with a column of ones repeats the bias, and sums its gradient, at a product's speed and in a fixed order.
    product + ones.put_tape(T::default()).matmul(bias)
}

/// The logits `h Wᵀ + b` of `N` positions, `(N, V)` row-major, all at once: for generation, and for the sigmoid model.
pub fn logits<D: Device<f32>>(h: &Matrix<D>, weight: &Matrix<D>, bias: &Matrix<D>) -> Vec<f32> {
    affine(h.clone(), weight.clone(), bias.clone()).as_vec()
}

/// A buffer of zeros for each value of `tensor`.
pub(crate) fn zeros<D: Device<f32>>(device: &D, tensor: &Matrix<D>) -> Buffer<D> {
    let (rows, columns) = *tensor.shape();
    let mut buffer = Storage::<f32>::try_alloc_len(device, rows * columns)
        .expect("the optimizer's state fits in memory");
    device
        .try_fill_with_zeros(&mut buffer)
        .expect("a fill allocates nothing");
    buffer
}
