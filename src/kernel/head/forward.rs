//! Rows made ready, then logits, exponentials, row sums and dH, by shards of the vocabulary.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`) and all extents come from the slab's `Plan`.
#![allow(unsafe_op_in_unsafe_fn)]
// Indices name the rows and vectors of a register tile.
#![allow(clippy::needless_range_loop)]

use super::super::math::exp2;
use super::super::path::FormatTask;
use super::super::product::{
    Format, Left, Output, Panels, ROWS, Start, accumulate, full_tile, pack_columns, pack_lines,
};
use super::super::simd::Simd;
use super::super::workspace::{Shared, part};
use super::{COMBINED, PANEL, Slab, TILE, kernel_columns};

/// Makes the slab's rows ready: `h` in octaves and units, and the target's logit.
pub(super) struct Prepare<'a> {
    pub slab: Slab<'a>,
    pub task: usize,
}

impl FormatTask for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let Slab { plan, values, .. } = self.slab;
        let first = self.task * COMBINED;
        for row in first..(first + COMBINED).min(plan.padded) {
            // SAFETY: `row` is below `padded`, and `h` is only read below `rows`; the targets were checked.
            unsafe {
                let (group, at) = (row / plan.kernel_rows, row % plan.kernel_rows);
                let to = self
                    .slab
                    .rows
                    .at(group * plan.kernel_rows * plan.depth + at);
                if row >= plan.rows {
                    // Padding: exponentials of almost nothing, which meet zeros.
                    (0..plan.depth).for_each(|d| *to.add(d * plan.kernel_rows) = 0.0);
                    *self.slab.shift.at(row) = 1e30;
                    continue;
                }
                let target = values.targets[row] as usize;
                let h = values.h.as_ptr().add(row * plan.hidden);
                let w = values.w.as_ptr().add(target * plan.hidden);
                let (mut sum, mut k) = (S::zero(), 0);
                while k < plan.hidden {
                    let count = plan.hidden - k;
                    let octaves = S::mul(
                        S::load_up_to(h.add(k), count),
                        S::splat(std::f32::consts::LOG2_E),
                    );
                    let weight = M::rounded::<S>(S::load_up_to(w.add(k), count));
                    sum = S::fma(M::rounded::<S>(octaves), weight, sum);
                    let mut lanes = [0.0f32; 16];
                    S::store(lanes.as_mut_ptr(), octaves);
                    for d in 0..count.min(S::LANES).div_ceil(M::PAIR) {
                        let high = if M::PAIR == 2 { lanes[d * 2 + 1] } else { 0.0 };
                        *to.add((k / M::PAIR + d) * plan.kernel_rows) =
                            M::unit(lanes[d * M::PAIR], high);
                    }
                    k += S::LANES;
                }
                let logit = S::sum(sum) + values.bias[target] * std::f32::consts::LOG2_E;
                *self.slab.target.at(row) = logit;
                *self.slab.shift.at(row) = logit;
            }
        }
    }
}

/// Exponentials, row sums and the part of dH that a shard of the vocabulary gives; without `TRAIN` the sums only.
pub(super) struct Forward<'a, const TRAIN: bool> {
    pub slab: Slab<'a>,
    pub shard: usize,
    pub worker: usize,
}

