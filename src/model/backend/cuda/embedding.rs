//! [`embedding::gather`](crate::model::op::embedding::gather) by kernels of our own: what is not known needs no mask.

use super::CudaKernels;
use super::kernels::Kernels;
use super::span::Span;
use crate::model::op::Matrix;
use dfdx::prelude::*;

/// The rows `ids` of `table`: `(V, E)` gives `(N, E)`, zeros for [`crate::batch::NO_TOKEN`].
pub fn gather<T: Tape<f32, Cuda>>(
    shared: &CudaKernels,
    kernels: &Kernels,
    table: Matrix<Cuda, T>,
    ids: &[u32],
) -> Matrix<Cuda, T> {
    let (table, mut tape) = table.split_tape();
    let width = table.shape().1;
    let out: Matrix<Cuda> = table.device().zeros_like(&(ids.len(), width));
    let ids = kernels.upload(ids);
    kernels.gather_rows(Span::of(&table), &ids, Span::of(&out), width);
    let (ghost, shared) = (out.clone(), shared.clone());
    tape.add_backward_op(move |gradients| {
        let kernels = shared.get().expect("the kernels of the forward pass");
        let values = Span::of_gradient(gradients, &ghost);
        let table = Span::of_gradient(gradients, &table);
        kernels.scatter_rows(table, &ids, values, width);
        Ok(())
    });
    out.put_tape(tape)
}
