//! Rows of a table by token, with their gradient.

#![allow(unsafe_code)]

use super::context::Kernels;
use super::workspace::Shared;

/// Rows handled by one task.
const TASK_ROWS: usize = 128;

/// The gradient of a table by its rows that were read; that of all others is zero. Reuse it from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseGradient {
    /// The rows, ascending, each once.
    pub rows: Vec<u32>,
    /// `(rows.len(), width)`: their gradients.
    pub values: Vec<f32>,
    /// Positions by row, then by position: row in the upper half.
    order: Vec<u64>,
    /// Where each row's positions start in `order`, and where the last one's end.
    starts: Vec<usize>,
}

impl SparseGradient {
    /// The whole table `(rows, width)`.
    pub fn to_dense(&self, rows: usize, width: usize) -> Vec<f32> {
        let mut table = vec![0.0; rows * width];
        for (&row, values) in self.rows.iter().zip(self.values.chunks_exact(width)) {
            table[row as usize * width..][..width].copy_from_slice(values);
        }
        table
    }
}

impl Kernels {
    /// Row `ids[n]` of `table` `(V, E)` for every `n`, into `out` `(N, E)`.
    ///
    /// # Panics
    /// If `out` is not as long as `ids` times the width `E = out.len() / ids.len()`, or an id is not a row.
    pub fn embedding(&mut self, table: &[f32], ids: &[u32], out: &mut [f32]) {
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

    /// The gradient of [`embedding`](Kernels::embedding): the rows of `dout` `(N, width)` summed by id, in
    /// order of position. `gradient` is overwritten.
    ///
    /// # Panics
    /// If `dout` is not `ids.len() * width` long.
    pub fn embedding_backward(
        &mut self,
        ids: &[u32],
        dout: &[f32],
        width: usize,
        gradient: &mut SparseGradient,
    ) {
        assert_eq!(dout.len(), ids.len() * width, "one row of gradient per id");
        let SparseGradient {
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
}

#[cfg(test)]
mod tests {
    use super::super::reference::Numbers;
    use super::super::{KernelPath, Precision};
    use super::*;

    #[test]
    fn gathers_the_named_rows() {
        let mut out = [0.0; 6];
        Kernels::new(KernelPath::detect(), 2, Precision::F32).embedding(
            &[1.0, 2.0, 3.0, 4.0],
            &[1, 0, 1],
            &mut out,
        );
        assert_eq!(out, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn gradients_of_a_repeated_row_add_up_and_other_rows_are_absent() {
        let mut gradient = SparseGradient::default();
        let mut kernels = Kernels::new(KernelPath::detect(), 1, Precision::F32);
        kernels.embedding_backward(&[9, 9], &[5.0; 4], 2, &mut gradient);
        kernels.embedding_backward(
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
        let dout = numbers.vector(1000 * 37, 1.0);
        let run = |threads| {
            let mut gradient = SparseGradient::default();
            Kernels::new(KernelPath::detect(), threads, Precision::F32).embedding_backward(
                &ids,
                &dout,
                37,
                &mut gradient,
            );
            gradient
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
    }
}
