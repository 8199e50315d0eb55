//! One position at a time: logits, a draw from them, and an LSTM step. Nothing is packed: every weight is read once.

#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use super::lstm::{LstmShape, LstmWeights, cell};
use super::math::exp;
use super::path::Task;
use super::simd::{Simd, bf16_bits};
use super::workspace::{Buffer, Shared};
use super::{KernelPath, Kernels};

/// Rows of a matrix in one task.
const TASK_ROWS: usize = 1024;

/// Fewer weights than this are not worth waking a thread for.
const LEAST_WEIGHTS: usize = 1 << 18;

/// Logits whose probabilities are summed together before one of them is looked for.
const SAMPLED: usize = 1024;

/// What generation keeps from call to call.
#[derive(Default)]
pub(super) struct GenerationWorkspace {
    gates: Buffer,
    spread: Buffer,
}

/// A weight matrix, row-major, as it is held for generation.
#[derive(Debug, Clone, Copy)]
pub enum WeightRows<'a> {
    /// As trained.
    F32(&'a [f32]),
    /// Rounded by [`to_bf16`]: half the memory to read for each token.
    Bf16(&'a [u16]),
}

impl WeightRows<'_> {
    fn len(self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::Bf16(weights) => weights.len(),
        }
    }
}

/// Rounds to bfloat16 bits (to nearest, ties to even).
///
/// # Panics
/// If the lengths differ.
pub fn to_bf16(from: &[f32], to: &mut [u16]) {
    assert_eq!(from.len(), to.len(), "one bf16 for each f32");
    from.iter()
        .zip(to)
        .for_each(|(&from, to)| *to = bf16_bits(from));
}

impl Kernels {
    /// The logits of one position: `w` `(V, K)` times `h` `(K)`, plus `bias` `(V)`, into `logits` `(V)`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn head_logits(&mut self, h: &[f32], w: WeightRows<'_>, bias: &[f32], logits: &mut [f32]) {
        assert_eq!(
            (w.len(), bias.len()),
            (logits.len() * h.len(), logits.len()),
            "w is (V, K), bias and logits (V)"
        );
        let path = self.path;
        let paired = matches!(w, WeightRows::Bf16(_));
        let h = &Spread::new(h, path.shape().lanes, paired, &mut self.generation.spread);
        let rows = if w.len() < LEAST_WEIGHTS {
            logits.len().max(1)
        } else {
            TASK_ROWS
        };
        let out = Shared::of(logits);
        self.pool.run(bias.len().div_ceil(rows), &|_, task| {
            let range = task * rows..((task + 1) * rows).min(bias.len());
            // SAFETY: this task's rows.
            let out = unsafe { out.slice(range.start, range.len()) };
            out.copy_from_slice(&bias[range.clone()]);
            add_product(path, w, range.start, h, out);
        });
    }

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

    /// One time step of one lane: `x` `(I)`; `h` and `c` `(H)` are replaced by the new state. `shape.time` and
    /// `shape.batch` are not looked at. Always f32.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn lstm_step(
        &mut self,
        shape: LstmShape,
        weights: LstmWeights<'_>,
        x: &[f32],
        h: &mut [f32],
        c: &mut [f32],
    ) {
        let LstmShape { input, hidden, .. } = shape;
        assert_eq!(
            (x.len(), h.len(), c.len()),
            (input, hidden, hidden),
            "x is (I), h and c are (H)"
        );
        assert_eq!(weights.w_ih.len(), 4 * hidden * input, "w_ih is (4H, I)");
        assert_eq!(weights.w_hh.len(), 4 * hidden * hidden, "w_hh is (4H, H)");
        assert_eq!(weights.bias.len(), 4 * hidden, "the bias is (4H)");
        let GenerationWorkspace { gates, spread } = &mut self.generation;
        let gates = gates.shared(4 * hidden);
        // SAFETY: this call's own scratch, `4 * hidden` long.
        let gates = unsafe { gates.slice(0, 4 * hidden) };
        gates.copy_from_slice(weights.bias);
        for (w, x) in [(weights.w_ih, x), (weights.w_hh, &*h)] {
            let x = &Spread::new(x, self.path.shape().lanes, false, spread);
            add_product(self.path, WeightRows::F32(w), 0, x, gates);
        }
        self.path.dispatch(Step { gates, c, h });
    }
}

