//! One position at a time: logits, a draw from them, and an LSTM step. Nothing is packed: every weight is read once.

#![allow(unsafe_code)]

use super::lstm::{LstmShape, LstmWeights, cell};
use super::math::exp;
use super::path::Task;
use super::simd::{Simd, bf16_bits, bf16_value};
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
        let gates = self.generation.gates.shared(4 * hidden);
        // SAFETY: this call's own scratch, `4 * hidden` long.
        let gates = unsafe { gates.slice(0, 4 * hidden) };
        gates.copy_from_slice(weights.bias);
        add_product(self.path, WeightRows::F32(weights.w_ih), 0, x, gates);
        add_product(self.path, WeightRows::F32(weights.w_hh), 0, h, gates);
        self.path.dispatch(Step { gates, c, h });
    }
}

/// `out += w[first..] · x`, as many rows as `out` is long.
fn add_product(path: KernelPath, w: WeightRows<'_>, first: usize, x: &[f32], out: &mut [f32]) {
    let range = first * x.len()..(first + out.len()) * x.len();
    match w {
        WeightRows::F32(w) => path.dispatch(AddProduct {
            w: &w[range],
            x,
            out,
        }),
        WeightRows::Bf16(w) => path.dispatch(AddProductBf16 {
            w: &w[range],
            x,
            out,
        }),
    }
}

/// `out += w · x` in f32.
struct AddProduct<'a> {
    w: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Task for AddProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let depth = self.x.len();
        for (row, out) in self.out.iter_mut().enumerate() {
            // SAFETY: `w` holds a row of `depth` numbers for each output.
            unsafe {
                let w = self.w.as_ptr().add(row * depth);
                let mut acc = [S::zero(); 4];
                let mut at = 0;
                while at + 4 * S::LANES <= depth {
                    for (j, acc) in acc.iter_mut().enumerate() {
                        let k = at + j * S::LANES;
                        *acc = S::fma(S::load(w.add(k)), S::load(self.x.as_ptr().add(k)), *acc);
                    }
                    at += 4 * S::LANES;
                }
                while at < depth {
                    let count = depth - at;
                    let x = S::load_up_to(self.x.as_ptr().add(at), count);
                    acc[0] = S::fma(S::load_up_to(w.add(at), count), x, acc[0]);
                    at += S::LANES;
                }
                *out += S::sum(S::add(S::add(acc[0], acc[1]), S::add(acc[2], acc[3])));
            }
        }
    }
}

/// `out += w · x` with bf16 weights; `x` and the sums stay f32.
struct AddProductBf16<'a> {
    w: &'a [u16],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Task for AddProductBf16<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let depth = self.x.len();
        // Pairs of weights meet the even and the odd numbers of x.
        let pairs = depth / 2;
        let even: Vec<f32> = self.x.chunks_exact(2).map(|pair| pair[0]).collect();
        let odd: Vec<f32> = self.x.chunks_exact(2).map(|pair| pair[1]).collect();
        for (row, out) in self.out.iter_mut().enumerate() {
            let w = &self.w[row * depth..][..depth];
            // SAFETY: a pair of bf16 numbers is four bytes, read at any alignment, `pairs` of them in the row.
            unsafe {
                let units = w.as_ptr().cast::<f32>();
                let mut acc = [S::zero(); 4];
                for (turn, at) in (0..pairs).step_by(S::LANES).enumerate() {
                    let count = pairs - at;
                    let unit = load_units::<S>(units, at, count);
                    let slot = turn % 2 * 2;
                    let (x0, x1) = (even.as_ptr().add(at), odd.as_ptr().add(at));
                    acc[slot] = S::fma(S::low_half(unit), S::load_up_to(x0, count), acc[slot]);
                    acc[slot + 1] =
                        S::fma(S::high_half(unit), S::load_up_to(x1, count), acc[slot + 1]);
                }
                *out += S::sum(S::add(S::add(acc[0], acc[1]), S::add(acc[2], acc[3])));
            }
            if depth % 2 == 1 {
                *out += bf16_value(w[depth - 1]) * self.x[depth - 1];
            }
        }
    }
}

/// Up to a vector of units from an address that need not be a multiple of four.
///
/// # Safety
/// `count` units can be read from `units + at`; the path's features are there.
#[inline(always)]
unsafe fn load_units<S: Simd>(units: *const f32, at: usize, count: usize) -> S::F {
    // SAFETY: the caller's promise; a whole vector is loaded at any alignment, a partial one byte by byte.
    unsafe {
        let from = units.cast::<u8>().add(4 * at);
        if count >= S::LANES {
            return S::load(from.cast());
        }
        let mut lanes = [0.0f32; 16];
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr().cast::<u8>(), 4 * count);
        S::load(lanes.as_ptr())
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
        let greatest = self
            .logits
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        if !greatest.is_finite() {
            return 0;
        }
        let mut weights = [0.0f32; SAMPLED];
        let sums: Vec<f64> = self
            .logits
            .chunks(SAMPLED)
            .map(|block| self.weigh::<S>(block, greatest, &mut weights))
            .collect();
        let mut left = sums.iter().sum::<f64>() * self.u;
        if left.is_nan() {
            return 0;
        }
        let mut last = 0;
        for (block, &sum) in sums.iter().enumerate() {
            if left >= sum && block + 1 < sums.len() {
                left -= sum;
                continue;
            }
            let logits = &self.logits[block * SAMPLED..];
            let logits = &logits[..logits.len().min(SAMPLED)];
            self.weigh::<S>(logits, greatest, &mut weights);
            for (at, &weight) in weights[..logits.len()].iter().enumerate() {
                if weight > 0.0 {
                    last = block * SAMPLED + at;
                    left -= f64::from(weight);
                    if left < 0.0 {
                        return last;
                    }
                }
            }
        }
        last
    }
}

