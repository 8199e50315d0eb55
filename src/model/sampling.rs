//! Logits → the next symbol, by chance.

use super::op::embedding::{KEYS, LOWEST_KEY};
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

/// Draws a token from `softmax(logits / temperature)`; `logits` is used as scratch. One draw from `rng` unless the temperature is 0.
///
/// Of equal logits the lower ids count as likelier.
///
/// # Panics
/// When there are no logits.
pub fn sample_token(logits: &mut [f32], sampling: Sampling, rng: &mut impl Rng) -> u32 {
    assert!(!logits.is_empty(), "a token is drawn from at least one");
    if let Some(k) = sampling.top_k.filter(|&k| k < logits.len()) {
        keep_largest(logits, k.max(1));
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if sampling.temperature <= 0.0 {
        return logits
            .iter()
            .position(|&logit| logit == largest)
            .unwrap_or(0) as u32;
    }
    let scale = 1.0 / sampling.temperature;
    let weight_of_block: Vec<f64> = logits
        .chunks_mut(BLOCK)
        .map(|block| exponentials(block, largest, scale))
        .collect();
    let mut left = rng.r#gen::<f64>() * weight_of_block.iter().sum::<f64>();
    // Find the block, then the token in it.
    let mut last = 0;
    for (block, (weights, &sum)) in logits.chunks(BLOCK).zip(&weight_of_block).enumerate() {
        if left >= sum {
            left -= sum;
            continue;
        }
        for (i, &weight) in weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 0.0)
        {
            last = block * BLOCK + i;
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
        return last as u32;
    }
    // Rounding may leave the draw just past the end: the last token that has any weight.
    logits
        .iter()
        .rposition(|&weight| weight > 0.0)
        .unwrap_or(last) as u32
}

/// Draws each key on its own: bit `p` is MIDI pitch `p`. 88 draws from `rng` unless the temperature is 0.
pub fn sample_keys(logits: &[f32], temperature: f32, rng: &mut impl Rng) -> u128 {
    let mut keys = 0;
    for (key, &logit) in (LOWEST_KEY..).zip(&logits[..KEYS]) {
        let sounds = match temperature <= 0.0 {
            true => logit > 0.0,
            false => rng.r#gen::<f32>() < 1.0 / (1.0 + (-logit / temperature).exp()),
        };
        keys |= u128::from(sounds) << key;
    }
    keys
}

/// Tokens that are summed together before one is looked for.
const BLOCK: usize = 256;

/// Makes `exp((x − largest) · scale)` of each, and gives their sum.
fn exponentials(block: &mut [f32], largest: f32, scale: f32) -> f64 {
    let mut sum = 0.0;
    for x in block {
        *x = ((*x - largest) * scale).exp();
        sum += f64::from(*x);
    }
    sum
}

/// Puts all but the `k` largest at minus infinity; of equal ones the first are kept.
fn keep_largest(logits: &mut [f32], k: usize) {
    let mut sorted = logits.to_vec();
    let (larger, &mut threshold, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    let mut equals_left = k - larger.iter().filter(|&&logit| logit > threshold).count();
    for logit in logits {
        if *logit == threshold && equals_left > 0 {
            equals_left -= 1;
        } else if *logit <= threshold {
            *logit = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    fn shares(logits: &[f32], sampling: Sampling) -> Vec<f64> {
        let mut rng = random::stream(1, "sampling");
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sample_token(&mut logits.to_vec(), sampling, &mut rng) as usize] +=
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
        assert_eq!(sample_token(&mut [0.0, 3.0, 3.0], coldest, &mut rng), 1);
        let mut logits = [-1.0; KEYS];
        logits[39] = 0.5; // pitch 60
        assert_eq!(sample_keys(&logits, 0.0, &mut rng), 1 << 60);
    }

    #[test]
    fn large_vocabularies_are_searched_to_their_end() {
        let mut logits = vec![f32::NEG_INFINITY; 1000];
        logits[999] = 5.0;
        assert_eq!(
            sample_token(
                &mut logits,
                Sampling::default(),
                &mut random::stream(1, "sampling")
            ),
            999
        );
    }

    #[test]
    fn keys_are_drawn_independently_with_their_probability() {
        let mut rng = random::stream(2, "sampling");
        let mut logits = [-50.0; KEYS];
        logits[0] = (0.25f32 / 0.75).ln();
        let count = (0..8_000)
            .filter(|_| sample_keys(&logits, 1.0, &mut rng) == 1 << 21)
            .count();
        assert!((count as f64 / 8_000.0 - 0.25).abs() < 0.02, "{count}");
    }
}