impl<const TRAIN: bool> FormatTask for Forward<'_, TRAIN> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let plan = self.slab.plan;
        let offsets = plan.scratch();
        // SAFETY: a worker's scratch is its own; all other places are those of this shard and its columns.
        unsafe {
            let scratch = Shared(self.slab.scratch.at(self.worker * offsets[6]));
            let sums = scratch.at(offsets[3]);
            let maxima = scratch.at(offsets[4]);
            for at in (0..plan.padded * S::LANES).step_by(S::LANES) {
                S::store(sums.add(at), S::zero());
                S::store(maxima.add(at), S::splat(f32::NEG_INFINITY));
            }
            let blocks = part(plan.blocks, plan.shards, self.shard);
            for block in blocks.clone() {
                let panels = block * plan.block..((block + 1) * plan.block).min(plan.panels);
                self.pack_block::<S, M>(scratch, &offsets, panels.clone());
                let rows = plan.rows.next_multiple_of(plan.kernel_rows);
                for tile in (0..rows).step_by(TILE) {
                    let tile_rows = tile..(tile + TILE).min(rows);
                    for column in
                        (0..panels.len() * PANEL).step_by(kernel_columns(S::LANES, S::WIDE))
                    {
                        for row in tile_rows.clone().step_by(plan.kernel_rows) {
                            if S::WIDE {
                                self.logits::<S, M, 8, 3>(
                                    scratch,
                                    &offsets,
                                    panels.start,
                                    column,
                                    row,
                                    tile,
                                );
                            } else {
                                self.logits::<S, M, ROWS, 2>(
                                    scratch,
                                    &offsets,
                                    panels.start,
                                    column,
                                    row,
                                    tile,
                                );
                            }
                        }
                    }
                    if TRAIN {
                        let start = if block == blocks.start {
                            Start::Zero
                        } else {
                            Start::Add
                        };
                        self.hidden_gradient::<S, M>(
                            scratch,
                            &offsets,
                            panels.clone(),
                            tile_rows,
                            start,
                        );
                    }
                }
            }
            for row in 0..plan.padded {
                let at = self.shard * plan.padded + row;
                *self.slab.sums.at(at) = S::sum(S::load(sums.add(row * S::LANES)));
                *self.slab.maxima.at(at) = S::greatest(S::load(maxima.add(row * S::LANES)));
            }
        }
    }
}

