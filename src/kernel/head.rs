//! Projection, softmax and cross-entropy in one: the largest part of every step.
//!
//! With `N` positions, `K` hidden units and `V` tokens, the positions are taken in *slabs*. For each slab:
//! 1. *Forward*, in blocks of the vocabulary: a block of `W` is packed in the second-level cache; a register kernel starts
//!    its sums at bias − shift, multiplies, and turns the logits into exponentials and row sums before they leave the
//!    registers. The exponentials `E` are stored, and `E · W` is added to the slab's `dH` while they are still in cache.
//! 2. *Combine*, by rows: sums and `dH` of all blocks are added up in a fixed order, and scaled; `h` is scaled by the same
//!    factor, so that `E` never has to be.
//! 3. *Weights*, in blocks of the vocabulary: `dW = Eᵀ · h_scaled` along the slab's positions, `db` in the same sweep, the
//!    target's −1 as a sparse correction.
//!
//! Three products, no logit computed twice, two barriers. log₂ e is folded into `h`, so logits count in octaves.
//!
//! The shift is the target's own logit: the row sum is then at least 1, and the loss is its logarithm. A logit far above the
//! target's would overflow, so each row's maximum is kept; where it passes [`HEADROOM`] the slab is done again with the
//! maximum as the shift, which is safe for any logits. That costs a repeat of step 1 and is rare: such a target has a
//! loss above 41 nats.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`) and all extents come from one `Plan`, which the two
// entry points check against their slices.
#![allow(unsafe_op_in_unsafe_fn)]

use super::math::exp2;
use super::path::{FormatTask, Shape};
use super::pool::Pool;
use super::product::{
    Format, Left, Output, Panels, ROWS, Start, accumulate, full_tile, pack_columns, pack_lines, pack_row,
};
use super::simd::Simd;
use super::workspace::{Buffer, Shared, part};
use super::{KernelPath, Kernels, Precision};

/// Octaves by which a logit may exceed the shift. Sums then stay below 2^(60 + 18), and h divided by one stays far from
/// the denormal numbers.
const HEADROOM: f32 = 60.0;

/// Bytes that a slab's exponentials may take, unless that would leave fewer than [`LEAST_POSITIONS`].
const SLAB_BYTES: usize = 96 << 20;

/// Fewest positions in a slab: each slab reads `W` and writes `dW` once more.
const LEAST_POSITIONS: usize = 320;

/// Most positions in a slab when nothing is stored.
const FORWARD_POSITIONS: usize = 960;

/// Positions whose exponentials stay in the second-level cache between the two products of the forward step. A
/// multiple of all kernels' rows.
const TILE: usize = 120;

/// Positions handled by one task of the combining step (even, for pairs).
const COMBINED: usize = 48;

/// Most parts that the vocabulary is cut into in the forward step, each with a `dH` of its own.
const SHARDS: usize = 24;

/// Panels of a register kernel of the forward step: vectors across.
const VECTORS: usize = 3;

/// What the head keeps from call to call.
#[derive(Default)]
pub(super) struct HeadWorkspace {
    rows: Buffer,
    shift: Buffer,
    target: Buffer,
    inverse: Buffer,
    nll: Buffer,
    exponentials: Buffer,
    parts: Buffer,
    sums: Buffer,
    maxima: Buffer,
    scaled: Buffer,
    scratch: Buffer,
}

impl Kernels {
    /// Cross-entropy of `targets` under `softmax(h · Wᵀ + bias)`, with all gradients.
    ///
    /// `h` is `(N, K)`, `w` `(V, K)`, `bias` `(V)`, `targets` `(N)`. Returns the total negative log-likelihood in nats.
    /// `dh`, `dw` and `db`, shaped like `h`, `w` and `bias`, are overwritten with the gradient of `scale` times that total
    /// (1 / N for the mean). Logits may be of any size.
    ///
    /// Memory beyond the arguments: about 100 MB (half in bf16), or 320 positions' worth of logits if that is more.
    ///
    /// # Panics
    /// If a slice has the wrong length or a target is not below `V`.
    #[allow(clippy::too_many_arguments)]
    pub fn head_forward_backward(
        &mut self,
        precision: Precision,
        h: &[f32],
        w: &[f32],
        bias: &[f32],
        targets: &[u32],
        scale: f32,
        dh: &mut [f32],
        dw: &mut [f32],
        db: &mut [f32],
    ) -> f64 {
        let hidden = check(h, w, bias, targets);
        assert_eq!((dh.len(), dw.len(), db.len()), (h.len(), w.len(), bias.len()), "gradients are shaped like values");
        if targets.is_empty() {
            dw.fill(0.0);
            db.fill(0.0);
            return 0.0;
        }
        let pair = if precision == Precision::Bf16 { 2 } else { 1 };
        let most = (SLAB_BYTES / 4 * pair / bias.len()).max(LEAST_POSITIONS);
        let gradients = Gradients { scale, dh: Shared::of(dh), dw: Shared::of(dw), db: Shared::of(db), first: true };
        let mut total = 0.0;
        for positions in slabs(targets.len(), most) {
            let first = positions.start == 0;
            // SAFETY: the slab's rows of `dh`, which is as long as `h`.
            let dh = Shared(unsafe { gradients.dh.at(positions.start * hidden) });
            let gradients = Some(Gradients { first, dh, ..gradients });
            let values = Values { h: &h[positions.start * hidden..positions.end * hidden], w, bias, targets: &targets[positions] };
            let slab = self.head.slab(self.path, precision, self.pool.threads(), values, gradients);
            slab.run(&mut self.pool, self.path, precision);
            // SAFETY: no task runs any more.
            total += unsafe { slab.nll.slice(0, slab.plan.rows) }.iter().map(|&nll| f64::from(nll)).sum::<f64>();
        }
        total
    }

