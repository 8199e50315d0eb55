//! Rows made ready, then logits, exponentials, row sums and dH, by shards of the vocabulary.

#![allow(unsafe_code)]
// Indices name the rows and vectors of a register tile.
#![allow(clippy::needless_range_loop)]

use std::f32::consts::LOG2_E;
use std::ops::Range;

use super::super::dispatch::FormatTask;
use super::super::math::exp2;
use super::super::product::{
    Block, Format, Left, Output, Panels, ROWS, Start, accumulate, full_tile, pack_columns,
    pack_lines,
};
use super::super::simd::{Simd, lanes};
use super::super::workspace::{Shared, part};
use super::slab::{COMBINED, PANEL, Slab, TILE, kernel_columns};

/// Makes the slab's rows ready: `h` in octaves and units, and the target's logit.
pub(super) struct Prepare<'a> {
    pub slab: Slab<'a>,
    pub task: usize,
}

impl FormatTask for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let Slab { plan, .. } = self.slab;
        let first = self.task * COMBINED;
        for row in first..(first + COMBINED).min(plan.padded) {
            let (group, at) = (row / plan.kernel_rows, row % plan.kernel_rows);
            let to = self
                .slab
                .rows
                .at(group * plan.kernel_rows * plan.depth + at);
            let (logit, shift) = if row < plan.rows {
                // SAFETY: one row of a group, every `kernel_rows` floats; it is this task's.
                let logit = unsafe { self.row::<S, M>(s, row, to) };
                (logit, logit)
            } else {
                // Padding: its exponentials are almost nothing, and are multiplied by zeros.
                for d in 0..plan.depth {
                    // SAFETY: as above.
                    unsafe { *to.add(d * plan.kernel_rows) = 0.0 };
                }
                (0.0, 1e30)
            };
            // SAFETY: this row's places.
            unsafe {
                *self.slab.target.at(row) = logit;
                *self.slab.shift.at(row) = shift;
            }
        }
    }
}

impl Prepare<'_> {
    /// Writes a row's units, `kernel_rows` floats apart, and gives its target's logit in octaves.
    ///
    /// # Safety
    /// Nothing else reads or writes these places.
    #[inline(always)]
    unsafe fn row<S: Simd, M: Format>(&self, s: S, row: usize, to: *mut f32) -> f32 {
        let Slab { plan, values, .. } = self.slab;
        let target = values.targets[row] as usize;
        let h = &values.h[row * plan.hidden..][..plan.hidden];
        let w = &values.projection.weight[target * plan.hidden..][..plan.hidden];
        let mut sum = s.zero();
        for k in (0..plan.hidden).step_by(S::LANES) {
            let count = plan.hidden - k;
            // SAFETY: `count` numbers are left of either row.
            let (h, weight) = unsafe {
                (
                    s.load_up_to(h.as_ptr().add(k), count),
                    s.load_up_to(w.as_ptr().add(k), count),
                )
            };
            let octaves = s.mul(h, s.splat(LOG2_E));
            sum = s.fma(M::rounded(s, octaves), M::rounded(s, weight), sum);
            let lanes = lanes(s, octaves);
            for d in 0..count.min(S::LANES).div_ceil(M::PAIR) {
                let high = if M::PAIR == 2 { lanes[d * 2 + 1] } else { 0.0 };
                let unit = M::unit(lanes[d * M::PAIR], high);
                // SAFETY: a unit of the row.
                unsafe { *to.add((k / M::PAIR + d) * plan.kernel_rows) = unit };
            }
        }
        s.sum(sum) + values.projection.bias[target] * LOG2_E
    }
}

/// Exponentials, row sums and the part of dH that a shard of the vocabulary gives; without `TRAIN` the sums only.
pub(super) struct Forward<'a, const TRAIN: bool> {
    slab: Slab<'a>,
    shard: usize,
    /// The worker's scratch, and where its parts begin.
    scratch: Shared<'a>,
    offsets: [usize; 7],
}

/// A block of the vocabulary and a tile of rows, which stay in the second-level cache between the two products.
struct Tile {
    /// The block's panels.
    panels: Range<usize>,
    rows: Range<usize>,
}

impl<'a, const TRAIN: bool> Forward<'a, TRAIN> {
    pub fn new(slab: Slab<'a>, shard: usize, worker: usize) -> Self {
        let offsets = slab.plan.scratch();
        Self {
            slab,
            shard,
            scratch: slab.scratch.part(worker * offsets[6], offsets[6]),
            offsets,
        }
    }
}

