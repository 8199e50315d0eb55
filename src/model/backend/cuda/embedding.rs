//! [`op::embedding`](crate::model::op::embedding) by kernels of our own, which need no mask for unknown ids.

use super::FusedCuda;
use super::span::Span;
use crate::model::matrix::Matrix;
use dfdx::prelude::*;

/// The rows `ids` of `table`: `(V, E)` gives `(N, E)`, zeros for [`crate::batch::NO_TOKEN`].
pub fn embedding<T: Tape<f32, Cuda>>(
    cuda: &FusedCuda,
    table: &Matrix<Cuda>,
    ids: &[u32],
) -> Matrix<Cuda, T> {
    let width = table.shape().1;
    let out: Matrix<Cuda> = cuda.device.zeros_like(&(ids.len(), width)).into();
    let ids = cuda.with(|kernels| {
        let ids = kernels.upload(ids);
        kernels.gather_rows(Span::of(table), &ids, Span::of(&out), width);
        ids
    });
    let (kept, table, cuda) = (out.clone(), table.clone(), cuda.clone());
    let mut tape = T::default();
    tape.add_backward_op(move |gradients| {
        let [values, table] = Span::of_gradients(gradients, [&kept, &table]);
        cuda.with(|kernels| kernels.scatter_rows(table, &ids, values, width));
        Ok(())
    });
    out.put_tape(tape)
}
