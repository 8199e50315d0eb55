//! Rows of a table by token, and sums of rows by sounding keys; with their gradients.

#![allow(unsafe_code)]

use super::path::Task;
use super::simd::Simd;
use super::workspace::Shared;
use super::{KernelPath, Kernels};

/// Rows handled by one task.
const TASK_ROWS: usize = 128;

/// Columns handled by one task of the multi-hot gradient.
const TASK_COLUMNS: usize = 32;

/// The lowest key of a piano, as a MIDI pitch, and the number of keys.
const LOWEST: u32 = 21;
const KEYS: usize = 88;

/// The bits of a mask that are keys.
const KEY_BITS: u128 = ((1 << KEYS) - 1) << LOWEST;

/// The gradient of a table, only the rows that were used. Reuse it from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowGradient {
    /// The rows, ascending, each once.
    pub rows: Vec<u32>,
    /// `(rows.len(), width)`: their gradients.
    pub values: Vec<f32>,
    /// Positions by row, then by position: row in the upper half.
    order: Vec<u64>,
    /// Where each row's positions start in `order`, and where the last one's end.
    starts: Vec<usize>,
}

impl Kernels {
    /// Row `ids[n]` of `table` `(V, E)` for every `n`, into `out` `(N, E)`.
    ///
    /// # Panics
    /// If `out` is not as long as `ids` times the width `E = out.len() / ids.len()`, or an id is not a row.
    pub fn embedding_gather(&mut self, table: &[f32], ids: &[u32], out: &mut [f32]) {
        if ids.is_empty() {
            assert!(out.is_empty(), "one output row per id");
            return;
        }
        let width = out.len() / ids.len();
        assert!(
            out.len() == ids.len() * width && width > 0 && table.len().is_multiple_of(width),
            "out is (N, E), table (V, E)"
        );
        assert!(
            ids.iter().all(|&id| (id as usize) < table.len() / width),
            "every id is a row of the table"
        );
        let shared = Shared::of(out);
        self.pool.run(ids.len().div_ceil(TASK_ROWS), &|_, task| {
            let first = task * TASK_ROWS;
            let ids = &ids[first..(first + TASK_ROWS).min(ids.len())];
            // SAFETY: this task's rows of `out`, which nobody else touches until `run` returns.
            let out = unsafe { shared.slice(first * width, ids.len() * width) };
            for (&id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
                out.copy_from_slice(&table[id as usize * width..][..width]);
            }
        });
    }

    /// The gradient of [`embedding_gather`](Kernels::embedding_gather): the rows of `dout` `(N, width)` summed by id, in
    /// order of position. `gradient` is overwritten.
    ///
    /// # Panics
    /// If `dout` is not `ids.len() * width` long.
    pub fn embedding_gradient(
        &mut self,
        ids: &[u32],
        dout: &[f32],
        width: usize,
        gradient: &mut RowGradient,
    ) {
        assert_eq!(dout.len(), ids.len() * width, "one row of gradient per id");
        let RowGradient {
            rows,
            values,
            order,
            starts,
        } = gradient;
        order.clear();
        order.extend(
            ids.iter()
                .enumerate()
                .map(|(n, &id)| u64::from(id) << 32 | n as u64),
        );
        order.sort_unstable();
        rows.clear();
        starts.clear();
        for (at, &entry) in order.iter().enumerate() {
            let row = (entry >> 32) as u32;
            if rows.last() != Some(&row) {
                rows.push(row);
                starts.push(at);
            }
        }
        starts.push(order.len());
        values.resize(rows.len() * width, 0.0);
        let shared = Shared::of(values);
        self.pool.run(rows.len().div_ceil(TASK_ROWS), &|_, task| {
            for row in task * TASK_ROWS..((task + 1) * TASK_ROWS).min(rows.len()) {
                // SAFETY: one row of `values`, which this task alone writes.
                let sum = unsafe { shared.slice(row * width, width) };
                sum.fill(0.0);
                for &entry in &order[starts[row]..starts[row + 1]] {
                    let dout = &dout[(entry as u32) as usize * width..][..width];
                    sum.iter_mut().zip(dout).for_each(|(sum, d)| *sum += d);
                }
            }
        });
    }

    /// Sums of table rows: `masks[n]` has bit `p` for each sounding MIDI pitch `p` in 21..=108, whose row of `table`
    /// `(88, E)` is `p − 21`; the sums go to `out` `(N, E)`, zero for silence.
    ///
    /// # Panics
    /// If a slice has the wrong length or a mask a pitch that is no key.
    pub fn multi_hot_forward(&mut self, table: &[f32], masks: &[u128], out: &mut [f32]) {
        let width = table.len() / KEYS;
        assert_eq!(
            (table.len(), out.len()),
            (KEYS * width, masks.len() * width),
            "table is (88, E) and out (N, E)"
        );
        check_masks(masks);
        if width == 0 {
            return;
        }
        let shared = Shared::of(out);
        self.pool.run(masks.len().div_ceil(TASK_ROWS), &|_, task| {
            let first = task * TASK_ROWS;
            let masks = &masks[first..(first + TASK_ROWS).min(masks.len())];
            // SAFETY: this task's rows of `out`.
            let out = unsafe { shared.slice(first * width, masks.len() * width) };
            for (&mask, out) in masks.iter().zip(out.chunks_exact_mut(width)) {
                out.fill(0.0);
                for key in keys(mask) {
                    add_to(self.path, out, &table[key * width..][..width]);
                }
            }
        });
    }