impl Sample<'_> {
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

#[cfg(test)]
mod tests {
    use super::super::reference::{self, Numbers};
    use super::super::{LstmTape, Precision};
    use super::*;

    #[test]
    fn logits_agree_with_f64_in_both_formats() {
        for (hidden, vocabulary) in [(1, 1), (128, 5000), (33, 70), (15, 1025)] {
            let mut numbers = Numbers::new(6);
            let (h, w) = (
                numbers.vector(hidden, 1.0),
                numbers.vector(vocabulary * hidden, 1.0),
            );
            let bias = numbers.vector(vocabulary, 1.0);
            let mut rounded = vec![0; w.len()];
            to_bf16(&w, &mut rounded);
            let widened: Vec<f32> = rounded.iter().map(|&w| bf16_value(w)).collect();
            for path in KernelPath::testable() {
                for (weights, held) in [
                    (WeightRows::F32(&w), &w),
                    (WeightRows::Bf16(&rounded), &widened),
                ] {
                    let [truth, ..] = reference::linear(&h, held, &bias, &bias);
                    let mut logits = vec![0.0; vocabulary];
                    Kernels::new(path, 2).head_logits(&h, weights, &bias, &mut logits);
                    reference::assert_close(&logits, &truth, 2e-6, path.name());
                }
            }
        }
    }

    #[test]
    fn a_draw_inverts_the_cumulative_probabilities() {
        let mut logits = vec![f32::NEG_INFINITY; 3000];
        for (token, p) in [(5, 0.25f32), (1023, 0.25), (1024, 0.4), (2999, 0.1)] {
            logits[token] = p.ln() + 3.0;
        }
        for path in KernelPath::testable() {
            let mut kernels = Kernels::new(path, 1);
            let draws = [0.0, 0.24, 0.26, 0.49, 0.51, 0.89, 0.91, 0.999_999_999];
            let found = draws.map(|u| kernels.sample(&logits, 1.0, u));
            assert_eq!(
                found,
                [5, 5, 1023, 1023, 1024, 1024, 2999, 2999],
                "{}",
                path.name()
            );
            // A low temperature leaves the most probable.
            assert_eq!(kernels.sample(&logits, 100.0, 0.001), 1024);
            assert_eq!(kernels.sample(&[], 1.0, 0.5), 0);
            assert_eq!(kernels.sample(&[f32::NEG_INFINITY; 3], 1.0, 0.5), 0);
            assert_eq!(kernels.sample(&[1.0, 2.0, f32::NAN], 1.0, 0.5), 0);
        }
    }

    #[test]
    fn a_step_is_a_sequence_of_length_one() {
        let shape = LstmShape {
            time: 1,
            batch: 1,
            input: 19,
            hidden: 37,
        };
        let mut numbers = Numbers::new(8);
        let (w_ih, w_hh) = (
            numbers.vector(4 * 37 * 19, 0.3),
            numbers.vector(4 * 37 * 37, 0.3),
        );
        let (bias, x) = (numbers.vector(4 * 37, 0.3), numbers.vector(19, 1.0));
        let (mut h, mut c) = (numbers.vector(37, 1.0), numbers.vector(37, 1.0));
        let weights = LstmWeights {
            w_ih: &w_ih,
            w_hh: &w_hh,
            bias: &bias,
        };
        let mut kernels = Kernels::new(KernelPath::detect(), 1);
        let (mut h_whole, mut c_whole) = (vec![0.0; 37], vec![0.0; 37]);
        let tape = &mut LstmTape::default();
        kernels.lstm_forward(
            Precision::F32,
            shape,
            weights,
            &x,
            &h,
            &c,
            tape,
            &mut h_whole,
            &mut c_whole,
        );
        kernels.lstm_step(shape, weights, &x, &mut h, &mut c);
        for (step, whole) in h.iter().chain(&c).zip(h_whole.iter().chain(&c_whole)) {
            assert!((step - whole).abs() < 1e-6, "{step} {whole}");
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        let mut bits = [0; 4];
        to_bf16(&[1.0, 1.003_906_3, 1.011_718_8, f32::NAN], &mut bits);
        assert_eq!(bits[..3], [0x3f80, 0x3f80, 0x3f82]);
        assert!(bf16_value(bits[3]).is_nan());
    }
}
