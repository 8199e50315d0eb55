//! What follows once all row sums are known: the loss, dH, and then dW and db by blocks of the vocabulary.

#![allow(unsafe_code)]

use std::ops::Range;

use super::super::dispatch::FormatTask;
use super::super::product::{Format, Left, Output, Panels, ROWS, Start, full_tile};
use super::super::simd::Simd;
use super::slab::{COMBINED, Gradients, PANEL, Slab};

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
    fn run<S: Simd, M: Format>(self, s: S) {
        let Slab {
            plan, gradients, ..
        } = self.slab;
        let rows = self.task * COMBINED..((self.task + 1) * COMBINED).min(plan.padded);
        for row in rows.clone() {
            let mut inverse = 0.0;
            if row < plan.rows {
                let sum = self.loss(row);
                if let Some(gradients) = gradients {
                    inverse = (f64::from(gradients.scale) / sum) as f32;
                    self.hidden_gradient::<S, M>(s, row, inverse, gradients);
                }
            }
            // SAFETY: this row's place.
            unsafe { *self.slab.inverse.at(row) = inverse };
        }
        if gradients.is_some() {
            self.scale_rows::<S, M>(s, rows);
        }
    }
}

impl Combine<'_> {
    /// Writes a row's loss and gives the sum of its exponentials.
    fn loss(&self, row: usize) -> f64 {
        let Slab { plan, .. } = self.slab;
        // SAFETY: places of this row, which this task alone is at.
        unsafe {
            let sum: f64 = (0..plan.shards)
                .map(|shard| f64::from(*self.slab.sums.at(shard * plan.padded + row)))
                .sum();
            let octaves =
                f64::from(*self.slab.shift.at(row)) - f64::from(*self.slab.target.at(row));
            *self.slab.nll.at(row) = (sum.ln() + octaves * std::f64::consts::LN_2) as f32;
            sum
        }
    }

    /// Writes a row of dH: what the shards found, scaled, without the target's own weights.
    #[inline(always)]
    fn hidden_gradient<S: Simd, M: Format>(
        &self,
        s: S,
        row: usize,
        inverse: f32,
        gradients: Gradients,
    ) {
        let Slab { plan, values, .. } = self.slab;
        let target = values.targets[row] as usize;
        let w = &values.projection.weight[target * plan.hidden..][..plan.hidden];
        let dh = gradients.dh.part(row * plan.hidden, plan.hidden);
        for k in (0..plan.hidden).step_by(S::LANES) {
            let count = plan.hidden - k;
            let mut total = s.zero();
            // SAFETY: `count` numbers are left of the row's parts, of the weights and of dH.
            unsafe {
                for shard in 0..plan.shards {
                    let row = (shard * plan.padded + row) * plan.hidden_padded;
                    total = s.add(total, s.load(self.slab.parts.at(row + k)));
                }
                // As rounded as in the product, so that the two cancel where the target is nearly certain.
                let weight = M::rounded(s, s.load_up_to(w.as_ptr().add(k), count));
                let own = s.mul(weight, s.splat(-gradients.scale));
                s.store_up_to(dh.at(k), count, s.fma(total, s.splat(inverse), own));
            }
        }
    }

    /// A vector of row `row` of `h` from column `k`, times scale / row sum.
    #[inline(always)]
    fn scaled<S: Simd>(&self, s: S, row: usize, k: usize) -> S::F {
        let Slab { plan, values, .. } = self.slab;
        if row >= plan.rows {
            return s.zero();
        }
        let h = &values.h[row * plan.hidden + k..(row + 1) * plan.hidden];
        // SAFETY: what is left of the row, and its factor.
        unsafe {
            let h = s.load_up_to(h.as_ptr(), h.len());
            s.mul(h, s.splat(*self.slab.inverse.at(row)))
        }
    }

    /// `h` times scale / row sum, in panels across the hidden units and lines along the positions.
    #[inline(always)]
    fn scale_rows<S: Simd, M: Format>(&self, s: S, rows: Range<usize>) {
        let Slab { plan, .. } = self.slab;
        let across = Panels::of::<S>(plan.hidden);
        for p in 0..across.count() {
            let width = across.width(p);
            for row in rows.clone().step_by(M::PAIR) {
                let line = p * across.panel * plan.lines() + row / M::PAIR * width;
                for j in (0..width).step_by(S::LANES) {
                    let k = p * across.panel + j;
                    let low = self.scaled(s, row, k);
                    let high = if M::PAIR == 2 {
                        self.scaled(s, row + 1, k)
                    } else {
                        s.zero()
                    };
                    // SAFETY: a vector of this task's lines.
                    unsafe { s.store(self.slab.scaled.at(line + j), M::pack(s, low, high)) };
                }
            }
        }
    }
}

/// dW and db of a block of the vocabulary.
pub(super) struct WeightGradient<'a> {
    pub slab: Slab<'a>,
    pub gradients: Gradients<'a>,
    pub block: usize,
}