impl<const TRAIN: bool> FormatTask for Forward<'_, TRAIN> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let plan = self.slab.plan;
        let (sums, maxima) = (self.place(3, 0), self.place(4, 0));
        for at in (0..plan.padded * S::LANES).step_by(S::LANES) {
            // SAFETY: vectors of the worker's own scratch.
            unsafe {
                s.store(sums.add(at), s.zero());
                s.store(maxima.add(at), s.splat(f32::NEG_INFINITY));
            }
        }
        let blocks = part(plan.blocks, plan.shards, self.shard);
        let rows = plan.rows.next_multiple_of(plan.kernel_rows);
        for block in blocks.clone() {
            let panels = block * plan.block..((block + 1) * plan.block).min(plan.panels);
            self.pack_block::<S, M>(s, panels.clone());
            for first in (0..rows).step_by(TILE) {
                let tile = Tile {
                    panels: panels.clone(),
                    rows: first..(first + TILE).min(rows),
                };
                let columns = kernel_columns(S::LANES, S::WIDE);
                for column in (0..panels.len() * PANEL).step_by(columns) {
                    for row in tile.rows.clone().step_by(plan.kernel_rows) {
                        if S::WIDE {
                            self.logits::<S, M, 8, 3>(s, &tile, column, row);
                        } else {
                            self.logits::<S, M, ROWS, 2>(s, &tile, column, row);
                        }
                    }
                }
                if TRAIN {
                    let fresh = block == blocks.start;
                    let start = if fresh { Start::Zero } else { Start::Add };
                    self.hidden_gradient::<S, M>(s, &tile, start);
                }
            }
        }
        for row in 0..plan.padded {
            let at = self.shard * plan.padded + row;
            // SAFETY: vectors of the scratch, and this shard's places.
            unsafe {
                *self.slab.sums.at(at) = s.sum(s.load(sums.add(row * S::LANES)));
                *self.slab.maxima.at(at) = s.greatest(s.load(maxima.add(row * S::LANES)));
            }
        }
    }
}

