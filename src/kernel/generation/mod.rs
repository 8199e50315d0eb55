//! One position at a time: logits, a draw from them, and an LSTM step. Nothing is packed: every weight is read once.

#![allow(unsafe_code)]

mod sample;
#[cfg(test)]
mod tests;

use super::context::Kernels;
use super::dispatch::Task;
use super::lstm::forward::cell;
use super::lstm::layer::LstmWeights;
use super::path::KernelPath;
use super::scratch::GenerationWorkspace;
use super::simd::{Simd, bf16_bits};
use super::workspace::{Buffer, Shared};

/// Rows of a matrix in one task.
const TASK_ROWS: usize = 1024;

/// Fewer weights than this are not worth waking a thread for.
const LEAST_WEIGHTS: usize = 1 << 18;

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
pub fn to_bf16(values: &[f32]) -> Vec<u16> {
    values.iter().map(|&value| bf16_bits(value)).collect()
}

impl Kernels {
    /// The logits of one position: `w` `(V, K)` times `h` `(K)`, plus `bias` `(V)`, into `logits` `(V)`.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn logits(&mut self, h: &[f32], w: WeightRows<'_>, bias: &[f32], logits: &mut [f32]) {
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

    /// One time step of one sequence: `x` is `(I)`; `h` and `c` `(H)` are replaced by the new state. Always f32.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn lstm_step(&mut self, weights: LstmWeights<'_>, x: &[f32], h: &mut [f32], c: &mut [f32]) {
        let hidden = h.len();
        weights.check(x.len(), hidden);
        assert_eq!(c.len(), hidden, "h and c are (H)");
        let GenerationWorkspace { gates, spread } = &mut self.generation;
        let gates = gates.slice(4 * hidden);
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
        let values = to.slice(padded);
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
trait Weight: Copy + Default {
    /// Two vectors of f32 from a whole chunk, in a [`Spread`]'s order.
    ///
    /// # Safety
    /// Two vectors' numbers can be read from `from`.
    unsafe fn chunk<S: Simd>(s: S, from: *const Self) -> [S::F; 2];
}

impl Weight for f32 {
    #[inline(always)]
    unsafe fn chunk<S: Simd>(s: S, from: *const Self) -> [S::F; 2] {
        // SAFETY: the caller's promise.
        unsafe { [s.load(from), s.load(from.add(S::LANES))] }
    }
}

impl Weight for u16 {
    #[inline(always)]
    unsafe fn chunk<S: Simd>(s: S, from: *const Self) -> [S::F; 2] {
        // SAFETY: the caller's promise; a vector is read at any alignment.
        let pairs = unsafe { s.load(from.cast()) };
        [s.low_half(pairs), s.high_half(pairs)]
    }
}

/// `out += w · x`; `x` and the sums are f32 whatever the weights.
struct AddProduct<'a, W> {
    w: &'a [W],
    x: &'a Spread<'a>,
    out: &'a mut [f32],
}

impl<W: Weight> Task for AddProduct<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let groups = self.out.len() / 4 * 4;
        for row in (0..groups).step_by(4) {
            let sums = self.sums::<S, 4>(s, row);
            for (out, sum) in self.out[row..row + 4].iter_mut().zip(sums) {
                *out += sum;
            }
        }
        for row in groups..self.out.len() {
            self.out[row] += self.sums::<S, 1>(s, row)[0];
        }
    }
}

impl<W: Weight> AddProduct<'_, W> {
    /// The products of some rows with `x`: those of four rows are summed across lanes together.
    #[inline(always)]
    fn sums<S: Simd, const ROWS: usize>(&self, s: S, row: usize) -> [f32; 4] {
        let depth = self.x.len;
        let chunk = 2 * S::LANES;
        let whole = depth / chunk * chunk;
        let mut acc = [[s.zero(); 2]; 4];
        for at in (0..depth).step_by(chunk) {
            // SAFETY: `x` is padded to whole chunks; `w` holds `depth` numbers for each row of `out`, and a chunk that reaches over a
            // row's end is read from a copy.
            unsafe {
                let x = f32::chunk(s, self.x.values.as_ptr().add(at));
                for (i, acc) in acc.iter_mut().enumerate().take(ROWS) {
                    let from = self.w.as_ptr().add((row + i) * depth + at);
                    let mut copy = [W::default(); 32];
                    let from = if at < whole {
                        from
                    } else {
                        std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), depth - at);
                        copy.as_ptr()
                    };
                    let w = W::chunk(s, from);
                    *acc = [s.fma(w[0], x[0], acc[0]), s.fma(w[1], x[1], acc[1])];
                }
            }
        }
        let mut totals = [s.zero(); 4];
        for (total, acc) in totals.iter_mut().zip(acc) {
            *total = s.add(acc[0], acc[1]);
        }
        s.sums(totals)
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
    fn run<S: Simd>(self, s: S) {
        let (hidden, gates) = (self.h.len(), self.gates.as_mut_ptr());
        let (c, h) = (self.c.as_mut_ptr(), self.h.as_mut_ptr());
        // SAFETY: gates are four times as long as both states.
        unsafe { cell(s, hidden, gates, c, c, h) };
    }
}
