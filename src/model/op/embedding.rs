//! Embedding: a token's row of a table; and EmbeddingBag, the sum of a set of rows.

use crate::batch::NO_TOKEN;
use crate::kernel::Bags;
use crate::model::matrix::{Matrix, Tensor2};
use dfdx::prelude::*;

/// The rows `ids` of `table`: `(V, E)` gives `(N, E)`. [`NO_TOKEN`] gives a row of zeros.
pub fn embedding<D: Device<f32>, T: Tape<f32, D>>(
    table: Matrix<D, T>,
    ids: &[u32],
) -> Matrix<D, T> {
    let table = table.into_tensor();
    let device = table.device().clone();
    let width = table.shape().1;
    let index = ids
        .iter()
        .map(|&id| if id == NO_TOKEN { 0 } else { id as usize })
        .collect();
    let index: Tensor<(usize,), usize, D> = device.tensor_from_vec(index, (ids.len(),));
    let rows: Tensor2<D, T> = table.gather(index);
    if !ids.contains(&NO_TOKEN) {
        return rows.into();
    }
    let mask = ids
        .iter()
        .flat_map(|&id| std::iter::repeat_n(f32::from(u8::from(id != NO_TOKEN)), width))
        .collect();
    let mask: Tensor2<D> = device.tensor_from_vec(mask, (ids.len(), width));
    (rows * mask).into()
}

/// For each set the sum of its rows of `table`: `(rows, E)` gives `(N, E)`. An empty set gives zeros.
pub fn embedding_bag<D: Device<f32>, T: Tape<f32, D>>(
    table: Matrix<D, T>,
    bags: Bags,
) -> Matrix<D, T> {
    let table = table.into_tensor();
    let sets = multi_hot(table.device(), bags).put_tape(T::default());
    sets.matmul(table).into()
}

/// The sets as zeros and ones, `(N, rows)`.
pub(super) fn multi_hot<D: Device<f32>>(device: &D, bags: Bags) -> Tensor2<D> {
    let bits = bags.bits.first..bags.bits.first + bags.bits.rows as u32;
    let row = |&mask: &u128| {
        bits.clone()
            .map(move |bit| f32::from((mask >> bit) as u8 & 1))
    };
    let values = bags.masks.iter().flat_map(row).collect();
    device.tensor_from_vec(values, (bags.len(), bags.bits.rows))
}