impl<const TRAIN: bool> Forward<'_, TRAIN> {
    /// An address in one part of the scratch, see [`Plan::scratch`](super::slab::Plan::scratch).
    #[inline(always)]
    fn place(&self, part: usize, at: usize) -> *mut f32 {
        self.scratch.at(self.offsets[part] + at)
    }

    /// Packs a block of `W` both ways, and its bias.
    #[inline(always)]
    fn pack_block<S: Simd, M: Format>(&self, s: S, panels: Range<usize>) {
        let Slab { plan, values, .. } = self.slab;
        let first = panels.start * PANEL;
        let columns = (panels.len() * PANEL).min(plan.vocabulary - first);
        let w = &values.projection.weight[first * plan.hidden..][..columns * plan.hidden];
        let width = kernel_columns(S::LANES, S::WIDE);
        for at in (0..panels.len() * PANEL).step_by(width) {
            let block = Block {
                from: w.as_ptr().wrapping_add(at * plan.hidden),
                stride: plan.hidden,
                numbers: plan.hidden,
                valid: columns.saturating_sub(at).min(width),
                width,
            };
            // SAFETY: rows of `w`, as many as there are; the worker's own scratch has a place for all.
            unsafe { pack_columns::<S, M>(s, block, self.place(0, at * plan.depth)) };
        }
        for column in 0..panels.len() * PANEL {
            // A column beyond the vocabulary has an exponential of almost nothing.
            let bias = if column < columns {
                values.projection.bias[first + column]
            } else {
                -1e30
            };
            // SAFETY: a place for each column of the block.
            unsafe { *self.place(2, column) = bias * LOG2_E };
        }
        if TRAIN {
            let across = Panels::of::<S>(plan.hidden);
            let depth = panels.len() * PANEL / M::PAIR;
            for p in 0..across.count() {
                let at = p * across.panel;
                let block = Block {
                    from: w[at..].as_ptr(),
                    stride: plan.hidden,
                    numbers: columns,
                    valid: across.valid(p),
                    width: across.width(p),
                };
                // SAFETY: columns of `w`; the worker's own scratch has a place for all.
                unsafe { pack_lines::<S, M>(s, block, depth, self.place(1, at * depth)) };
            }
        }
    }

    /// One register block of logits, from product to exponentials, row sums and row maxima. `column` is in the tile's block of the
    /// vocabulary.
    #[inline(always)]
    fn logits<S: Simd, M: Format, const MR: usize, const NV: usize>(
        &self,
        s: S,
        tile: &Tile,
        column: usize,
        row: usize,
    ) {
        let Slab { plan, .. } = self.slab;
        let mut acc = [[s.zero(); NV]; MR];
        let bias = self.place(2, column);
        let left = Left {
            a: self.slab.rows.at(row * plan.depth),
            lda: MR,
            outer: 1,
            stride: 0,
            inner: plan.depth,
        };
        // SAFETY: the block's bias, the rows' shifts, and packed operands of `depth` units.
        unsafe {
            for i in 0..MR {
                let shift = s.splat(*self.slab.shift.at(row + i));
                for j in 0..NV {
                    acc[i][j] = s.sub(s.load(bias.add(j * S::LANES)), shift);
                }
            }
            let b = self.place(0, column * plan.depth);
            accumulate::<S, M, MR, NV, true>(s, &mut acc, left, b);
        }
        let (panel, within) = (tile.panels.start + column / PANEL, column % PANEL);
        let line = (panel * plan.lines() + row / M::PAIR) * PANEL + within;
        for i in (0..MR).step_by(M::PAIR) {
            let e = self.exponentials::<S, NV>(s, row + i, acc[i]);
            if M::PAIR == 1 {
                if TRAIN {
                    let to = self.slab.exponentials.at(line + i * PANEL);
                    for j in 0..NV {
                        // SAFETY: vectors of this panel's line.
                        unsafe { s.store(to.add(j * S::LANES), e[j]) };
                    }
                }
                continue;
            }
            let next = self.exponentials::<S, NV>(s, row + i + 1, acc[i + 1]);
            if TRAIN {
                // Rows for dH, and pairs along the positions for dW.
                let to = self.slab.exponentials.at(line + i / 2 * PANEL);
                let own = (column / PANEL * TILE + row + i - tile.rows.start) * PANEL + within;
                let own = self.place(5, 0).cast::<u16>().wrapping_add(own);
                for j in 0..NV {
                    // SAFETY: vectors of this panel's line, and of two rows of the worker's own scratch.
                    unsafe {
                        s.store_bf16(own.add(j * S::LANES), e[j]);
                        s.store_bf16(own.add(PANEL + j * S::LANES), next[j]);
                        s.store(to.add(j * S::LANES), s.pack_pairs(e[j], next[j]));
                    }
                }
            }
        }
    }

    /// Turns a row's logits into exponentials, and updates the row's sum and maximum.
    #[inline(always)]
    fn exponentials<S: Simd, const NV: usize>(
        &self,
        s: S,
        row: usize,
        logits: [S::F; NV],
    ) -> [S::F; NV] {
        let (sum, maximum) = (self.place(3, row * S::LANES), self.place(4, row * S::LANES));
        // SAFETY: vectors of the worker's own scratch.
        let (mut greatest, mut total) = unsafe { (s.load(maximum), s.load(sum)) };
        let mut e = logits;
        for e in &mut e {
            greatest = s.max(*e, greatest);
            *e = exp2(s, *e);
            total = s.add(total, *e);
        }
        // SAFETY: as above.
        unsafe {
            s.store(maximum, greatest);
            s.store(sum, total);
        }
        e
    }

    /// Adds a tile's `E · W` to this shard's dH.
    #[inline(always)]
    fn hidden_gradient<S: Simd, M: Format>(&self, s: S, tile: &Tile, start: Start) {
        let plan = self.slab.plan;
        let across = Panels::of::<S>(plan.hidden);
        let inner = PANEL / M::PAIR;
        let (e, stride) = if M::PAIR == 1 {
            let first = (tile.panels.start * plan.padded + tile.rows.start) * PANEL;
            (self.slab.exponentials.at(first), plan.padded * PANEL)
        } else {
            (self.place(5, 0), TILE * PANEL / 2)
        };
        for p in 0..across.count() {
            let width = across.width(p);
            let b = self.place(1, p * across.panel * tile.panels.len() * inner);
            for row in tile.rows.clone().step_by(ROWS) {
                let left = Left {
                    a: e.wrapping_add((row - tile.rows.start) * inner),
                    lda: inner,
                    outer: tile.panels.len(),
                    stride,
                    inner,
                };
                let row = (self.shard * plan.padded + row) * plan.hidden_padded;
                let out = Output {
                    c: self.slab.parts.at(row + p * across.panel),
                    ldc: plan.hidden_padded,
                    rows: ROWS,
                    columns: width,
                };
                // SAFETY: exponentials of the tile, which this task has written; packed weights; this shard's rows of dH.
                unsafe { full_tile::<S, M, false>(s, width / S::LANES, left, b, out, start) };
            }
        }
    }
}