    /// Negative log-likelihood of each position's target, in nats; shapes as in
    /// [`head_forward_backward`](Kernels::head_forward_backward), `out` is `(N)`. Nothing large is stored.
    ///
    /// # Panics
    /// If a slice has the wrong length or a target is not below `V`.
    pub fn head_nll(
        &mut self,
        precision: Precision,
        h: &[f32],
        w: &[f32],
        bias: &[f32],
        targets: &[u32],
        out: &mut [f32],
    ) {
        let hidden = check(h, w, bias, targets);
        assert_eq!(out.len(), targets.len(), "one loss per position");
        for positions in slabs(targets.len(), FORWARD_POSITIONS) {
            let out = &mut out[positions.clone()];
            let values = Values { h: &h[positions.start * hidden..positions.end * hidden], w, bias, targets: &targets[positions] };
            let slab = self.head.slab(self.path, precision, self.pool.threads(), values, None);
            slab.run(&mut self.pool, self.path, precision);
            // SAFETY: no task runs any more.
            out.copy_from_slice(unsafe { slab.nll.slice(0, slab.plan.rows) });
        }
    }
}

/// The hidden size, once all lengths and targets have been checked.
fn check(h: &[f32], w: &[f32], bias: &[f32], targets: &[u32]) -> usize {
    let vocabulary = bias.len();
    assert!(vocabulary > 0 && w.len() % vocabulary == 0, "w is (V, K) and bias (V)");
    let hidden = w.len() / vocabulary;
    assert_eq!(h.len(), targets.len() * hidden, "h is (N, K) and targets (N)");
    assert!(targets.iter().all(|&target| (target as usize) < vocabulary), "every target is below V");
    hidden
}

/// `positions` in as few ranges of at most about `most` as can be, of nearly equal length.
fn slabs(positions: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let length = positions.div_ceil(positions.div_ceil(most).max(1)).next_multiple_of(24).max(24);
    (0..positions).step_by(length).map(move |start| start..(start + length).min(positions))
}

/// All sizes of one slab's work.
#[derive(Clone, Copy)]
struct Plan {
    /// Positions, and positions with padding (a multiple of all kernels' rows).
    rows: usize,
    padded: usize,
    hidden: usize,
    vocabulary: usize,
    /// Units of `hidden`.
    depth: usize,
    /// `hidden` in whole vectors.
    hidden_padded: usize,
    /// Columns of a panel of logits, and how many panels there are, are in a block, and how many blocks.
    width: usize,
    panels: usize,
    block: usize,
    blocks: usize,
    shards: usize,
    /// Rows of the forward step's register kernel.
    kernel_rows: usize,
    pair: usize,
    lanes: usize,
}

impl Plan {
    fn new(shape: Shape, pair: usize, rows: usize, hidden: usize, vocabulary: usize) -> Self {
        let width = VECTORS * shape.lanes;
        let depth = hidden.div_ceil(pair);
        let panels = vocabulary.div_ceil(width);
        // A packed block of about a quarter of the second-level cache.
        let bytes = if shape.wide { 256 << 10 } else { 128 << 10 };
        let block = (bytes / (4 * width * depth.max(1))).clamp(2, 16);
        let blocks = panels.div_ceil(block);
        Self {
            rows,
            padded: rows.next_multiple_of(24),
            hidden,
            vocabulary,
            depth,
            hidden_padded: hidden.next_multiple_of(shape.lanes),
            width,
            panels,
            block,
            blocks,
            shards: blocks.min(SHARDS),
            kernel_rows: if shape.wide { 8 } else { 4 },
            pair,
            lanes: shape.lanes,
        }
    }

