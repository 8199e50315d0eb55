//! Naive f64 forms of the kernels, and numbers to try them on. Tests only.

use super::BitRange;

/// A small generator, enough for test data.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Uniform in −size … size.
    pub fn vector(&mut self, len: usize, size: f32) -> Vec<f32> {
        (0..len)
            .map(|_| ((self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * size)
            .collect()
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
}

/// The rows of a table of the keys of a piano, at the bits of their MIDI pitches.
pub const PIANO: BitRange = BitRange {
    first: 21,
    rows: 88,
};

/// Sets of none to four of those rows.
pub fn masks(numbers: &mut Numbers, count: usize) -> Vec<u128> {
    let mut set = || (0..numbers.below(5)).fold(0, |mask, _| mask | 1 << (21 + numbers.below(88)));
    (0..count).map(|_| set()).collect()
}

/// Fails unless every value is within `tolerance` of the truth, relative to the root mean square of the whole.
pub fn assert_close(found: &[f32], truth: &[f64], tolerance: f64, name: &str) {
    assert_close_above(found, truth, tolerance, 1e-7, name);
}

/// The same, with errors below `floor` allowed.
pub fn assert_close_above(found: &[f32], truth: &[f64], tolerance: f64, floor: f64, name: &str) {
    assert_eq!(found.len(), truth.len(), "{name}");
    let size = (truth.iter().map(|x| x * x).sum::<f64>() / truth.len().max(1) as f64).sqrt();
    for (at, (&found, &truth)) in found.iter().zip(truth).enumerate() {
        let error = (f64::from(found) - truth).abs();
        let allowed = tolerance * (size + truth.abs()) + floor;
        assert!(
            error <= allowed,
            "{name}: {found} for {truth} at {at} (size {size:e})"
        );
    }
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn logits(h: &[f32], w: &[f64], bias: &[f32], hidden: usize, position: usize) -> Vec<f64> {
    let h = &h[position * hidden..(position + 1) * hidden];
    let row = |v: usize| {
        h.iter()
            .zip(&w[v * hidden..])
            .map(|(&h, &w)| f64::from(h) * w)
            .sum::<f64>()
    };
    bias.iter()
        .enumerate()
        .map(|(v, &b)| row(v) + f64::from(b))
        .collect()
}

/// Total cross-entropy.
pub fn head_loss(h: &[f32], w: &[f64], bias: &[f32], targets: &[u32], hidden: usize) -> f64 {
    let nll = |n: usize| {
        let logits = logits(h, w, bias, hidden, n);
        let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|x| (x - greatest).exp()).sum();
        sum.ln() + greatest - logits[targets[n] as usize]
    };
    (0..targets.len()).map(nll).sum()
}

/// Total cross-entropy, and the gradients of `scale` times it: dh, dw, db.
pub fn head(
    h: &[f32],
    w: &[f32],
    bias: &[f32],
    targets: &[u32],
    hidden: usize,
    scale: f64,
) -> (f64, [Vec<f64>; 3]) {
    let w = widen(w);
    let (mut dh, mut dw, mut db) = (
        vec![0.0; h.len()],
        vec![0.0; w.len()],
        vec![0.0; bias.len()],
    );
    for (n, &target) in targets.iter().enumerate() {
        let logits = logits(h, &w, bias, hidden, n);
        let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|x| (x - greatest).exp()).sum();
        for (v, logit) in logits.iter().enumerate() {
            let one = if v == target as usize { 1.0 } else { 0.0 };
            let d = scale * ((logit - greatest).exp() / sum - one);
            db[v] += d;
            for k in 0..hidden {
                dh[n * hidden + k] += d * w[v * hidden + k];
                dw[v * hidden + k] += d * f64::from(h[n * hidden + k]);
            }
        }
    }
    (head_loss(h, &w, bias, targets, hidden), [dh, dw, db])
}

/// A linear layer: y, dx, dw, db.
pub fn linear(x: &[f32], w: &[f32], bias: &[f32], dy: &[f32]) -> [Vec<f64>; 4] {
    let outputs = bias.len();
    let (inputs, positions) = (w.len() / outputs, dy.len() / outputs);
    let [mut y, mut dx, mut dw, mut db] =
        [dy.len(), x.len(), w.len(), outputs].map(|len| vec![0.0; len]);
    for n in 0..positions {
        for o in 0..outputs {
            let d = f64::from(dy[n * outputs + o]);
            y[n * outputs + o] = f64::from(bias[o]);
            db[o] += d;
            for i in 0..inputs {
                y[n * outputs + o] += f64::from(x[n * inputs + i]) * f64::from(w[o * inputs + i]);
                dx[n * inputs + i] += d * f64::from(w[o * inputs + i]);
                dw[o * inputs + i] += d * f64::from(x[n * inputs + i]);
            }
        }
    }
    [y, dx, dw, db]
}

/// An LSTM layer: h, final c, dx, dw_ih, dw_hh, db. Weights are w_ih, w_hh, bias; states h0, c0.
pub fn lstm(
    [time, batch, input, hidden]: [usize; 4],
    weights: [&[f32]; 3],
    x: &[f32],
    states: [&[f32]; 2],
    dh: &[f32],
) -> [Vec<f64>; 6] {
    let [w_ih, w_hh, bias] = weights.map(widen);
    let [h0, c0] = states.map(widen);
    let (x, dh) = (widen(x), widen(dh));
    let rows = time * batch;
    let (mut h, mut c, mut gates) = (
        vec![0.0; rows * hidden],
        vec![0.0; rows * hidden],
        vec![0.0; rows * 4 * hidden],
    );
    let before = |values: &[f64], first: &[f64], row: usize, j: usize| {
        if row < batch {
            first[row * hidden + j]
        } else {
            values[(row - batch) * hidden + j]
        }
    };
    for row in 0..rows {
        for gate in 0..4 * hidden {
            let mut sum = bias[gate];
            (0..input).for_each(|k| sum += w_ih[gate * input + k] * x[row * input + k]);
            (0..hidden).for_each(|k| sum += w_hh[gate * hidden + k] * before(&h, &h0, row, k));
            gates[row * 4 * hidden + gate] = if gate / hidden == 2 {
                sum.tanh()
            } else {
                sigmoid(sum)
            };
        }
        for j in 0..hidden {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[row * 4 * hidden + gate * hidden + j]);
            c[row * hidden + j] = f * before(&c, &c0, row, j) + i * g;
            h[row * hidden + j] = o * c[row * hidden + j].tanh();
        }
    }
    let [mut dx, mut dw_ih, mut dw_hh, mut db] =
        [x.len(), w_ih.len(), w_hh.len(), bias.len()].map(|len| vec![0.0; len]);
    let (mut to_h, mut to_c) = (vec![0.0; rows * hidden], vec![0.0; rows * hidden]);
    for row in (0..rows).rev() {
        for j in 0..hidden {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[row * 4 * hidden + gate * hidden + j]);
            let tanh_c = c[row * hidden + j].tanh();
            let dh = dh[row * hidden + j] + to_h[row * hidden + j];
            let dc = dh * o * (1.0 - tanh_c * tanh_c) + to_c[row * hidden + j];
            if row >= batch {
                to_c[(row - batch) * hidden + j] = dc * f;
            }
            let sums = [
                dc * g * i * (1.0 - i),
                dc * before(&c, &c0, row, j) * f * (1.0 - f),
                dc * i * (1.0 - g * g),
                dh * tanh_c * o * (1.0 - o),
            ];
            for (gate, d) in sums.into_iter().enumerate() {
                let gate = gate * hidden + j;
                db[gate] += d;
                for k in 0..input {
                    dw_ih[gate * input + k] += d * x[row * input + k];
                    dx[row * input + k] += d * w_ih[gate * input + k];
                }
                for k in 0..hidden {
                    dw_hh[gate * hidden + k] += d * before(&h, &h0, row, k);
                    if row >= batch {
                        to_h[(row - batch) * hidden + k] += d * w_hh[gate * hidden + k];
                    }
                }
            }
        }
    }
    let c_final = c[(rows - batch) * hidden..].to_vec();
    [h, c_final, dx, dw_ih, dw_hh, db]
}
