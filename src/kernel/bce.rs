//! Cross-entropy of 88 independent keys, the sigmoid model's loss.

#![allow(unsafe_code)]

use super::Kernels;
use super::keys::{KEYS, keys};
use super::math::{exp, ln_1p, sigmoid};
use super::path::Task;
use super::simd::Simd;
use super::workspace::Shared;

/// Positions handled by one task.
const TASK_ROWS: usize = 64;

impl Kernels {
    /// Binary cross-entropy summed over keys, and its gradient in place.
    ///
    /// `logits` is `(N, 88)`; `masks[n]` has bit `p` for each sounding MIDI pitch, key `p − 21`. By key, with target `y`:
    /// max(x, 0) − x·y + ln(1 + e^−|x|), which no logit overflows. Returns the total in nats; `nll`, if given, receives
    /// each position's `(N)`. `logits` become the gradient of `scale` times the total: scale · (σ(x) − y).
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn bce_with_logits(
        &mut self,
        logits: &mut [f32],
        masks: &[u128],
        scale: f32,
        nll: Option<&mut [f32]>,
    ) -> f64 {
        assert_eq!(logits.len(), masks.len() * KEYS, "logits are (N, 88)");
        let own = self.product.losses.shared(masks.len());
        let path = self.path;
        let shared = Shared::of(logits);
        self.pool.run(masks.len().div_ceil(TASK_ROWS), &|_, task| {
            let rows = task * TASK_ROWS..((task + 1) * TASK_ROWS).min(masks.len());
            // SAFETY: this task's rows of `logits` and of the losses.
            let (logits, losses) = unsafe {
                (
                    shared.slice(rows.start * KEYS, rows.len() * KEYS),
                    own.slice(rows.start, rows.len()),
                )
            };
            path.dispatch(Rows {
                logits,
                masks: &masks[rows],
                scale,
                losses,
            });
        });
        // SAFETY: no task runs any more.
        let losses = unsafe { own.slice(0, masks.len()) };
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
    scale: f32,
    losses: &'a mut [f32],
}

impl Task for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for ((logits, &mask), loss) in self
            .logits
            .chunks_exact_mut(KEYS)
            .zip(self.masks)
            .zip(self.losses)
        {
            let mut targets = [0.0f32; KEYS];
            keys(mask)
                .filter(|&key| key < KEYS)
                .for_each(|key| targets[key] = 1.0);
            let mut sum = 0.0;
            // SAFETY: at most `KEYS - at` lanes are touched; the dispatcher chose `S` for this CPU.
            unsafe {
                let mut total = S::zero();
                for at in (0..KEYS).step_by(S::LANES) {
                    let count = KEYS - at;
                    let x = S::load_up_to(logits.as_ptr().add(at), count);
                    let y = S::load_up_to(targets.as_ptr().add(at), count);
                    let minus_size = S::min(S::sub(S::zero(), x), x);
                    let softplus = S::add(S::max(S::zero(), x), ln_1p::<S>(exp::<S>(minus_size)));
                    let losses = S::sub(softplus, S::mul(x, y));
                    if count >= S::LANES {
                        total = S::add(total, losses);
                    } else {
                        let mut rest = [0.0f32; 16];
                        S::store_partial(rest.as_mut_ptr(), count, losses);
                        sum += rest.iter().sum::<f32>();
                    }
                    let d = S::mul(S::sub(sigmoid::<S>(x), y), S::splat(self.scale));
                    S::store_up_to(logits.as_mut_ptr().add(at), count, d);
                }
                *loss = sum + S::sum(total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::KernelPath;
    use super::super::reference::{self, Numbers};
    use super::*;

    #[test]
    fn loss_and_gradient_agree_with_f64_at_any_logit() {
        let mut numbers = Numbers::new(2);
        let mut logits = numbers.vector(150 * KEYS, 8.0);
        logits[..4].copy_from_slice(&[1e4, -1e4, 90.0, -90.0]);
        let masks: Vec<u128> = (0..150)
            .map(|_| 1u128 << (21 + numbers.below(88)) | 1 << 21)
            .collect();
        let target = |at: usize| {
            if masks[at / KEYS] >> (21 + at % KEYS) & 1 == 1 {
                1.0
            } else {
                0.0
            }
        };
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let loss = |(at, &x): (usize, &f32)| softplus(f64::from(x)) - f64::from(x) * target(at);
        let truth: f64 = logits.iter().enumerate().map(loss).sum();
        let gradient =
            |(at, &x): (usize, &f32)| 0.5 * (reference::sigmoid(f64::from(x)) - target(at));
        let gradients: Vec<f64> = logits.iter().enumerate().map(gradient).collect();
        for path in KernelPath::testable() {
            let mut bits = None;
            for threads in [1, 2, 3] {
                let (mut found, mut nll) = (logits.clone(), [0.0; 150]);
                let total = Kernels::new(path, threads).bce_with_logits(
                    &mut found,
                    &masks,
                    0.5,
                    Some(&mut nll),
                );
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
    fn even_odds_cost_88_times_ln_2() {
        for path in KernelPath::testable() {
            let mut logits = [0.0; KEYS];
            let total = Kernels::new(path, 1).bce_with_logits(&mut logits, &[1 << 60], 1.0, None);
            let error = total - 88.0 * std::f64::consts::LN_2;
            assert!(error.abs() < 5e-5, "{}: {error:e}", path.name());
            assert_eq!((logits[0], logits[39]), (0.5, -0.5));
        }
    }
}
