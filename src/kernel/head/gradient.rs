//! What follows once all row sums are known: the loss, dH, and then dW and db by blocks of the vocabulary.

#![allow(unsafe_code)]
// Contract of the file: the path's features are there (see `simd.rs`) and all extents come from the slab's `Plan`.
#![allow(unsafe_op_in_unsafe_fn)]

use super::super::path::FormatTask;
use super::super::product::{Format, Left, Output, Panels, ROWS, Start, full_tile};
use super::super::simd::Simd;
use super::{COMBINED, Gradients, PANEL, Slab};

/// Vectors of a panel on the path with the fewest lanes.
const MOST_VECTORS: usize = PANEL / 4;

/// Adds up what the shards found about some rows: the loss, dH, and `h` scaled for the weight gradient.
pub(super) struct Combine<'a> {
    pub slab: Slab<'a>,
    pub task: usize,
}

impl FormatTask for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self) {
        let Slab {
            plan,
            values,
            gradients,
            ..
        } = self.slab;
        let rows = self.task * COMBINED..((self.task + 1) * COMBINED).min(plan.padded);
        // SAFETY: places of these rows only.
        unsafe {
            for row in rows.clone() {
                *self.slab.inverse.at(row) = 0.0;
                if row >= plan.rows {
                    continue;
                }
                let sum: f64 = (0..plan.shards)
                    .map(|s| f64::from(*self.slab.sums.at(s * plan.padded + row)))
                    .sum();
                let octaves =
                    f64::from(*self.slab.shift.at(row)) - f64::from(*self.slab.target.at(row));
                *self.slab.nll.at(row) = (sum.ln() + octaves * std::f64::consts::LN_2) as f32;
                let Some(gradients) = gradients else { continue };
                let inverse = (f64::from(gradients.scale) / sum) as f32;
                *self.slab.inverse.at(row) = inverse;
                let w = values
                    .w
                    .as_ptr()
                    .add(values.targets[row] as usize * plan.hidden);
                let dh = gradients.dh.at(row * plan.hidden);
                for k in (0..plan.hidden).step_by(S::LANES) {
                    let mut total = S::zero();
                    for shard in 0..plan.shards {
                        let part = self
                            .slab
                            .parts
                            .at((shard * plan.padded + row) * plan.hidden_padded + k);
                        total = S::add(total, S::load(part));
                    }
                    // As rounded as in the product, so that the two cancel where the target is nearly certain.
                    let weight = M::rounded::<S>(S::load_up_to(w.add(k), plan.hidden - k));
                    let own = S::mul(weight, S::splat(-gradients.scale));
                    S::store_up_to(
                        dh.add(k),
                        plan.hidden - k,
                        S::fma(total, S::splat(inverse), own),
                    );
                }
            }
            if gradients.is_some() {
                self.scale_rows::<S, M>(rows);
            }
        }
    }
}

impl Combine<'_> {
    /// A vector of row `row` of `h` from column `k`, times scale / row sum.
    #[inline(always)]
    unsafe fn scaled<S: Simd>(&self, row: usize, k: usize) -> S::F {
        let Slab { plan, values, .. } = self.slab;
        if row >= plan.rows {
            return S::zero();
        }
        let h = S::load_up_to(
            values.h.as_ptr().add(row * plan.hidden + k),
            plan.hidden - k,
        );
        S::mul(h, S::splat(*self.slab.inverse.at(row)))
    }

    /// `h` times scale / row sum, in panels across the hidden units and lines along the positions.
    #[inline(always)]
    unsafe fn scale_rows<S: Simd, M: Format>(&self, rows: std::ops::Range<usize>) {
        let Slab { plan, .. } = self.slab;
        let across = Panels::of::<S>(plan.hidden);
        for p in 0..across.count() {
            let width = across.width(p);
            for row in rows.clone().step_by(M::PAIR) {
                for j in (0..width).step_by(S::LANES) {
                    let k = p * across.panel + j;
                    let low = self.scaled::<S>(row, k);
                    let high = if M::PAIR == 2 {
                        self.scaled::<S>(row + 1, k)
                    } else {
                        S::zero()
                    };
                    let units = M::pack::<S>(low, high);
                    S::store(
                        self.slab
                            .scaled
                            .at(p * across.panel * plan.lines() + row / M::PAIR * width + j),
                        units,
                    );
                }
            }
        }
    }
}

/// dW and db of a block of the vocabulary.
pub(super) struct WeightGradient<'a> {
    pub slab: Slab<'a>,
    pub gradients: Gradients,
    pub block: usize,
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
        let chunk = if S::WIDE { 128 } else { 192 };
        // SAFETY: this block's rows of dW and db belong to this task alone.
        unsafe {
            for first in (0..depth).step_by(chunk) {
                let inner = chunk.min(depth - first);
                let fresh = first == 0 && self.gradients.first;
                let start = if fresh { Start::Zero } else { Start::Add };
                for panel in panels.clone() {
                    let e = self
                        .slab
                        .exponentials
                        .at((panel * plan.lines() + first) * PANEL);
                    for p in 0..across.count() {
                        let b = self
                            .slab
                            .scaled
                            .at(p * across.panel * plan.lines() + first * across.width(p));
                        for at in (0..PANEL).step_by(ROWS) {
                            let token = panel * PANEL + at;
                            if token >= plan.vocabulary {
                                break;
                            }
                            let left = Left {
                                a: e.add(at),
                                lda: PANEL,
                                outer: 1,
                                stride: 0,
                                inner,
                            };
                            let out = Output {
                                c: self.gradients.dw.at(token * plan.hidden + p * across.panel),
                                ldc: plan.hidden,
                                rows: plan.vocabulary - token,
                                columns: across.valid(p),
                            };
                            full_tile::<S, M, true>(
                                across.width(p) / S::LANES,
                                left,
                                b,
                                out,
                                start,
                            );
                        }
                    }
                    self.bias_gradient::<S, M>(panel, first..first + inner, fresh);
                }
            }
            self.targets::<S, M>(panels.start * PANEL..(panels.end * PANEL).min(plan.vocabulary));
        }
    }
}

impl WeightGradient<'_> {
    /// Adds a panel's probabilities, over some lines, to db.
    #[inline(always)]
    unsafe fn bias_gradient<S: Simd, M: Format>(
        &self,
        panel: usize,
        lines: std::ops::Range<usize>,
        fresh: bool,
    ) {
        let plan = self.slab.plan;
        let valid = plan.vocabulary - panel * PANEL;
        let db = self.gradients.db.at(panel * PANEL);
        let mut acc = [S::zero(); MOST_VECTORS];
        for line in lines {
            let e = self
                .slab
                .exponentials
                .at((panel * plan.lines() + line) * PANEL);
            let low = S::splat(*self.slab.inverse.at(line * M::PAIR));
            for (j, acc) in acc[..PANEL / S::LANES].iter_mut().enumerate() {
                let units = S::load(e.add(j * S::LANES));
                if M::PAIR == 1 {
                    *acc = S::fma(units, low, *acc);
                } else {
                    let high = S::splat(*self.slab.inverse.at(line * 2 + 1));
                    *acc = S::fma(
                        S::low_half(units),
                        low,
                        S::fma(S::high_half(units), high, *acc),
                    );
                }
            }
        }
        for (j, acc) in acc[..PANEL / S::LANES].iter().enumerate() {
            let count = valid.saturating_sub(j * S::LANES);
            if count > 0 {
                let to = db.add(j * S::LANES);
                let before = if fresh {
                    S::zero()
                } else {
                    S::load_up_to(to, count)
                };
                S::store_up_to(to, count, S::add(before, *acc));
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
