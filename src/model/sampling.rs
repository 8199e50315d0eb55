//! Logits → the next symbol, by chance.

use crate::kernel::BitRange;
use rand::Rng;

/// How a symbol is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits: below 1 the likely becomes likelier, 0 always takes the likeliest.
    pub temperature: f32,
    /// Only this many of the likeliest tokens are drawn from; all if none. The sigmoid model has no use for it.
    pub top_k: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
        }
    }
}

/// Draws a token from `softmax(logits / temperature)` by means of `draw`; the logits are used up. One draw from `rng` unless the
/// temperature is 0. Of equal logits the lower ids count as likelier.
///
/// # Panics
/// When there are no logits.
pub fn sample_token(
    logits: &mut [f32],
    sampling: Sampling,
    draw: impl Fn(&mut [f32], f32, f64) -> usize,
    rng: &mut impl Rng,
) -> u32 {
    assert!(!logits.is_empty(), "a token is drawn from at least one");
    if sampling.temperature <= 0.0 {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        return logits
            .iter()
            .position(|&logit| logit == largest)
            .unwrap_or(0) as u32;
    }
    let (u, inverse_temperature) = (rng.r#gen::<f64>(), 1.0 / sampling.temperature);
    match sampling.top_k.filter(|&k| k < logits.len()) {
        Some(k) => {
            let (ids, mut logits) = largest(logits, k.max(1));
            ids[draw(&mut logits, inverse_temperature, u)]
        }
        None => draw(logits, inverse_temperature, u) as u32,
    }
}

/// The index at which the running sum of `softmax(logits · inverse_temperature)` passes `u`, from 0 to 1; the logits are used up.
pub fn draw(logits: &mut [f32], inverse_temperature: f32, u: f64) -> usize {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for weight in logits.iter_mut() {
        *weight = ((*weight - largest) * inverse_temperature).exp();
        sum += f64::from(*weight);
    }
    let (mut left, mut last) = (u * sum, 0);
    for (i, &weight) in logits
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 0.0)
    {
        last = i; // Rounding may leave the draw just past the end: then it is the last index with any weight.
        left -= f64::from(weight);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Draws each key on its own, and gives the set as `bits` say. A draw from `rng` for each unless the temperature is 0.
pub fn sample_keys(logits: &[f32], bits: BitRange, temperature: f32, rng: &mut impl Rng) -> u128 {
    let mut keys = 0;
    for (bit, &logit) in (bits.first..).zip(&logits[..bits.rows]) {
        let sounds = match temperature <= 0.0 {
            true => logit > 0.0,
            false => rng.r#gen::<f32>() < 1.0 / (1.0 + (-logit / temperature).exp()),
        };
        keys |= u128::from(sounds) << bit;
    }
    keys
}

/// The ids of the `k` largest logits in their order, and those logits; of equal ones the first are taken.
fn largest(logits: &[f32], k: usize) -> (Vec<u32>, Vec<f32>) {
    let mut sorted = logits.to_vec();
    let (larger, &mut threshold, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    let mut equals_left = k - larger.iter().filter(|&&logit| logit > threshold).count();
    let taken = (0..).zip(logits.iter().copied()).filter(|&(_, logit)| {
        let equal = logit == threshold && equals_left > 0;
        equals_left -= usize::from(equal);
        equal || logit > threshold
    });
    taken.unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    const BITS: BitRange = BitRange {
        first: 21,
        rows: 88,
    };

    fn shares(logits: &[f32], sampling: Sampling) -> Vec<f64> {
        let mut rng = random::stream(1, "sampling");
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sample_token(&mut logits.to_vec(), sampling, draw, &mut rng) as usize] +=
                1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn tokens_come_as_often_as_their_probability_says() {
        let logits = [0.1f32.ln(), 0.6f32.ln(), 0.3f32.ln()];
        for (share, expected) in shares(&logits, Sampling::default())
            .iter()
            .zip([0.1, 0.6, 0.3])
        {
            assert!((share - expected).abs() < 0.015, "{share} for {expected}");
        }
        // At temperature 1/2 probabilities are squared: 0.01, 0.36, 0.09 of 0.46.
        let colder = shares(
            &logits,
            Sampling {
                temperature: 0.5,
                top_k: None,
            },
        );
        assert!((colder[1] - 0.36 / 0.46).abs() < 0.015, "{colder:?}");
    }

    #[test]
    fn top_k_leaves_k_tokens_even_among_equals() {
        let drawn = shares(
            &[1.0, 2.0, 2.0, 2.0],
            Sampling {
                temperature: 1.0,
                top_k: Some(2),
            },
        );
        assert_eq!((drawn[0], drawn[3]), (0.0, 0.0));
        assert!((drawn[1] - 0.5).abs() < 0.02, "{drawn:?}");
    }

    #[test]
    fn temperature_zero_takes_the_likeliest() {
        let mut rng = random::stream(1, "sampling");
        let coldest = Sampling {
            temperature: 0.0,
            top_k: None,
        };
        assert_eq!(
            sample_token(&mut [0.0, 3.0, 3.0], coldest, draw, &mut rng),
            1
        );
        let mut logits = [-1.0; 88];
        logits[39] = 0.5; // pitch 60
        assert_eq!(sample_keys(&logits, BITS, 0.0, &mut rng), 1 << 60);
    }

    #[test]
    fn large_vocabularies_are_searched_to_their_end() {
        let mut logits = vec![f32::NEG_INFINITY; 1000];
        logits[999] = 5.0;
        assert_eq!(
            sample_token(
                &mut logits,
                Sampling::default(),
                draw,
                &mut random::stream(1, "sampling")
            ),
            999
        );
    }

    #[test]
    fn keys_are_drawn_independently_with_their_probability() {
        let mut rng = random::stream(2, "sampling");
        let mut logits = [-50.0; 88];
        logits[0] = (0.25f32 / 0.75).ln();
        let count = (0..8_000)
            .filter(|_| sample_keys(&logits, BITS, 1.0, &mut rng) == 1 << 21)
            .count();
        assert!((count as f64 / 8_000.0 - 0.25).abs() < 0.02, "{count}");
    }
}