    /// The gradient of [`multi_hot_forward`](Kernels::multi_hot_forward) from `dout` `(N, E)`; `dtable` `(88, E)` is
    /// overwritten.
    ///
    /// # Panics
    /// If a slice has the wrong length or a mask a pitch that is no key.
    pub fn multi_hot_backward(&mut self, masks: &[u128], dout: &[f32], dtable: &mut [f32]) {
        let width = dtable.len() / KEYS;
        assert_eq!(
            (dtable.len(), dout.len()),
            (KEYS * width, masks.len() * width),
            "dtable is (88, E), dout (N, E)"
        );
        check_masks(masks);
        dtable.fill(0.0);
        let shared = Shared::of(dtable);
        self.pool.run(width.div_ceil(TASK_COLUMNS), &|_, task| {
            let columns = task * TASK_COLUMNS..((task + 1) * TASK_COLUMNS).min(width);
            for (n, &mask) in masks.iter().enumerate() {
                let dout = &dout[n * width..][columns.clone()];
                for key in keys(mask) {
                    // SAFETY: these columns belong to this task alone.
                    add_to(
                        self.path,
                        unsafe { shared.slice(key * width + columns.start, columns.len()) },
                        dout,
                    );
                }
            }
        });
    }
}

fn check_masks(masks: &[u128]) {
    assert!(
        masks.iter().all(|mask| mask & !KEY_BITS == 0),
        "every sounding pitch is a key, 21 to 108"
    );
}

/// The keys of a mask, from 0, ascending.
pub(super) fn keys(mask: u128) -> impl Iterator<Item = usize> {
    let mut rest = mask >> LOWEST;
    std::iter::from_fn(move || {
        let key = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        (key < u128::BITS).then_some(key as usize)
    })
}

fn add_to(path: KernelPath, to: &mut [f32], from: &[f32]) {
    path.dispatch(AddTo { to, from });
}

/// `to += from`
struct AddTo<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
}

impl Task for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let len = self.to.len().min(self.from.len());
        for at in (0..len).step_by(S::LANES) {
            // SAFETY: at most `len - at` lanes are touched.
            unsafe {
                let to = self.to.as_mut_ptr().add(at);
                let sum = S::add(
                    S::load_up_to(to, len - at),
                    S::load_up_to(self.from.as_ptr().add(at), len - at),
                );
                S::store_up_to(to, len - at, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::Numbers;
    use super::*;

    #[test]
    fn gathers_the_named_rows() {
        let mut out = [0.0; 6];
        Kernels::new(KernelPath::detect(), 2).embedding_gather(
            &[1.0, 2.0, 3.0, 4.0],
            &[1, 0, 1],
            &mut out,
        );
        assert_eq!(out, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn gradients_of_a_repeated_row_add_up_and_other_rows_are_absent() {
        let mut gradient = RowGradient::default();
        let mut kernels = Kernels::new(KernelPath::detect(), 1);
        kernels.embedding_gradient(&[9, 9], &[5.0; 4], 2, &mut gradient);
        kernels.embedding_gradient(
            &[7, 2, 7],
            &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0],
            2,
            &mut gradient,
        );
        assert_eq!(gradient.rows, [2, 7]);
        assert_eq!(gradient.values, [3.0, 4.0, 11.0, 22.0]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut numbers = Numbers::new(5);
        let ids: Vec<u32> = (0..1000).map(|_| numbers.below(300) as u32).collect();
        let masks: Vec<u128> = (0..1000)
            .map(|_| 1u128 << (21 + numbers.below(88)) | 1 << (21 + numbers.below(88)))
            .collect();
        let (dout, table) = (numbers.vector(1000 * 37, 1.0), numbers.vector(88 * 37, 1.0));
        for path in KernelPath::testable() {
            let run = |threads| {
                let mut kernels = Kernels::new(path, threads);
                let mut gradient = RowGradient::default();
                kernels.embedding_gradient(&ids, &dout, 37, &mut gradient);
                let (mut out, mut dtable) = (vec![0.0; 1000 * 37], vec![1.0; 88 * 37]);
                kernels.multi_hot_forward(&table, &masks, &mut out);
                kernels.multi_hot_backward(&masks, &dout, &mut dtable);
                (gradient, out, dtable)
            };
            let one = run(1);
            assert!(one == run(2) && one == run(3), "{}", path.name());
        }
    }

    #[test]
    fn a_chord_is_the_sum_of_its_keys_and_hands_its_gradient_to_each() {
        let table: Vec<f32> = (0..KEYS * 3).map(|i| i as f32).collect();
        let masks = [1 << 21 | 1 << 108, 0, 1 << 60];
        for path in KernelPath::testable() {
            let mut kernels = Kernels::new(path, 2);
            let mut out = [f32::NAN; 9];
            kernels.multi_hot_forward(&table, &masks, &mut out);
            assert_eq!(
                out,
                [261.0, 263.0, 265.0, 0.0, 0.0, 0.0, 117.0, 118.0, 119.0]
            );
            let mut dtable = vec![f32::NAN; KEYS * 3];
            kernels.multi_hot_backward(&masks, &out, &mut dtable);
            assert_eq!(dtable[..3], out[..3]);
            assert_eq!(dtable[87 * 3..], out[..3]);
            assert_eq!(dtable[39 * 3..40 * 3], out[6..]);
            assert_eq!(dtable.iter().filter(|d| **d != 0.0).count(), 9);
        }
    }
}