    /// Lines of the exponentials' panels: positions, or pairs of them.
    fn lines(&self) -> usize {
        self.padded / self.pair
    }

    /// Offsets of a worker's scratch: W for the logits, W for dH, bias, row sums, row maxima, rows of E in bf16; then the
    /// whole length.
    fn scratch(&self) -> [usize; 7] {
        let columns = self.block * self.width;
        let lengths = [
            columns * self.depth,
            columns / self.pair * self.hidden_padded,
            columns,
            self.padded * self.lanes,
            self.padded * self.lanes,
            if self.pair == 2 { columns / 2 * TILE } else { 0 },
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
struct Values<'a> {
    h: &'a [f32],
    w: &'a [f32],
    bias: &'a [f32],
    targets: &'a [u32],
}

/// Where a slab's gradients go.
#[derive(Clone, Copy)]
struct Gradients {
    scale: f32,
    dh: Shared,
    dw: Shared,
    db: Shared,
    /// Whether this slab is the first, which overwrites `dw` and `db`.
    first: bool,
}

/// One slab: its sizes, its operands, and its places in the workspace.
#[derive(Clone, Copy)]
struct Slab<'a> {
    plan: Plan,
    values: Values<'a>,
    gradients: Option<Gradients>,
    /// `h` times log₂ e in units, `(padded, depth)`.
    rows: Shared,
    /// Octaves taken off each row's logits; the target's logit in octaves; scale / row sum; the loss.
    shift: Shared,
    target: Shared,
    inverse: Shared,
    nll: Shared,
    /// `(panels, lines, width)`
    exponentials: Shared,
    /// Each shard's dH `(padded, hidden_padded)`, row sums and row maxima `(padded)`.
    parts: Shared,
    sums: Shared,
    maxima: Shared,
    /// `h` times scale / row sum, in panels along the positions.
    scaled: Shared,
    scratch: Shared,
}

impl HeadWorkspace {
    fn slab<'a>(
        &mut self,
        path: KernelPath,
        precision: Precision,
        threads: usize,
        values: Values<'a>,
        gradients: Option<Gradients>,
    ) -> Slab<'a> {
        let pair = if precision == Precision::Bf16 { 2 } else { 1 };
        let (rows, vocabulary) = (values.targets.len(), values.bias.len());
        let plan = Plan::new(path.shape(), pair, rows, values.w.len() / vocabulary, vocabulary);
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
            exponentials: self.exponentials.shared(stored(plan.panels * plan.lines() * plan.width)),
            parts: self.parts.shared(stored(plan.shards * plan.padded * plan.hidden_padded)),
            sums: self.sums.shared(plan.shards * plan.padded),
            maxima: self.maxima.shared(plan.shards * plan.padded),
            scaled: self.scaled.shared(stored(plan.lines() * plan.hidden_padded)),
            scratch: self.scratch.shared(threads * plan.scratch()[6]),
        }
    }
}

impl Slab<'_> {
    fn run(&self, pool: &mut Pool, path: KernelPath, precision: Precision) {
        let row_tasks = self.plan.padded.div_ceil(COMBINED);
        pool.run(row_tasks, &|_, task| path.dispatch_in(precision, Prepare { slab: *self, task }));
        self.forward(pool, path, precision);
        if self.raise_shifts() {
            self.forward(pool, path, precision);
        }
        pool.run(row_tasks, &|_, task| path.dispatch_in(precision, Combine { slab: *self, task }));
        if let Some(gradients) = self.gradients {
            pool.run(self.plan.blocks, &|_, block| {
                path.dispatch_in(precision, WeightGradient { slab: *self, gradients, block });
            });
        }
    }

    fn forward(&self, pool: &mut Pool, path: KernelPath, precision: Precision) {
        pool.run(self.plan.shards, &|worker, shard| {
            if self.gradients.is_some() {
                path.dispatch_in(precision, Forward::<true> { slab: *self, shard, worker });
            } else {
                path.dispatch_in(precision, Forward::<false> { slab: *self, shard, worker });
            }
        });
    }

    /// Sets the shift of each row with a logit beyond [`HEADROOM`] to its greatest logit; whether there was one.
    fn raise_shifts(&self) -> bool {
        let mut raised = false;
        for row in 0..self.plan.rows {
            // SAFETY: within the workspace's extents, and no task runs now.
            unsafe {
                let shards = 0..self.plan.shards;
                let greatest = shards.fold(f32::NEG_INFINITY, |a, s| a.max(*self.maxima.at(s * self.plan.padded + row)));
                if greatest > HEADROOM {
                    *self.shift.at(row) += greatest;
                    raised = true;
                }
            }
        }
        raised
    }
}

