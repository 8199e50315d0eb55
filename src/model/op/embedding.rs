//! Embedding: a token's row of a table, or the sum of the rows of the sounding keys.

use super::Matrix;
use crate::batch::NO_TOKEN;
use dfdx::prelude::*;

/// The lowest key of the sigmoid model, MIDI pitch 21: row 0 of its table.
pub const LOWEST_KEY: u32 = 21;

/// Keys of the sigmoid model, a piano's: MIDI pitches 21 to 108.
pub const KEYS: usize = 88;

/// All of them, as a set.
pub const ALL_KEYS: u128 = ((1 << KEYS) - 1) << LOWEST_KEY;

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
            (0..KEYS as u32).map(move |key| f32::from((keys >> (key + LOWEST_KEY)) as u8 & 1))
        })
        .collect();
    device.tensor_from_vec(values, (keys.len(), KEYS))
}
