//! A draw from logits.

#![allow(unsafe_code)]

use super::super::context::Kernels;
use super::super::dispatch::Task;
use super::super::math::exp;
use super::super::simd::Simd;

/// Logits whose probabilities are summed together before one of them is looked for.
const SAMPLED: usize = 1024;

impl Kernels {
    /// A token drawn with probability softmax(`logits` · `inverse_temperature`), by inverting the cumulative sum at `u`, a
    /// uniform number in [0, 1). Logits of −∞ are never drawn.
    ///
    /// Returns 0 if there is nothing to choose from: no logits, none finite, or a NaN among them.
    pub fn sample(&mut self, logits: &[f32], inverse_temperature: f32, u: f64) -> usize {
        self.path.dispatch(Sample {
            logits,
            inverse_temperature,
            u,
        })
    }
}

/// See [`Kernels::sample`].
struct Sample<'a> {
    logits: &'a [f32],
    inverse_temperature: f32,
    u: f64,
}

impl Task for Sample<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let greatest = self.greatest(s);
        if !greatest.is_finite() {
            return 0;
        }
        let mut weights = [0.0f32; SAMPLED];
        let mut sums = Vec::with_capacity(self.logits.len().div_ceil(SAMPLED));
        for block in self.logits.chunks(SAMPLED) {
            sums.push(self.weigh(s, block, greatest, &mut weights));
        }
        let mut left = sums.iter().sum::<f64>() * self.u;
        if left.is_nan() {
            return 0;
        }
        // The block in which the cumulative sum passes `left`; if rounding leaves none, the last with any weight.
        let mut chosen = 0;
        for (block, &sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            chosen = block;
            if left < sum {
                break;
            }
            left -= sum;
        }
        let block = self
            .logits
            .chunks(SAMPLED)
            .nth(chosen)
            .expect("one block for each sum");
        self.weigh(s, block, greatest, &mut weights);
        let mut last = 0;
        for (at, &weight) in weights[..block.len()]
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 0.0)
        {
            last = at;
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
        chosen * SAMPLED + last
    }
}

impl Sample<'_> {
    /// The greatest logit; −∞ where there is none.
    #[inline(always)]
    fn greatest<S: Simd>(&self, s: S) -> f32 {
        let whole = self.logits.len() / S::LANES * S::LANES;
        let mut acc = [s.splat(f32::NEG_INFINITY); 4];
        for (turn, at) in (0..whole).step_by(S::LANES).enumerate() {
            // SAFETY: a whole vector within the logits.
            let logits = unsafe { s.load(self.logits.as_ptr().add(at)) };
            acc[turn % 4] = s.max(logits, acc[turn % 4]);
        }
        let greatest = s.greatest(s.max(s.max(acc[0], acc[1]), s.max(acc[2], acc[3])));
        self.logits[whole..]
            .iter()
            .copied()
            .fold(greatest, f32::max)
    }

    /// Unnormalised probabilities of up to [`SAMPLED`] logits, and their sum.
    #[inline(always)]
    fn weigh<S: Simd>(
        &self,
        s: S,
        logits: &[f32],
        greatest: f32,
        weights: &mut [f32; SAMPLED],
    ) -> f64 {
        // The exponential's least value stands for zero.
        let least = exp(s, s.splat(f32::NEG_INFINITY));
        let mut sum = s.zero();
        let scale = s.splat(self.inverse_temperature);
        for at in (0..logits.len()).step_by(S::LANES) {
            let count = logits.len() - at;
            // SAFETY: `count` logits are left, of which there are no more than weights.
            unsafe {
                let logit = s.load_up_to(logits.as_ptr().add(at), count);
                let x = s.mul(s.sub(logit, s.splat(greatest)), scale);
                let weight = s.sub(exp(s, x), least);
                s.store_up_to(weights.as_mut_ptr().add(at), count, weight);
                if count >= S::LANES {
                    sum = s.add(sum, weight);
                }
            }
        }
        let rest = logits.len() / S::LANES * S::LANES;
        let rest = &weights[rest..logits.len()];
        f64::from(s.sum(sum)) + rest.iter().map(|&weight| f64::from(weight)).sum::<f64>()
    }
}
