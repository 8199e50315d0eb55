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
mod slab;
#[cfg(test)]
mod tests;

use super::context::Kernels;
use super::linear::{Linear, LinearGradients};
use super::path::KernelPath;
use super::pool::Pool;
use super::precision::Precision;
use super::workspace::Shared;
use forward::{Forward, Prepare};
use gradient::{Combine, WeightGradient};
use slab::{COMBINED, FORWARD_POSITIONS, Gradients, Plan, Slab, Values, slabs};

/// Octaves by which a logit may exceed the shift. Sums then stay below 2^(60 + 18), and h divided by one stays far from
/// the denormal numbers.
const HEADROOM: f32 = 60.0;

impl Kernels {
    /// Cross-entropy of `targets` under `softmax(h · Wᵀ + bias)`, with all gradients.
    ///
    /// `h` is `(N, K)`, the projection's weight `(V, K)` and bias `(V)`, `targets` `(N)`. Returns the total negative log-likelihood in
    /// nats; the gradients are those of `scale` times that total (1 / N for the mean). Logits may be of any size.
    ///
    /// Memory beyond the arguments: about 100 MB (half in bf16), or 320 positions' worth of logits if that is more.
    ///
    /// # Panics
    /// If a slice has the wrong length or a target is not below `V`.
    pub fn softmax_loss(
        &mut self,
        h: &[f32],
        projection: Linear<'_>,
        targets: &[u32],
        scale: f32,
        gradients: LinearGradients<'_>,
    ) -> f64 {
        let (vocabulary, hidden) = check(h, projection, targets);
        gradients.check(h, projection);
        if targets.is_empty() {
            gradients.weight.fill(0.0);
            gradients.bias.fill(0.0);
            return 0.0;
        }
        let most = self.softmax.limit.positions(self.precision, vocabulary);
        let dh = Shared::of(gradients.input);
        let (dw, db) = (Shared::of(gradients.weight), Shared::of(gradients.bias));
        let mut total = 0.0;
        for positions in slabs(targets.len(), most) {
            let (start, rows) = (positions.start * hidden, positions.len() * hidden);
            let gradients = Gradients {
                scale,
                dh: dh.part(start, rows),
                dw,
                db,
                first: start == 0,
            };
            let values = Values {
                h: &h[start..start + rows],
                projection,
                targets: &targets[positions],
            };
            let nll = self.softmax_slab(values, Some(gradients));
            total += nll.iter().map(|&nll| f64::from(nll)).sum::<f64>();
        }
        total
    }

    /// Negative log-likelihood of each position's target, in nats; shapes as in [`softmax_loss`](Kernels::softmax_loss), `nll` is
    /// `(N)`. Nothing large is stored.
    ///
    /// # Panics
    /// If a slice has the wrong length or a target is not below `V`.
    pub fn softmax_nll(
        &mut self,
        h: &[f32],
        projection: Linear<'_>,
        targets: &[u32],
        nll: &mut [f32],
    ) {
        let (_, hidden) = check(h, projection, targets);
        assert_eq!(nll.len(), targets.len(), "one loss per position");
        for positions in slabs(targets.len(), FORWARD_POSITIONS) {
            let values = Values {
                h: &h[positions.start * hidden..positions.end * hidden],
                projection,
                targets: &targets[positions.clone()],
            };
            nll[positions].copy_from_slice(self.softmax_slab(values, None));
        }
    }

    /// One slab: its gradients, if they are wanted, and the loss of each position.
    fn softmax_slab<'a>(
        &'a mut self,
        values: Values<'a>,
        gradients: Option<Gradients<'a>>,
    ) -> &'a [f32] {
        let (path, precision) = (self.path, self.precision);
        let plan = Plan::new(path.shape(), precision, values);
        let threads = self.pool.threads();
        let slab = self.softmax.slab(plan, threads, values, gradients);
        slab.run(&mut self.pool, path, precision);
        // SAFETY: no task runs any more.
        unsafe { slab.nll.slice(0, slab.plan.rows) }
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
                let gradient = WeightGradient {
                    slab: *self,
                    gradients,
                    block,
                };
                path.dispatch_in(precision, gradient);
            });
        }
    }

    fn forward(&self, pool: &mut Pool, path: KernelPath, precision: Precision) {
        pool.run(self.plan.shards, &|worker, shard| {
            let slab = *self;
            match self.gradients {
                Some(_) => path.dispatch_in(precision, Forward::<true>::new(slab, shard, worker)),
                None => path.dispatch_in(precision, Forward::<false>::new(slab, shard, worker)),
            }
        });
    }

    /// Sets the shift of each row with a logit beyond [`HEADROOM`] to its greatest logit; whether there was one.
    fn raise_shifts(&self) -> bool {
        let mut raised = false;
        for row in 0..self.plan.rows {
            let greatest = (0..self.plan.shards).fold(f32::NEG_INFINITY, |a, shard| {
                // SAFETY: a row's maximum; no task runs now.
                a.max(unsafe { *self.maxima.at(shard * self.plan.padded + row) })
            });
            if greatest > HEADROOM {
                // SAFETY: as above.
                unsafe { *self.shift.at(row) += greatest };
                raised = true;
            }
        }
        raised
    }
}

/// The vocabulary's size and the hidden size, once all lengths and targets have been checked.
fn check(h: &[f32], projection: Linear<'_>, targets: &[u32]) -> (usize, usize) {
    let (vocabulary, hidden) = projection.shape();
    assert_eq!(
        h.len(),
        targets.len() * hidden,
        "h is (N, K) and targets (N)"
    );
    assert!(
        targets.iter().all(|&target| (target as usize) < vocabulary),
        "every target is below V"
    );
    (vocabulary, hidden)
}
