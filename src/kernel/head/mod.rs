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

mod forward;
mod gradient;
#[cfg(test)]
mod tests;

use forward::{Forward, Prepare};
use gradient::{Combine, WeightGradient};

use super::path::Shape;
use super::pool::Pool;
use super::product::ROWS;
use super::workspace::{Buffer, Shared};
use super::{KernelPath, Kernels, Precision};

/// Octaves by which a logit may exceed the shift. Sums then stay below 2^(60 + 18), and h divided by one stays far from
/// the denormal numbers.
const HEADROOM: f32 = 60.0;

/// How many positions make a slab: each slab reads `W` and writes `dW` once more, and its exponentials take memory.
#[derive(Clone, Copy)]
struct SlabLimit {
    /// Bytes that the exponentials may take, unless that would leave fewer than `least` positions.
    bytes: usize,
    least: usize,
}

impl Default for SlabLimit {
    fn default() -> Self {
        Self {
            bytes: 96 << 20,
            least: 320,
        }
    }
}

/// Most positions in a slab when nothing is stored.
const FORWARD_POSITIONS: usize = 960;

/// Positions whose exponentials stay in the second-level cache between the two products of the forward step. A
/// multiple of all kernels' rows.
const TILE: usize = 120;

/// Positions handled by one task of the combining step (even, for pairs).
const COMBINED: usize = 48;

/// Most parts that the vocabulary is cut into in the forward step, each with a `dH` of its own.
const SHARDS: usize = 24;

/// Columns of a panel of exponentials: whole vectors, register kernels and tiles on every path.
const PANEL: usize = 48;

/// Columns of the forward step's register kernel.
#[inline(always)]
const fn kernel_columns(lanes: usize, wide: bool) -> usize {
    if wide { 3 * lanes } else { 2 * lanes }
}

/// What the head keeps from call to call.
#[derive(Default)]
pub(super) struct HeadWorkspace {
    limit: SlabLimit,
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
        assert_eq!(
            (dh.len(), dw.len(), db.len()),
            (h.len(), w.len(), bias.len()),
            "gradients are shaped like values"
        );
        if targets.is_empty() {
            dw.fill(0.0);
            db.fill(0.0);
            return 0.0;
        }
        let pair = if precision == Precision::Bf16 { 2 } else { 1 };
        let SlabLimit { bytes, least } = self.head.limit;
        let most = (bytes / 4 * pair / bias.len()).max(least);
        let gradients = Gradients {
            scale,
            dh: Shared::of(dh),
            dw: Shared::of(dw),
            db: Shared::of(db),
            first: true,
        };
        let mut total = 0.0;
        for positions in slabs(targets.len(), most) {
            let first = positions.start == 0;
            // SAFETY: the slab's rows of `dh`, which is as long as `h`.
            let dh = Shared(unsafe { gradients.dh.at(positions.start * hidden) });
            let gradients = Some(Gradients {
                first,
                dh,
                ..gradients
            });
            let values = Values {
                h: &h[positions.start * hidden..positions.end * hidden],
                w,
                bias,
                targets: &targets[positions],
            };
            let slab = self
                .head
                .slab(self.path, precision, self.pool.threads(), values, gradients);
            slab.run(&mut self.pool, self.path, precision);
            // SAFETY: no task runs any more.
            total += unsafe { slab.nll.slice(0, slab.plan.rows) }
                .iter()
                .map(|&nll| f64::from(nll))
                .sum::<f64>();
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
            let values = Values {
                h: &h[positions.start * hidden..positions.end * hidden],
                w,
                bias,
                targets: &targets[positions],
            };
            let slab = self
                .head
                .slab(self.path, precision, self.pool.threads(), values, None);
            slab.run(&mut self.pool, self.path, precision);
            // SAFETY: no task runs any more.
            out.copy_from_slice(unsafe { slab.nll.slice(0, slab.plan.rows) });
        }
    }
}

/// The hidden size, once all lengths and targets have been checked.
fn check(h: &[f32], w: &[f32], bias: &[f32], targets: &[u32]) -> usize {
    let vocabulary = bias.len();
    assert!(
        vocabulary > 0 && w.len().is_multiple_of(vocabulary),
        "w is (V, K) and bias (V)"
    );
    let hidden = w.len() / vocabulary;
    assert_eq!(
        h.len(),
        targets.len() * hidden,
        "h is (N, K) and targets (N)"
    );
    assert!(
        targets.iter().all(|&target| (target as usize) < vocabulary),
        "every target is below V"
    );
    hidden
}

/// `positions` in as few ranges of at most about `most` as can be, of nearly equal length.
fn slabs(positions: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
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
    /// Panels of logits: how many there are, how many in a block, and how many blocks.
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
    fn lines(&self) -> usize {
        self.padded / self.pair
    }

    /// Offsets of a worker's scratch: W for the logits, W for dH, bias, row sums, row maxima, rows of E in bf16; then the
    /// whole length.
    fn scratch(&self) -> [usize; 7] {
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
    /// `h` times log₂ e in units, `(padded / kernel_rows, depth, kernel_rows)`.
    rows: Shared,
    /// Octaves taken off each row's logits; the target's logit in octaves; scale / row sum; the loss.
    shift: Shared,
    target: Shared,
    inverse: Shared,
    nll: Shared,
    /// `(panels, lines, PANEL)`
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
        let plan = Plan::new(
            path.shape(),
            pair,
            rows,
            values.w.len() / vocabulary,
            vocabulary,
        );
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

impl Slab<'_> {
    fn run(&self, pool: &mut Pool, path: KernelPath, precision: Precision) {
        let row_tasks = self.plan.padded.div_ceil(COMBINED);
        pool.run(row_tasks, &|_, task| {
            path.dispatch_in(precision, Prepare { slab: *self, task })
        });
        self.forward(pool, path, precision);
        if self.raise_shifts() {
            self.forward(pool, path, precision);
        }
        pool.run(row_tasks, &|_, task| {
            path.dispatch_in(precision, Combine { slab: *self, task })
        });
        if let Some(gradients) = self.gradients {
            pool.run(self.plan.blocks, &|_, block| {
                path.dispatch_in(
                    precision,
                    WeightGradient {
                        slab: *self,
                        gradients,
                        block,
                    },
                );
            });
        }
    }

    fn forward(&self, pool: &mut Pool, path: KernelPath, precision: Precision) {
        pool.run(self.plan.shards, &|worker, shard| {
            if self.gradients.is_some() {
                path.dispatch_in(
                    precision,
                    Forward::<true> {
                        slab: *self,
                        shard,
                        worker,
                    },
                );
            } else {
                path.dispatch_in(
                    precision,
                    Forward::<false> {
                        slab: *self,
                        shard,
                        worker,
                    },
                );
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
                let greatest = shards.fold(f32::NEG_INFINITY, |a, s| {
                    a.max(*self.maxima.at(s * self.plan.padded + row))
                });
                if greatest > HEADROOM {
                    *self.shift.at(row) += greatest;
                    raised = true;
                }
            }
        }
        raised
    }
}