/// Makes the slab's rows ready: `h` in octaves and units, and the target's logit.
struct Prepare<'a> {
    slab: Slab<'a>,
    task: usize,
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
                let to = self.slab.rows.at(row * plan.depth);
                if row >= plan.rows {
                    // Padding: exponentials of almost nothing, which meet zeros.
                    std::slice::from_raw_parts_mut(to, plan.depth).fill(0.0);
                    *self.slab.shift.at(row) = 1e30;
                    continue;
                }
                let target = values.targets[row] as usize;
                let h = values.h.as_ptr().add(row * plan.hidden);
                let w = values.w.as_ptr().add(target * plan.hidden);
                let (mut sum, mut k) = (S::zero(), 0);
                while k < plan.hidden {
                    let count = plan.hidden - k;
                    let octaves = S::mul(S::load_up_to(h.add(k), count), S::splat(std::f32::consts::LOG2_E));
                    let weight = M::rounded::<S>(S::load_up_to(w.add(k), count));
                    sum = S::fma(M::rounded::<S>(octaves), weight, sum);
                    let mut lanes = [0.0f32; 16];
                    S::store(lanes.as_mut_ptr(), octaves);
                    pack_row::<S, M>(lanes.as_ptr(), count.min(S::LANES), to.add(k / M::PAIR));
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
struct Forward<'a, const TRAIN: bool> {
    slab: Slab<'a>,
    shard: usize,
    worker: usize,
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
                    for panel in panels.clone() {
                        let column = panel - panels.start;
                        for row in tile_rows.clone().step_by(plan.kernel_rows) {
                            if S::WIDE {
                                self.logits::<S, M, 8>(scratch, &offsets, panel, column, row, tile);
                            } else {
                                self.logits::<S, M, 4>(scratch, &offsets, panel, column, row, tile);
                            }
                        }
                    }
                    if TRAIN {
                        let start = if block == blocks.start { Start::Zero } else { Start::Add };
                        self.hidden_gradient::<S, M>(scratch, &offsets, panels.clone(), tile_rows, start);
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
    unsafe fn pack_block<S: Simd, M: Format>(&self, scratch: Shared, offsets: &[usize; 7], panels: std::ops::Range<usize>) {
        let Slab { plan, values, .. } = self.slab;
        let first = panels.start * plan.width;
        let columns = (panels.len() * plan.width).min(plan.vocabulary - first);
        let w = values.w.as_ptr().add(first * plan.hidden);
        for panel in 0..panels.len() {
            let at = panel * plan.width;
            let valid = columns.saturating_sub(at).min(plan.width);
            let to = scratch.at(offsets[0] + at * plan.depth);
            pack_columns::<M>(w.add(at * plan.hidden), plan.hidden, plan.hidden, valid, plan.width, to);
        }
        for column in 0..panels.len() * plan.width {
            // A column beyond the vocabulary counts for nothing.
            let bias = if column < columns { values.bias[first + column] } else { -1e30 };
            *scratch.at(offsets[2] + column) = bias * std::f32::consts::LOG2_E;
        }
        if TRAIN {
            let across = Panels::of::<S>(plan.hidden);
            let depth = panels.len() * plan.width / M::PAIR;
            for p in 0..across.count() {
                let at = p * across.panel;
                let to = scratch.at(offsets[1] + at * depth);
                pack_lines::<S, M>(w.add(at), plan.hidden, columns, depth, across.valid(p), across.width(p), to);
            }
        }
    }

    /// One register block of logits, from product to exponentials, row sums and row maxima.
    #[inline(always)]
    unsafe fn logits<S: Simd, M: Format, const MR: usize>(
        &self,
        scratch: Shared,
        offsets: &[usize; 7],
        panel: usize,
        column: usize,
        row: usize,
        tile: usize,
    ) {
        let Slab { plan, .. } = self.slab;
        let mut acc = [[S::zero(); VECTORS]; MR];
        let bias = scratch.at(offsets[2] + column * plan.width);
        for i in 0..MR {
            let shift = S::splat(*self.slab.shift.at(row + i));
            for j in 0..VECTORS {
                acc[i][j] = S::sub(S::load(bias.add(j * S::LANES)), shift);
            }
        }
        let a = self.slab.rows.at(row * plan.depth);
        let b = scratch.at(offsets[0] + column * plan.width * plan.depth);
        accumulate::<S, M, MR, VECTORS, false>(&mut acc, a, plan.depth, 1, 0, plan.depth, b);
        for i in 0..MR {
            let at = (row + i) * S::LANES;
            let maximum = scratch.at(offsets[4] + at);
            let greatest = S::max(acc[i][0], S::max(acc[i][1], acc[i][2]));
            S::store(maximum, S::max(greatest, S::load(maximum)));
            for j in 0..VECTORS {
                acc[i][j] = exp2::<S>(acc[i][j]);
            }
            let sum = scratch.at(offsets[3] + at);
            S::store(sum, S::add(S::load(sum), S::add(S::add(acc[i][0], acc[i][1]), acc[i][2])));
        }
        if !TRAIN {
            return;
        }
        let to = self.slab.exponentials.at((panel * plan.lines() + row / M::PAIR) * plan.width);
        if M::PAIR == 1 {
            for i in 0..MR {
                for j in 0..VECTORS {
                    S::store(to.add(i * VECTORS * S::LANES + j * S::LANES), acc[i][j]);
                }
            }
        } else {
            let lines = scratch.at(offsets[5]).cast::<u16>();
            let line = (column * TILE + row - tile) * plan.width;
            for i in 0..MR {
                for j in 0..VECTORS {
                    if i % 2 == 0 {
                        let pairs = S::pack_pairs(acc[i][j], acc[i + 1][j]);
                        S::store(to.add(i / 2 * VECTORS * S::LANES + j * S::LANES), pairs);
                    }
                    S::store_bf16(lines.add(line + i * plan.width + j * S::LANES), acc[i][j]);
                }
            }
        }
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
        let inner = plan.width / M::PAIR;
        let (e, stride) = if M::PAIR == 1 {
            (self.slab.exponentials.at((panels.start * plan.padded + tile.start) * plan.width), plan.padded * plan.width)
        } else {
            (scratch.at(offsets[5]), TILE * plan.width / 2)
        };
        for p in 0..across.count() {
            let width = across.width(p);
            let b = scratch.at(offsets[1] + p * across.panel * panels.len() * inner);
            for row in tile.clone().step_by(ROWS) {
                let a = e.add((row - tile.start) * inner);
                let left = Left { a, lda: inner, outer: panels.len(), stride, inner };
                let c = self.slab.parts.at((self.shard * plan.padded + row) * plan.hidden_padded + p * across.panel);
                let out = Output { c, ldc: plan.hidden_padded, rows: ROWS, columns: width };
                full_tile::<S, M, false>(width / S::LANES, left, b, out, start);
            }
        }
    }
}

/// Adds up what the shards found about some rows: the loss, dH, and `h` scaled for the weight gradient.
struct Combine<'a> {
    slab: Slab<'a>,
    task: usize,
}

