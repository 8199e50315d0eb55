//! Cross-entropy of independent yes-or-no outputs, the sigmoid model's loss.

#![allow(unsafe_code)]

use super::context::Kernels;
use super::dispatch::Task;
use super::embedding_bag::{Bags, BitRange};
use super::math::{exp, ln_1p, sigmoid};
use super::simd::{Simd, lanes};
use super::workspace::Shared;

/// Positions handled by one task.
const TASK_ROWS: usize = 64;

impl Kernels {
    /// Binary cross-entropy summed over the outputs, with its gradient in place.
    ///
    /// `logits` is `(N, rows)`; output `r` should be 1 where row `r` is in the set of `targets`, else 0. By output, with target `y`:
    /// max(x, 0) − x·y + ln(1 + e^−|x|), which no logit overflows. Returns the total in nats; `nll`, if given, receives
    /// each position's `(N)`. `logits` become the gradient of `scale` times the total: scale · (σ(x) − y).
    ///
    /// # Panics
    /// If a slice has the wrong length, or a mask a bit that stands for no row.
    pub fn sigmoid_loss(
        &mut self,
        logits: &mut [f32],
        targets: Bags<'_>,
        scale: f32,
        nll: Option<&mut [f32]>,
    ) -> f64 {
        let Bags { masks, bits } = targets;
        assert_eq!(
            logits.len(),
            masks.len() * bits.rows,
            "logits are (N, rows)"
        );
        targets.check();
        let losses = self.product.losses.slice(masks.len());
        let path = self.path;
        let (shared, own) = (Shared::of(logits), Shared::of(losses));
        self.pool.run(masks.len().div_ceil(TASK_ROWS), &|_, task| {
            let rows = task * TASK_ROWS..((task + 1) * TASK_ROWS).min(masks.len());
            // SAFETY: this task's rows of `logits` and of the losses.
            let (logits, losses) = unsafe {
                (
                    shared.slice(rows.start * bits.rows, rows.len() * bits.rows),
                    own.slice(rows.start, rows.len()),
                )
            };
            path.dispatch(Rows {
                logits,
                masks: &masks[rows],
                bits,
                scale,
                losses,
            });
        });
        if let Some(nll) = nll {
            nll.copy_from_slice(losses);
        }
        losses.iter().map(|&loss| f64::from(loss)).sum()
    }
}

/// Some positions.
struct Rows<'a> {
    logits: &'a mut [f32],
    masks: &'a [u128],
    bits: BitRange,
    scale: f32,
    losses: &'a mut [f32],
}

impl Task for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let outputs = self.bits.rows;
        let rows = self.logits.chunks_exact_mut(outputs);
        for ((logits, &mask), loss) in rows.zip(self.masks).zip(self.losses) {
            let mut targets = [0.0f32; 128];
            for row in self.bits.rows_of(mask) {
                targets[row & 127] = 1.0;
            }
            let (mut sum, mut total) = (0.0, s.zero());
            for at in (0..outputs).step_by(S::LANES) {
                let count = outputs - at;
                // SAFETY: `count` outputs are left of either.
                let (x, y) = unsafe {
                    (
                        s.load_up_to(logits.as_ptr().add(at), count),
                        s.load_up_to(targets.as_ptr().add(at), count),
                    )
                };
                let minus_size = s.min(s.sub(s.zero(), x), x);
                let softplus = s.add(s.max(s.zero(), x), ln_1p(s, exp(s, minus_size)));
                let losses = s.sub(softplus, s.mul(x, y));
                if count >= S::LANES {
                    total = s.add(total, losses);
                } else {
                    sum += lanes(s, losses)[..count].iter().sum::<f32>();
                }
                let d = s.mul(s.sub(sigmoid(s, x), y), s.splat(self.scale));
                // SAFETY: as above.
                unsafe { s.store_up_to(logits.as_mut_ptr().add(at), count, d) };
            }
            *loss = sum + s.sum(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{self, Numbers, PIANO};
    use super::super::{KernelPath, Precision};
    use super::*;

    #[test]
    fn loss_and_gradient_agree_with_f64_at_any_logit() {
        let mut numbers = Numbers::new(2);
        let mut logits = numbers.vector(150 * 88, 8.0);
        logits[..4].copy_from_slice(&[1e4, -1e4, 90.0, -90.0]);
        let masks: Vec<u128> = (0..150)
            .map(|_| 1u128 << (21 + numbers.below(88)) | 1 << 21)
            .collect();
        let target = |at: usize| f64::from((masks[at / 88] >> (21 + at % 88)) as u8 & 1);
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let loss = |(at, &x): (usize, &f32)| softplus(f64::from(x)) - f64::from(x) * target(at);
        let truth: f64 = logits.iter().enumerate().map(loss).sum();
        let gradient =
            |(at, &x): (usize, &f32)| 0.5 * (reference::sigmoid(f64::from(x)) - target(at));
        let gradients: Vec<f64> = logits.iter().enumerate().map(gradient).collect();
        let targets = Bags {
            masks: &masks,
            bits: PIANO,
        };
        for path in KernelPath::testable() {
            let mut bits = None;
            for threads in [1, 2, 3] {
                let (mut found, mut nll) = (logits.clone(), [0.0; 150]);
                let mut kernels = Kernels::new(path, threads, Precision::F32);
                let total = kernels.sigmoid_loss(&mut found, targets, 0.5, Some(&mut nll));
                assert!(
                    (total - truth).abs() < 1e-6 * truth,
                    "{}: {total} for {truth}",
                    path.name()
                );
                reference::assert_close(&found, &gradients, 1e-6, path.name());
                assert_eq!(total, nll.iter().map(|&nll| f64::from(nll)).sum::<f64>());
                assert!(bits.is_none_or(|bits| bits == total.to_bits()));
                bits = Some(total.to_bits());
            }
        }
    }

    #[test]
    fn even_odds_cost_ln_2_for_each_output() {
        let targets = Bags {
            masks: &[1 << 60],
            bits: PIANO,
        };
        for path in KernelPath::testable() {
            let mut logits = [0.0; 88];
            let mut kernels = Kernels::new(path, 1, Precision::F32);
            let total = kernels.sigmoid_loss(&mut logits, targets, 1.0, None);
            let error = total - 88.0 * std::f64::consts::LN_2;
            assert!(error.abs() < 5e-5, "{}: {error:e}", path.name());
            assert_eq!((logits[0], logits[39]), (0.5, -0.5));
        }
    }
}
