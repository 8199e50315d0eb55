//! One slab of positions: all its sizes, its operands, and its places in the workspace.

use super::super::dispatch::Shape;
use super::super::linear::Linear;
use super::super::precision::Precision;
use super::super::product::ROWS;
use super::super::scratch::SoftmaxWorkspace;
use super::super::workspace::Shared;

/// Most positions in a slab when nothing is stored.
pub(super) const FORWARD_POSITIONS: usize = 960;

/// Positions whose exponentials stay in the second-level cache between the two products of the forward step. A
/// multiple of all kernels' rows.
pub(super) const TILE: usize = 120;

/// Positions handled by one task of the combining step (even, for pairs).
pub(super) const COMBINED: usize = 48;

/// Most parts that the vocabulary is cut into in the forward step, each with a `dH` of its own.
const SHARDS: usize = 24;

/// Columns of a panel of exponentials: whole vectors, register kernels and tiles on every path.
pub(super) const PANEL: usize = 48;

/// Columns of the forward step's register kernel.
#[inline(always)]
pub(super) const fn kernel_columns(lanes: usize, wide: bool) -> usize {
    if wide { 3 * lanes } else { 2 * lanes }
}

/// `positions` in as few ranges of at most about `most` as can be, of nearly equal length.
pub(super) fn slabs(positions: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let length = positions
        .div_ceil(positions.div_ceil(most).max(1))
        .next_multiple_of(24)
        .max(24);
    (0..positions)
        .step_by(length)
        .map(move |start| start..(start + length).min(positions))
}

/// All sizes of one slab's work.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Positions, and positions with padding (a multiple of all kernels' rows).
    pub rows: usize,
    pub padded: usize,
    pub hidden: usize,
    pub vocabulary: usize,
    /// Units of `hidden`.
    pub depth: usize,
    /// `hidden` in whole vectors.
    pub hidden_padded: usize,
    /// Panels of logits: how many there are, how many in a block, and how many blocks.
    pub panels: usize,
    pub block: usize,
    pub blocks: usize,
    pub shards: usize,
    /// Rows of the forward step's register kernel.
    pub kernel_rows: usize,
    pub pair: usize,
    pub lanes: usize,
}

impl Plan {
    pub fn new(shape: Shape, precision: Precision, values: Values) -> Self {
        let pair = precision.pair();
        let rows = values.targets.len();
        let (vocabulary, hidden) = values.projection.shape();
        let depth = hidden.div_ceil(pair);
        let panels = vocabulary.div_ceil(PANEL);
        // A packed block of about a quarter of the second-level cache.
        let bytes = if shape.wide { 256 << 10 } else { 128 << 10 };
        let block = (bytes / (4 * PANEL * depth.max(1))).clamp(1, 16);
        let blocks = panels.div_ceil(block);
        Self {
            rows,
            padded: rows.next_multiple_of(24),
            hidden,
            vocabulary,
            depth,
            hidden_padded: hidden.next_multiple_of(shape.lanes),
            panels,
            block,
            blocks,
            shards: blocks.min(SHARDS),
            kernel_rows: if shape.wide { 8 } else { ROWS },
            pair,
            lanes: shape.lanes,
        }
    }

    /// Lines of the exponentials' panels: positions, or pairs of them.
    pub fn lines(&self) -> usize {
        self.padded / self.pair
    }

    /// Offsets of a worker's scratch: W for the logits, W for dH, bias, row sums, row maxima, rows of E in bf16; then the
    /// whole length.
    pub fn scratch(&self) -> [usize; 7] {
        let columns = self.block * PANEL;
        let lengths = [
            columns * self.depth,
            columns / self.pair * self.hidden_padded,
            columns,
            self.padded * self.lanes,
            self.padded * self.lanes,
            if self.pair == 2 {
                columns / 2 * TILE
            } else {
                0
            },
        ];
        let mut offsets = [0; 7];
        for (i, length) in lengths.into_iter().enumerate() {
            offsets[i + 1] = offsets[i] + length.next_multiple_of(16);
        }
        offsets
    }
}

/// What a slab is computed from.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub h: &'a [f32],
    pub projection: Linear<'a>,
    pub targets: &'a [u32],
}

/// Where a slab's gradients go.
#[derive(Clone, Copy)]
pub(super) struct Gradients<'a> {
    pub scale: f32,
    pub dh: Shared<'a>,
    pub dw: Shared<'a>,
    pub db: Shared<'a>,
    /// Whether this slab is the first, which overwrites `dw` and `db`.
    pub first: bool,
}

/// One slab: its sizes, its operands, and its places in the workspace.
#[derive(Clone, Copy)]
pub(super) struct Slab<'a> {
    pub plan: Plan,
    pub values: Values<'a>,
    pub gradients: Option<Gradients<'a>>,
    /// `h` times log₂ e in units, `(padded / kernel_rows, depth, kernel_rows)`.
    pub rows: Shared<'a>,
    /// Octaves taken off each row's logits; the target's logit in octaves; scale / row sum; the loss.
    pub shift: Shared<'a>,
    pub target: Shared<'a>,
    pub inverse: Shared<'a>,
    pub nll: Shared<'a>,
    /// `(panels, lines, PANEL)`
    pub exponentials: Shared<'a>,
    /// Each shard's dH `(padded, hidden_padded)`, row sums and row maxima `(padded)`.
    pub parts: Shared<'a>,
    pub sums: Shared<'a>,
    pub maxima: Shared<'a>,
    /// `h` times scale / row sum, in panels along the positions.
    pub scaled: Shared<'a>,
    pub scratch: Shared<'a>,
}

impl SoftmaxWorkspace {
    pub(super) fn slab<'a>(
        &'a mut self,
        plan: Plan,
        threads: usize,
        values: Values<'a>,
        gradients: Option<Gradients<'a>>,
    ) -> Slab<'a> {
        let stored = |length: usize| if gradients.is_some() { length } else { 0 };
        Slab {
            plan,
            values,
            gradients,
            rows: self.rows.shared(plan.padded * plan.depth),
            shift: self.shift.shared(plan.padded),
            target: self.target.shared(plan.padded),
            inverse: self.inverse.shared(plan.padded),
            nll: self.nll.shared(plan.padded),
            exponentials: self
                .exponentials
                .shared(stored(plan.panels * plan.lines() * PANEL)),
            parts: self
                .parts
                .shared(stored(plan.shards * plan.padded * plan.hidden_padded)),
            sums: self.sums.shared(plan.shards * plan.padded),
            maxima: self.maxima.shared(plan.shards * plan.padded),
            scaled: self
                .scaled
                .shared(stored(plan.lines() * plan.hidden_padded)),
            scratch: self.scratch.shared(threads * plan.scratch()[6]),
        }
    }
}