impl FormatTask for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let Slab { plan, values, gradients, .. } = self.slab;
        let rows = self.task * COMBINED..((self.task + 1) * COMBINED).min(plan.padded);
        // SAFETY: places of these rows only.
        unsafe {
            for row in rows.clone() {
                *self.slab.inverse.at(row) = 0.0;
                if row >= plan.rows {
                    continue;
                }
                let sum: f64 = (0..plan.shards).map(|s| f64::from(*self.slab.sums.at(s * plan.padded + row))).sum();
                let octaves = f64::from(*self.slab.shift.at(row)) - f64::from(*self.slab.target.at(row));
                *self.slab.nll.at(row) = (sum.ln() + octaves * std::f64::consts::LN_2) as f32;
                let Some(gradients) = gradients else { continue };
                let inverse = (f64::from(gradients.scale) / sum) as f32;
                *self.slab.inverse.at(row) = inverse;
                let w = values.w.as_ptr().add(values.targets[row] as usize * plan.hidden);
                let dh = gradients.dh.at(row * plan.hidden);
                for k in (0..plan.hidden).step_by(S::LANES) {
                    let mut total = S::zero();
                    for shard in 0..plan.shards {
                        let part = self.slab.parts.at((shard * plan.padded + row) * plan.hidden_padded + k);
                        total = S::add(total, S::load(part));
                    }
                    // As rounded as in the product, so that the two cancel where the target is nearly certain.
                    let weight = M::rounded::<S>(S::load_up_to(w.add(k), plan.hidden - k));
                    let own = S::mul(weight, S::splat(-gradients.scale));
                    S::store_up_to(dh.add(k), plan.hidden - k, S::fma(total, S::splat(inverse), own));
                }
            }
            if gradients.is_some() {
                self.scale_rows::<S, M>(rows);
            }
        }
    }
}