impl FormatTask for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, M: Format>(self, s: S) {
        let Slab { plan, .. } = self.slab;
        let panels = self.block * plan.block..((self.block + 1) * plan.block).min(plan.panels);
        let depth = plan.rows.div_ceil(M::PAIR);
        // Lines of E and of h that fit in the first-level cache together.
        let chunk = if S::WIDE { 128 } else { 192 };
        for first in (0..depth).step_by(chunk) {
            let lines = first..(first + chunk).min(depth);
            let fresh = first == 0 && self.gradients.first;
            for panel in panels.clone() {
                self.weight_gradient::<S, M>(s, panel, lines.clone(), fresh);
                self.bias_gradient::<S, M>(s, panel, lines.clone(), fresh);
            }
        }
        self.targets::<S, M>(
            s,
            panels.start * PANEL..(panels.end * PANEL).min(plan.vocabulary),
        );
    }
}

impl WeightGradient<'_> {
    /// Adds a panel's part of dW, over some lines.
    #[inline(always)]
    fn weight_gradient<S: Simd, M: Format>(
        &self,
        s: S,
        panel: usize,
        lines: Range<usize>,
        fresh: bool,
    ) {
        let Slab { plan, .. } = self.slab;
        let across = Panels::of::<S>(plan.hidden);
        let start = if fresh { Start::Zero } else { Start::Add };
        let e = (panel * plan.lines() + lines.start) * PANEL;
        for p in 0..across.count() {
            let b = p * across.panel * plan.lines() + lines.start * across.width(p);
            let b = self.slab.scaled.at(b);
            for at in (0..PANEL).step_by(ROWS) {
                let token = panel * PANEL + at;
                if token >= plan.vocabulary {
                    break;
                }
                let left = Left {
                    a: self.slab.exponentials.at(e + at),
                    lda: PANEL,
                    outer: 1,
                    stride: 0,
                    inner: lines.len(),
                };
                let out = Output {
                    c: self.gradients.dw.at(token * plan.hidden + p * across.panel),
                    ldc: plan.hidden,
                    rows: plan.vocabulary - token,
                    columns: across.valid(p),
                };
                let vectors = across.width(p) / S::LANES;
                // SAFETY: exponentials and scaled rows, which nothing writes any more; this block's rows of dW.
                unsafe { full_tile::<S, M, true>(s, vectors, left, b, out, start) };
            }
        }
    }

    /// Adds a panel's probabilities, over some lines, to db.
    #[inline(always)]
    fn bias_gradient<S: Simd, M: Format>(
        &self,
        s: S,
        panel: usize,
        lines: Range<usize>,
        fresh: bool,
    ) {
        let plan = self.slab.plan;
        let mut acc = [s.zero(); MOST_VECTORS];
        for line in lines {
            let e = (panel * plan.lines() + line) * PANEL;
            // SAFETY: factors of the line's rows.
            let inverse = |row: usize| s.splat(unsafe { *self.slab.inverse.at(row) });
            let low = inverse(line * M::PAIR);
            for (j, acc) in acc[..PANEL / S::LANES].iter_mut().enumerate() {
                // SAFETY: a vector of the panel's line.
                let units = unsafe { s.load(self.slab.exponentials.at(e + j * S::LANES)) };
                if M::PAIR == 1 {
                    *acc = s.fma(units, low, *acc);
                } else {
                    let high = s.fma(s.high_half(units), inverse(line * 2 + 1), *acc);
                    *acc = s.fma(s.low_half(units), low, high);
                }
            }
        }
        let valid = plan.vocabulary - panel * PANEL;
        for (j, acc) in acc[..PANEL / S::LANES].iter().enumerate() {
            let count = valid.saturating_sub(j * S::LANES);
            if count > 0 {
                let to = self.gradients.db.at(panel * PANEL + j * S::LANES);
                // SAFETY: `count` biases are left, which are this block's.
                unsafe {
                    let before = match fresh {
                        true => s.zero(),
                        false => s.load_up_to(to, count),
                    };
                    s.store_up_to(to, count, s.add(before, *acc));
                }
            }
        }
    }

    /// Takes the targets among `tokens` off: the −1 of softmax − one-hot.
    ///
    /// A target's exponential is 1 unless the shift was raised. Its product with the rounded `h` is taken back and put in
    /// exactly, since what is left of a nearly certain target is small.
    #[inline(always)]
    fn targets<S: Simd, M: Format>(&self, s: S, tokens: Range<usize>) {
        let Slab { plan, values, .. } = self.slab;
        let Gradients { scale, dw, db, .. } = self.gradients;
        for (row, &target) in values.targets.iter().enumerate() {
            let target = target as usize;
            if !tokens.contains(&target) {
                continue;
            }
            // SAFETY: a token of this block, and what was found about the row.
            let (inverse, plain) = unsafe {
                *db.at(target) -= scale;
                let plain = *self.slab.shift.at(row) == *self.slab.target.at(row);
                (*self.slab.inverse.at(row), plain)
            };
            let h = &values.h[row * plan.hidden..][..plan.hidden];
            let dw = dw.part(target * plan.hidden, plan.hidden);
            for k in (0..plan.hidden).step_by(S::LANES) {
                let count = plan.hidden - k;
                // SAFETY: `count` numbers are left of the row of `h` and of the token's of dW.
                unsafe {
                    let h = s.load_up_to(h.as_ptr().add(k), count);
                    let mut sum = s.fma(h, s.splat(-scale), s.load_up_to(dw.at(k), count));
                    if M::PAIR == 2 && plain {
                        let scaled = s.mul(h, s.splat(inverse));
                        sum = s.add(sum, s.sub(scaled, M::rounded(s, scaled)));
                    }
                    s.store_up_to(dw.at(k), count, sum);
                }
            }
        }
    }
}
