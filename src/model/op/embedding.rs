//! Embedding: a token's row of a table, or the sum of the rows of the sounding keys.

use super::Matrix;
use crate::batch::NO_TOKEN;
use crate::corpus::score::{KEYS, LOWEST_KEY};
use crate::kernel::RowGradient;
use crate::model::backend::cpu::{CpuKernels, Fused, filled};
use crate::model::backend::cpu_slice::{put_gradient, take_gradient, values};
use dfdx::prelude::*;

/// The rows `ids` of `table`: `(V, E)` gives `(N, E)`. [`NO_TOKEN`] gives a row of zeros.
pub fn gather<D: Device<f32>, T: Tape<f32, D>>(table: Matrix<D, T>, ids: &[u32]) -> Matrix<D, T> {
    let device = table.device().clone();
    let width = table.shape().1;
    let index = ids
        .iter()
        .map(|&id| if id == NO_TOKEN { 0 } else { id as usize })
        .collect();
    let index: Tensor<(usize,), usize, D> = device.tensor_from_vec(index, (ids.len(),));
    let rows: Matrix<D, T> = table.gather(index);
    if !ids.contains(&NO_TOKEN) {
        return rows;
    }
    let mask = ids
        .iter()
        .flat_map(|&id| std::iter::repeat_n(f32::from(u8::from(id != NO_TOKEN)), width))
        .collect();
    let mask: Matrix<D> = device.tensor_from_vec(mask, (ids.len(), width));
    rows * mask
}

/// For each set of keys the sum of their rows of `table`: `(88, E)` gives `(N, E)`. Silence gives zeros.
pub fn sum<D: Device<f32>, T: Tape<f32, D>>(table: Matrix<D, T>, keys: &[u128]) -> Matrix<D, T> {
    multi_hot(table.device(), keys)
        .put_tape(T::default())
        .matmul(table)
}

/// The keys as zeros and ones, `(N, 88)`.
pub(super) fn multi_hot<D: Device<f32>>(device: &D, keys: &[u128]) -> Matrix<D> {
    let values = keys
        .iter()
        .flat_map(|&keys| {
            let pitches = (LOWEST_KEY..).take(KEYS);
            pitches.map(move |pitch| f32::from((keys >> pitch) as u8 & 1))
        })
        .collect();
    device.tensor_from_vec(values, (keys.len(), KEYS))
}

/// [`gather`] with a gradient of rows, which the kernels keep: `table` is all of the vocabulary, and a window reads little of it.
pub fn fused_gather<T: Tape<f32, Cpu>>(
    kernels: &CpuKernels,
    fused: &mut Fused,
    table: Matrix<Cpu, T>,
    ids: &[u32],
) -> Matrix<Cpu, T> {
    let (table, mut tape) = table.split_tape();
    let width = table.shape().1;
    let known: Vec<u32> = ids
        .iter()
        .map(|&id| if id == NO_TOKEN { 0 } else { id })
        .collect();
    let absent: Vec<usize> = (0..ids.len()).filter(|&row| ids[row] == NO_TOKEN).collect();
    let clear = move |rows: &mut [f32]| {
        absent
            .iter()
            .for_each(|&row| rows[row * width..][..width].fill(0.0))
    };
    let out = filled(table.device(), (ids.len(), width), |out| {
        fused.kernels.embedding_gather(values(&table), &known, out);
        clear(out);
    });
    let (ghost, kernels) = (out.clone(), kernels.clone());
    tape.add_backward_op(move |gradients| {
        let mut dout = take_gradient(gradients, &ghost);
        clear(&mut dout);
        let mut fused = kernels.get().expect("the kernels of the forward pass");
        let Fused {
            kernels, embedding, ..
        } = &mut *fused;
        kernels.embedding_gradient(&known, &dout, width, embedding);
        put_gradient(gradients, &ghost, dout);
        Ok(())
    });
    out.put_tape(tape)
}

/// A gradient of rows as a whole table.
pub fn dense(gradient: &RowGradient, (rows, width): (usize, usize)) -> Vec<f32> {
    let mut table = vec![0.0; rows * width];
    for (&row, values) in gradient
        .rows
        .iter()
        .zip(gradient.values.chunks_exact(width))
    {
        table[row as usize * width..][..width].copy_from_slice(values);
    }
    table
}

/// [`sum`] without the zeros and ones.
pub fn fused_sum<T: Tape<f32, Cpu>>(
    kernels: &CpuKernels,
    fused: &mut Fused,
    table: Matrix<Cpu, T>,
    keys: &[u128],
) -> Matrix<Cpu, T> {
    let (table, mut tape) = table.split_tape();
    let shape = (keys.len(), table.shape().1);
    let out = filled(table.device(), shape, |out| {
        fused.kernels.multi_hot_forward(values(&table), keys, out)
    });
    let (ghost, kernels, keys) = (out.clone(), kernels.clone(), keys.to_vec());
    tape.add_backward_op(move |gradients| {
        let dout = take_gradient(gradients, &ghost);
        let mut dtable = take_gradient(gradients, &table);
        let mut fused = kernels.get().expect("the kernels of the forward pass");
        fused.kernels.multi_hot_backward(&keys, &dout, &mut dtable);
        put_gradient(gradients, &table, dtable);
        put_gradient(gradients, &ghost, dout);
        Ok(())
    });
    out.put_tape(tape)
}