/// `out += w[first..] · x`, as many rows as `out` is long.
fn add_product(path: KernelPath, w: WeightRows<'_>, first: usize, x: &Spread<'_>, out: &mut [f32]) {
    let range = first * x.len..(first + out.len()) * x.len;
    match w {
        WeightRows::F32(w) => path.dispatch(AddProduct {
            w: &w[range],
            x,
            out,
        }),
        WeightRows::Bf16(w) => path.dispatch(AddProduct {
            w: &w[range],
            x,
            out,
        }),
    }
}

/// A vector laid out as the weights that it meets are read: by chunks of two vectors, padded with zeros.
struct Spread<'a> {
    values: &'a [f32],
    len: usize,
}

impl<'a> Spread<'a> {
    /// In order for f32 weights; even numbers before odd ones in each chunk for bf16, which is read in pairs.
    fn new(x: &[f32], lanes: usize, paired: bool, to: &'a mut Buffer) -> Self {
        let chunk = 2 * lanes;
        let padded = x.len().next_multiple_of(chunk);
        // SAFETY: the buffer's own memory, which `to` keeps borrowed.
        let values = unsafe { to.shared(padded).slice(0, padded) };
        values.fill(0.0);
        for (at, &x) in x.iter().enumerate() {
            let (first, within) = (at / chunk * chunk, at % chunk);
            let place = if paired {
                within / 2 + within % 2 * lanes
            } else {
                within
            };
            values[first + place] = x;
        }
        Self {
            values,
            len: x.len(),
        }
    }
}

/// A number that weights are held in.
trait Weight: Copy {
    /// Two vectors of f32 from a whole chunk, in a [`Spread`]'s order.
    ///
    /// # Safety
    /// The chunk can be read and the path's features are there.
    unsafe fn chunk<S: Simd>(from: *const Self) -> [S::F; 2];
}

impl Weight for f32 {
    #[inline(always)]
    unsafe fn chunk<S: Simd>(from: *const Self) -> [S::F; 2] {
        // SAFETY: the caller's promise.
        unsafe { [S::load(from), S::load(from.add(S::LANES))] }
    }
}

impl Weight for u16 {
    #[inline(always)]
    unsafe fn chunk<S: Simd>(from: *const Self) -> [S::F; 2] {
        // SAFETY: the caller's promise; a vector is read at any alignment.
        unsafe {
            let pairs = S::load(from.cast());
            [S::low_half(pairs), S::high_half(pairs)]
        }
    }
}

/// `out += w · x`; `x` and the sums are f32 whatever the weights.
struct AddProduct<'a, W> {
    w: &'a [W],
    x: &'a Spread<'a>,
    out: &'a mut [f32],
}

impl<W: Weight + Default> Task for AddProduct<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let groups = self.out.len() / 4 * 4;
        for row in (0..groups).step_by(4) {
            let sums = self.sums::<S, 4>(row);
            for (out, sum) in self.out[row..row + 4].iter_mut().zip(sums) {
                *out += sum;
            }
        }
        for row in groups..self.out.len() {
            self.out[row] += self.sums::<S, 1>(row)[0];
        }
    }
}

