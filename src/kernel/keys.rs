//! Sums of a table's rows by sounding keys, with their gradient.

#![allow(unsafe_code)]

use super::path::Task;
use super::pool::Pool;
use super::simd::Simd;
use super::workspace::Shared;
use super::{KernelPath, Kernels};

/// Sums computed by one task.
const TASK_ROWS: usize = 128;

/// Columns of the gradient in one task.
const TASK_COLUMNS: usize = 32;

/// The lowest key of a piano, as a MIDI pitch.
const LOWEST: u32 = 21;

/// How many keys there are.
pub(super) const KEYS: usize = 88;

/// The bits of a mask that are keys.
const KEY_BITS: u128 = ((1 << KEYS) - 1) << LOWEST;

impl Kernels {
    /// Sums of table rows: `masks[n]` has bit `p` for each sounding MIDI pitch `p` in 21..=108, whose row of `table`
    /// `(88, E)` is `p − 21`; the sums go to `out` `(N, E)`, zero for silence.
    ///
    /// # Panics
    /// If a slice has the wrong length or a mask a pitch that is no key.
    pub fn multi_hot_forward(&mut self, table: &[f32], masks: &[u128], out: &mut [f32]) {
        sum_keys(&mut self.pool, self.path, table, masks, None, out);
    }

    /// The gradient of [`multi_hot_forward`](Kernels::multi_hot_forward) from `dout` `(N, E)`; `dtable` `(88, E)` is
    /// overwritten.
    ///
    /// # Panics
    /// If a slice has the wrong length or a mask a pitch that is no key.
    pub fn multi_hot_backward(&mut self, masks: &[u128], dout: &[f32], dtable: &mut [f32]) {
        spread_to_keys(&mut self.pool, self.path, masks, dout, dtable);
    }
}

/// The sums of [`Kernels::multi_hot_forward`], each on top of `start` `(E)` if there is one.
pub(super) fn sum_keys(
    pool: &mut Pool,
    path: KernelPath,
    table: &[f32],
    masks: &[u128],
    start: Option<&[f32]>,
    out: &mut [f32],
) {
    let width = table.len() / KEYS;
    assert_eq!(
        (table.len(), out.len()),
        (KEYS * width, masks.len() * width),
        "table is (88, E) and out (N, E)"
    );
    assert!(
        start.is_none_or(|start| start.len() == width),
        "start is (E)"
    );
    check_masks(masks);
    if width == 0 {
        return;
    }
    let shared = Shared::of(out);
    pool.run(masks.len().div_ceil(TASK_ROWS), &|_, task| {
        let first = task * TASK_ROWS;
        let masks = &masks[first..(first + TASK_ROWS).min(masks.len())];
        path.dispatch(Sum {
            table,
            masks,
            start,
            // SAFETY: this task's rows of `out`.
            out: unsafe { shared.slice(first * width, masks.len() * width) },
        });
    });
}

/// See [`Kernels::multi_hot_backward`].
pub(super) fn spread_to_keys(
    pool: &mut Pool,
    path: KernelPath,
    masks: &[u128],
    dout: &[f32],
    dtable: &mut [f32],
) {
    let width = dtable.len() / KEYS;
    assert_eq!(
        (dtable.len(), dout.len()),
        (KEYS * width, masks.len() * width),
        "dtable is (88, E), dout (N, E)"
    );
    check_masks(masks);
    dtable.fill(0.0);
    let dtable = Shared::of(dtable);
    pool.run(width.div_ceil(TASK_COLUMNS), &|_, task| {
        path.dispatch(Spread {
            masks,
            dout,
            dtable,
            width,
            columns: task * TASK_COLUMNS..((task + 1) * TASK_COLUMNS).min(width),
        });
    });
}

fn check_masks(masks: &[u128]) {
    assert!(
        masks.iter().all(|mask| mask & !KEY_BITS == 0),
        "every sounding pitch is a key, 21 to 108"
    );
}

/// The keys of a mask, from 0, ascending.
#[inline(always)]
pub(super) fn keys(mask: u128) -> impl Iterator<Item = usize> {
    let mut rest = mask >> LOWEST;
    std::iter::from_fn(move || {
        let key = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        (key < u128::BITS).then_some(key as usize)
    })
}

/// Some rows of sums.
struct Sum<'a> {
    table: &'a [f32],
    masks: &'a [u128],
    start: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Task for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = self.table.len() / KEYS;
        for (&mask, out) in self.masks.iter().zip(self.out.chunks_exact_mut(width)) {
            match self.start {
                Some(start) => out.copy_from_slice(start),
                None => out.fill(0.0),
            }
            for key in keys(mask) {
                add_to::<S>(out, &self.table[key * width..][..width]);
            }
        }
    }
}

/// Some columns of the gradient.
struct Spread<'a> {
    masks: &'a [u128],
    dout: &'a [f32],
    dtable: Shared,
    width: usize,
    columns: std::ops::Range<usize>,
}

impl Task for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (n, &mask) in self.masks.iter().enumerate() {
            let dout = &self.dout[n * self.width..][self.columns.clone()];
            for key in keys(mask) {
                let first = key * self.width + self.columns.start;
                // SAFETY: these columns of the table belong to this task alone.
                add_to::<S>(unsafe { self.dtable.slice(first, dout.len()) }, dout);
            }
        }
    }
}

/// `to += from`
#[inline(always)]
fn add_to<S: Simd>(to: &mut [f32], from: &[f32]) {
    let len = to.len().min(from.len());
    for at in (0..len).step_by(S::LANES) {
        // SAFETY: at most `len - at` lanes are touched.
        unsafe {
            let to = to.as_mut_ptr().add(at);
            let sum = S::add(
                S::load_up_to(to, len - at),
                S::load_up_to(from.as_ptr().add(at), len - at),
            );
            S::store_up_to(to, len - at, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::Numbers;
    use super::*;

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut numbers = Numbers::new(5);
        let masks: Vec<u128> = (0..1000)
            .map(|_| 1u128 << (21 + numbers.below(88)) | 1 << (21 + numbers.below(88)))
            .collect();
        let (dout, table) = (numbers.vector(1000 * 37, 1.0), numbers.vector(88 * 37, 1.0));
        for path in KernelPath::testable() {
            let run = |threads| {
                let mut kernels = Kernels::new(path, threads);
                let (mut out, mut dtable) = (vec![0.0; 1000 * 37], vec![1.0; 88 * 37]);
                kernels.multi_hot_forward(&table, &masks, &mut out);
                kernels.multi_hot_backward(&masks, &dout, &mut dtable);
                (out, dtable)
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