impl Combine<'_> {
    /// `h` times scale / row sum, in panels across the hidden units and lines along the positions.
    #[inline(always)]
    unsafe fn scale_rows<S: Simd, M: Format>(&self, rows: std::ops::Range<usize>) {
        let Slab { plan, values, .. } = self.slab;
        let across = Panels::of::<S>(plan.hidden);
        for p in 0..across.count() {
            let width = across.width(p);
            for row in rows.clone().step_by(M::PAIR) {
                for j in (0..width).step_by(S::LANES) {
                    let k = p * across.panel + j;
                    let scaled = |row: usize| {
                        if row >= plan.rows {
                            return S::zero();
                        }
                        let h = S::load_up_to(values.h.as_ptr().add(row * plan.hidden + k), plan.hidden - k);
                        S::mul(h, S::splat(*self.slab.inverse.at(row)))
                    };
                    let high = if M::PAIR == 2 { scaled(row + 1) } else { S::zero() };
                    let units = M::pack::<S>(scaled(row), high);
                    S::store(self.slab.scaled.at(p * across.panel * plan.lines() + row / M::PAIR * width + j), units);
                }
            }
        }
    }
}

/// dW and db of a block of the vocabulary.
struct WeightGradient<'a> {
    slab: Slab<'a>,
    gradients: Gradients,
    block: usize,
}

impl FormatTask for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let Slab { plan, .. } = self.slab;
        let across = Panels::of::<S>(plan.hidden);
        let panels = self.block * plan.block..((self.block + 1) * plan.block).min(plan.panels);
        let depth = plan.rows.div_ceil(M::PAIR);
        // Lines of E and of h that fit in the first-level cache together.
        let chunk = if S::WIDE { 256 } else { 192 };
        // SAFETY: this block's rows of dW and db belong to this task alone.
        unsafe {
            for first in (0..depth).step_by(chunk) {
                let inner = chunk.min(depth - first);
                let fresh = first == 0 && self.gradients.first;
                let start = if fresh { Start::Zero } else { Start::Add };
                for panel in panels.clone() {
                    let e = self.slab.exponentials.at((panel * plan.lines() + first) * plan.width);
                    for p in 0..across.count() {
                        let b = self.slab.scaled.at(p * across.panel * plan.lines() + first * across.width(p));
                        for at in (0..plan.width).step_by(ROWS) {
                            let token = panel * plan.width + at;
                            if token >= plan.vocabulary {
                                break;
                            }
                            let left = Left { a: e.add(at), lda: plan.width, outer: 1, stride: 0, inner };
                            let out = Output {
                                c: self.gradients.dw.at(token * plan.hidden + p * across.panel),
                                ldc: plan.hidden,
                                rows: plan.vocabulary - token,
                                columns: across.valid(p),
                            };
                            full_tile::<S, M, true>(across.width(p) / S::LANES, left, b, out, start);
                        }
                    }
                    self.bias_gradient::<S, M>(panel, first..first + inner, fresh);
                }
            }
            self.targets::<S, M>(panels.start * plan.width..(panels.end * plan.width).min(plan.vocabulary));
        }
    }
}