impl<W: Weight + Default> AddProduct<'_, W> {
    /// The products of some rows with `x`: those of four rows are summed across lanes together.
    #[inline(always)]
    fn sums<S: Simd, const ROWS: usize>(&self, row: usize) -> [f32; 4] {
        let depth = self.x.len;
        let chunk = 2 * S::LANES;
        let whole = depth / chunk * chunk;
        // SAFETY: `w` holds `depth` numbers for each row of `out`; a chunk that reaches over a row's end is read from a
        // copy. The dispatcher chose `S` for this CPU.
        unsafe {
            let mut acc = [[S::zero(); 2]; 4];
            for at in (0..depth).step_by(chunk) {
                let x = self.x.values.as_ptr().add(at);
                let x = [S::load(x), S::load(x.add(S::LANES))];
                for (i, acc) in acc.iter_mut().enumerate().take(ROWS) {
                    let from = self.w.as_ptr().add((row + i) * depth + at);
                    let mut copy = [W::default(); 32];
                    let from = if at < whole {
                        from
                    } else {
                        std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), depth - at);
                        copy.as_ptr()
                    };
                    let w = W::chunk::<S>(from);
                    *acc = [S::fma(w[0], x[0], acc[0]), S::fma(w[1], x[1], acc[1])];
                }
            }
            let mut totals = [S::zero(); 4];
            for (total, acc) in totals.iter_mut().zip(acc) {
                *total = S::add(acc[0], acc[1]);
            }
            S::sums(totals)
        }
    }
}

/// The gates' sums into a new state.
struct Step<'a> {
    gates: &'a mut [f32],
    c: &'a mut [f32],
    h: &'a mut [f32],
}

impl Task for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let c = self.c.as_mut_ptr();
        // SAFETY: `lstm_step` checked that gates are four times as long as both states.
        unsafe {
            cell::<S>(
                self.h.len(),
                self.gates.as_mut_ptr(),
                c,
                c,
                self.h.as_mut_ptr(),
            )
        };
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
    fn run<S: Simd>(self) -> usize {
        let greatest = self.greatest::<S>();
        if !greatest.is_finite() {
            return 0;
        }
        let mut weights = [0.0f32; SAMPLED];
        let mut sums = Vec::with_capacity(self.logits.len().div_ceil(SAMPLED));
        for block in self.logits.chunks(SAMPLED) {
            sums.push(self.weigh::<S>(block, greatest, &mut weights));
        }
        let mut left = sums.iter().sum::<f64>() * self.u;
        if left.is_nan() {
            return 0;
        }
        // The block in which the cumulative sum passes `left`; should rounding let none, the last that weighs anything.
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
        self.weigh::<S>(block, greatest, &mut weights);
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
    fn greatest<S: Simd>(&self) -> f32 {
        let whole = self.logits.len() / S::LANES * S::LANES;
        // SAFETY: whole vectors within the logits; the dispatcher chose `S` for this CPU.
        let greatest = unsafe {
            let mut acc = [S::splat(f32::NEG_INFINITY); 4];
            for (turn, at) in (0..whole).step_by(S::LANES).enumerate() {
                acc[turn % 4] = S::max(S::load(self.logits.as_ptr().add(at)), acc[turn % 4]);
            }
            S::greatest(S::max(S::max(acc[0], acc[1]), S::max(acc[2], acc[3])))
        };
        self.logits[whole..]
            .iter()
            .copied()
            .fold(greatest, f32::max)
    }

    /// Unnormalised probabilities of up to [`SAMPLED`] logits, and their sum.
    #[inline(always)]
    fn weigh<S: Simd>(&self, logits: &[f32], greatest: f32, weights: &mut [f32; SAMPLED]) -> f64 {
        // SAFETY: `weights` holds a whole number of vectors, and no more is read than there is.
        unsafe {
            // The exponential's least value stands for zero.
            let least = exp::<S>(S::splat(f32::NEG_INFINITY));
            let mut sum = S::zero();
            for at in (0..logits.len()).step_by(S::LANES) {
                let logit = S::load_up_to(logits.as_ptr().add(at), logits.len() - at);
                let x = S::mul(
                    S::sub(logit, S::splat(greatest)),
                    S::splat(self.inverse_temperature),
                );
                let weight = S::sub(exp::<S>(x), least);
                S::store_up_to(weights.as_mut_ptr().add(at), logits.len() - at, weight);
                if at + S::LANES <= logits.len() {
                    sum = S::add(sum, weight);
                }
            }
            let rest = logits.len() / S::LANES * S::LANES;
            f64::from(S::sum(sum))
                + weights[rest..logits.len()]
                    .iter()
                    .map(|&weight| f64::from(weight))
                    .sum::<f64>()
        }
    }
}