impl<const TRAIN: bool> Forward<'_, TRAIN> {
    /// Packs a block of `W` both ways, and its bias.
    #[inline(always)]
    unsafe fn pack_block<S: Simd, M: Format>(
        &self,
        scratch: Shared,
        offsets: &[usize; 7],
        panels: std::ops::Range<usize>,
    ) {
        let Slab { plan, values, .. } = self.slab;
        let first = panels.start * PANEL;
        let columns = (panels.len() * PANEL).min(plan.vocabulary - first);
        let w = values.w.as_ptr().add(first * plan.hidden);
        let width = kernel_columns(S::LANES, S::WIDE);
        for at in (0..panels.len() * PANEL).step_by(width) {
            let valid = columns.saturating_sub(at).min(width);
            let to = scratch.at(offsets[0] + at * plan.depth);
            pack_columns::<S, M>(
                w.wrapping_add(at * plan.hidden),
                plan.hidden,
                plan.hidden,
                valid,
                width,
                to,
            );
        }
        for column in 0..panels.len() * PANEL {
            // A column beyond the vocabulary counts for nothing.
            let bias = if column < columns {
                values.bias[first + column]
            } else {
                -1e30
            };
            *scratch.at(offsets[2] + column) = bias * std::f32::consts::LOG2_E;
        }
        if TRAIN {
            let across = Panels::of::<S>(plan.hidden);
            let depth = panels.len() * PANEL / M::PAIR;
            for p in 0..across.count() {
                let at = p * across.panel;
                let to = scratch.at(offsets[1] + at * depth);
                pack_lines::<S, M>(
                    w.add(at),
                    plan.hidden,
                    columns,
                    depth,
                    across.valid(p),
                    across.width(p),
                    to,
                );
            }
        }
    }

    /// One register block of logits, from product to exponentials, row sums and row maxima. `column` is in the block of
    /// the vocabulary that begins with panel `first`, `row` in the tile that begins with row `tile`.
    #[inline(always)]
    unsafe fn logits<S: Simd, M: Format, const MR: usize, const NV: usize>(
        &self,
        scratch: Shared,
        offsets: &[usize; 7],
        first: usize,
        column: usize,
        row: usize,
        tile: usize,
    ) {
        let Slab { plan, .. } = self.slab;
        let mut acc = [[S::zero(); NV]; MR];
        let bias = scratch.at(offsets[2] + column);
        for i in 0..MR {
            let shift = S::splat(*self.slab.shift.at(row + i));
            for j in 0..NV {
                acc[i][j] = S::sub(S::load(bias.add(j * S::LANES)), shift);
            }
        }
        let a = self.slab.rows.at(row * plan.depth);
        let b = scratch.at(offsets[0] + column * plan.depth);
        accumulate::<S, M, MR, NV, true>(&mut acc, a, MR, 1, 0, plan.depth, b);
        let (panel, within) = (first + column / PANEL, column % PANEL);
        let line = (panel * plan.lines() + row / M::PAIR) * PANEL + within;
        for i in (0..MR).step_by(M::PAIR) {
            let e = self.exponentials::<S, NV>(scratch, offsets, row + i, acc[i]);
            if M::PAIR == 1 {
                if TRAIN {
                    let to = self.slab.exponentials.at(line + i * PANEL);
                    for j in 0..NV {
                        S::store(to.add(j * S::LANES), e[j]);
                    }
                }
                continue;
            }
            let next = self.exponentials::<S, NV>(scratch, offsets, row + i + 1, acc[i + 1]);
            if TRAIN {
                // Rows for dH, and pairs along the positions for dW.
                let to = self.slab.exponentials.at(line + i / 2 * PANEL);
                let own = (column / PANEL * TILE + row + i - tile) * PANEL + within;
                let own = scratch.at(offsets[5]).cast::<u16>().add(own);
                for j in 0..NV {
                    S::store_bf16(own.add(j * S::LANES), e[j]);
                    S::store_bf16(own.add(PANEL + j * S::LANES), next[j]);
                    S::store(to.add(j * S::LANES), S::pack_pairs(e[j], next[j]));
                }
            }
        }
    }

    /// A row's logits turned into exponentials, added to its sum and held against its maximum.
    #[inline(always)]
    unsafe fn exponentials<S: Simd, const NV: usize>(
        &self,
        scratch: Shared,
        offsets: &[usize; 7],
        row: usize,
        logits: [S::F; NV],
    ) -> [S::F; NV] {
        let maximum = scratch.at(offsets[4] + row * S::LANES);
        let sum = scratch.at(offsets[3] + row * S::LANES);
        let (mut greatest, mut total) = (S::load(maximum), S::load(sum));
        let mut e = logits;
        for e in &mut e {
            greatest = S::max(*e, greatest);
            *e = exp2::<S>(*e);
            total = S::add(total, *e);
        }
        S::store(maximum, greatest);
        S::store(sum, total);
        e
    }

    /// Adds a tile's `E · W` to this shard's dH.
    #[inline(always)]
    unsafe fn hidden_gradient<S: Simd, M: Format>(
        &self,
        scratch: Shared,
        offsets: &[usize; 7],
        panels: std::ops::Range<usize>,
        tile: std::ops::Range<usize>,
        start: Start,
    ) {
        let plan = self.slab.plan;
        let across = Panels::of::<S>(plan.hidden);
        let inner = PANEL / M::PAIR;
        let (e, stride) = if M::PAIR == 1 {
            (
                self.slab
                    .exponentials
                    .at((panels.start * plan.padded + tile.start) * PANEL),
                plan.padded * PANEL,
            )
        } else {
            (scratch.at(offsets[5]), TILE * PANEL / 2)
        };
        for p in 0..across.count() {
            let width = across.width(p);
            let b = scratch.at(offsets[1] + p * across.panel * panels.len() * inner);
            for row in tile.clone().step_by(ROWS) {
                let a = e.add((row - tile.start) * inner);
                let left = Left {
                    a,
                    lda: inner,
                    outer: panels.len(),
                    stride,
                    inner,
                };
                let c = self
                    .slab
                    .parts
                    .at((self.shard * plan.padded + row) * plan.hidden_padded + p * across.panel);
                let out = Output {
                    c,
                    ldc: plan.hidden_padded,
                    rows: ROWS,
                    columns: width,
                };
                full_tile::<S, M, false>(width / S::LANES, left, b, out, start);
            }
        }
    }
}