impl WeightGradient<'_> {
    /// Adds a panel's probabilities, over some lines, to db.
    #[inline(always)]
    unsafe fn bias_gradient<S: Simd, M: Format>(&self, panel: usize, lines: std::ops::Range<usize>, fresh: bool) {
        let plan = self.slab.plan;
        let valid = plan.vocabulary - panel * plan.width;
        let db = self.gradients.db.at(panel * plan.width);
        let mut acc = [S::zero(); VECTORS];
        for line in lines {
            let e = self.slab.exponentials.at((panel * plan.lines() + line) * plan.width);
            let low = S::splat(*self.slab.inverse.at(line * M::PAIR));
            for (j, acc) in acc.iter_mut().enumerate() {
                let units = S::load(e.add(j * S::LANES));
                if M::PAIR == 1 {
                    *acc = S::fma(units, low, *acc);
                } else {
                    let high = S::splat(*self.slab.inverse.at(line * 2 + 1));
                    *acc = S::fma(S::low_half(units), low, S::fma(S::high_half(units), high, *acc));
                }
            }
        }
        for (j, acc) in acc.into_iter().enumerate() {
            let count = valid.saturating_sub(j * S::LANES);
            if count > 0 {
                let to = db.add(j * S::LANES);
                let before = if fresh { S::zero() } else { S::load_up_to(to, count) };
                S::store_up_to(to, count, S::add(before, acc));
            }
        }
    }

    /// Takes the targets among `tokens` off: the −1 of softmax − one-hot.
    ///
    /// A target's exponential is 1 unless the shift was raised. Its product with the rounded `h` is taken back and put in
    /// exactly, since what is left of a nearly certain target is small.
    #[inline(always)]
    unsafe fn targets<S: Simd, M: Format>(&self, tokens: std::ops::Range<usize>) {
        let Slab { plan, values, .. } = self.slab;
        let Gradients { scale, dw, db, .. } = self.gradients;
        for (row, &target) in values.targets.iter().enumerate() {
            let target = target as usize;
            if !tokens.contains(&target) {
                continue;
            }
            *db.at(target) -= scale;
            let inverse = *self.slab.inverse.at(row);
            let plain = *self.slab.shift.at(row) == *self.slab.target.at(row);
            for k in (0..plan.hidden).step_by(S::LANES) {
                let count = plan.hidden - k;
                let h = S::load_up_to(values.h.as_ptr().add(row * plan.hidden + k), count);
                let dw = dw.at(target * plan.hidden + k);
                let mut sum = S::fma(h, S::splat(-scale), S::load_up_to(dw, count));
                if M::PAIR == 2 && plain {
                    let scaled = S::mul(h, S::splat(inverse));
                    sum = S::add(sum, S::sub(scaled, M::rounded::<S>(scaled)));
                }
                S::store_up_to(dw, count, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    struct Case {
        h: Vec<f32>,
        w: Vec<f32>,
        bias: Vec<f32>,
        targets: Vec<u32>,
        hidden: usize,
    }

    impl Case {
        fn new(positions: usize, hidden: usize, vocabulary: usize, size: f32) -> Self {
            let mut numbers = reference::Numbers::new(7);
            Self {
                h: numbers.vector(positions * hidden, size),
                w: numbers.vector(vocabulary * hidden, size),
                bias: numbers.vector(vocabulary, size),
                targets: (0..positions).map(|_| numbers.below(vocabulary) as u32).collect(),
                hidden,
            }
        }

        fn run(&self, path: KernelPath, precision: Precision, threads: usize) -> (f64, [Vec<f32>; 3]) {
            let mut kernels = Kernels::new(path, threads);
            let mut gradients = [&self.h, &self.w, &self.bias].map(|values| vec![f32::NAN; values.len()]);
            let [dh, dw, db] = &mut gradients;
            let scale = 1.0 / self.targets.len() as f32;
            let mut total = 0.0;
            for _ in 0..2 {
                // Twice: the second call meets a used workspace.
                let (h, w, bias, targets) = (&self.h, &self.w, &self.bias, &self.targets);
                total = kernels.head_forward_backward(precision, h, w, bias, targets, scale, dh, dw, db);
            }
            let mut by_position = vec![0.0; self.targets.len()];
            kernels.head_nll(precision, &self.h, &self.w, &self.bias, &self.targets, &mut by_position);
            let sum: f64 = by_position.iter().map(|&nll| f64::from(nll)).sum();
            assert!((sum - total).abs() <= 1e-6 * total.abs().max(1.0), "forward only {sum}, with gradients {total}");
            (total, gradients)
        }

        fn truth(&self) -> (f64, [Vec<f64>; 3]) {
            let scale = 1.0 / self.targets.len() as f64;
            reference::head(&self.h, &self.w, &self.bias, &self.targets, self.hidden, scale)
        }
    }

    const SHAPES: [(usize, usize, usize); 8] =
        [(1, 1, 1), (1, 128, 50), (7, 13, 1), (5, 8, 1000), (130, 20, 97), (50, 33, 145), (29, 100, 481), (241, 64, 250)];

    #[test]
    fn loss_and_gradients_agree_with_f64_on_every_path_and_odd_shape() {
        for (positions, hidden, vocabulary) in SHAPES {
            let case = Case::new(positions, hidden, vocabulary, 0.7);
            let (truth, gradients) = case.truth();
            for path in KernelPath::testable() {
                let (total, found) = case.run(path, Precision::F32, 1);
                let name = format!("{} {positions} x {hidden} x {vocabulary}", path.name());
                assert!((total - truth).abs() <= 2e-6 * truth.abs().max(1.0), "{name}: {total} for {truth}");
                for (found, truth) in found.iter().zip(&gradients) {
                    reference::assert_close(found, truth, 5e-6, &name);
                }
            }
        }
    }

    #[test]
    fn bf16_rounds_operands_only() {
        for (positions, hidden, vocabulary) in SHAPES {
            let case = Case::new(positions, hidden, vocabulary, 0.5);
            let (truth, gradients) = case.truth();
            for path in KernelPath::testable() {
                let (total, found) = case.run(path, Precision::Bf16, 1);
                let name = format!("{} bf16 {positions} x {hidden} x {vocabulary}", path.name());
                assert!((total - truth).abs() <= 1e-2 * truth.abs().max(1.0), "{name}: {total} for {truth}");
                for (found, truth) in found.iter().zip(&gradients) {
                    reference::assert_close(found, truth, 2e-2, &name);
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let case = Case::new(150, 40, 3000, 0.6);
        for path in KernelPath::testable() {
            for precision in [Precision::F32, Precision::Bf16] {
                let one = case.run(path, precision, 1);
                for threads in [2, 3] {
                    let many = case.run(path, precision, threads);
                    assert_eq!(one.0.to_bits(), many.0.to_bits());
                    assert!(one.1 == many.1, "{} {precision:?}: {threads} threads differ", path.name());
                }
            }
        }
    }

    #[test]
    fn logits_of_any_size_are_safe() {
        // One hidden unit of 1 turns the weights into logits: the target far below, among, and far above the others.
        for (greatest, target) in [(1e4, -1e4), (100.0, -1e4), (1e4, 1e4), (-1e4, 50.0), (60.0, 0.0), (0.0, 0.0)] {
            let mut case = Case::new(3, 1, 70, 0.5);
            case.h.fill(1.0);
            case.w[33] = greatest;
            case.targets = vec![2, 33, 2];
            case.w[2] = target;
            let (truth, gradients) = case.truth();
            for path in KernelPath::testable() {
                let (total, found) = case.run(path, Precision::F32, 2);
                let name = format!("{} {greatest} {target}", path.name());
                // An f32 of size 1e4 is known to 1e-3 at best.
                assert!((total - truth).abs() <= 1e-4 * truth.abs().max(1.0), "{name}: {total} for {truth}");
                for (found, truth) in found.iter().zip(&gradients) {
                    reference::assert_close(found, truth, 2e-3, &name);
                }
            }
        }
    }

    #[test]
    fn bf16_keeps_the_small_gradient_of_a_nearly_certain_target() {
        // A target 8 nats above 40 others: all gradients are about 1 % of what cancels in them.
        let mut case = Case::new(20, 64, 41, 0.02);
        case.targets.fill(7);
        case.bias[7] = 8.0;
        case.h.iter_mut().for_each(|h| *h *= 50.0);
        let (_, gradients) = case.truth();
        for path in KernelPath::testable() {
            let (_, found) = case.run(path, Precision::Bf16, 1);
            for (found, truth) in found.iter().zip(&gradients) {
                reference::assert_close(found, truth, 2e-2, path.name());
            }
        }
    }

    #[test]
    fn a_uniform_guess_costs_the_logarithm_of_the_vocabulary() {
        let (h, w, bias) = (vec![0.0; 6], vec![0.3; 1000 * 3], vec![0.25; 1000]);
        let mut nll = [0.0; 2];
        Kernels::new(KernelPath::detect(), 1).head_nll(Precision::F32, &h, &w, &bias, &[0, 999], &mut nll);
        nll.iter().for_each(|nll| assert!((nll - 1000f32.ln()).abs() < 1e-5, "{nll}"));
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let case = Case::new(4, 5, 30, 0.8);
        let (_, [_, dw, _]) = case.run(KernelPath::detect(), Precision::F32, 1);
        for at in [0, 7, 149] {
            let moved = |by: f64| {
                let mut w: Vec<f64> = case.w.iter().map(|&w| f64::from(w)).collect();
                w[at] += by;
                reference::head_loss(&case.h, &w, &case.bias, &case.targets, case.hidden) / 4.0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - f64::from(dw[at])).abs() < 1e-6, "{slope} {}", dw[at]);
        }
    }

    #[test]
    fn no_positions_cost_nothing_and_move_nothing() {
        let (mut dw, mut db) = ([1.0; 4], [1.0; 2]);
        let mut kernels = Kernels::new(KernelPath::detect(), 1);
        let total = kernels.head_forward_backward(
            Precision::F32, &[], &[0.5; 4], &[0.5; 2], &[], 1.0, &mut [], &mut dw, &mut db,
        );
        assert_eq!((total, dw, db), (0.0, [0.0; 4], [0.0; 2]));
    }

    #[test]
    #[should_panic(expected = "every target is below V")]
    fn a_target_outside_the_vocabulary_is_a_bug() {
        Kernels::new(KernelPath::detect(), 1).head_nll(Precision::F32, &[0.0], &[0.0], &[0.0], &[1], &mut [0.0]);
    }
}
