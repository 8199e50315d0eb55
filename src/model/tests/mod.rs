//! The whole network against a plain computation in f64, and against what is known without running it.

use super::backend::cpu::{FusedCpu, caching_cpu};
use super::backend::{Backend, Reference};
use super::parameters::Array;
use super::*;
use crate::batch::{Batch, NO_TOKEN, Symbols};
use crate::kernel::{KernelPath, Kernels, Precision};
use crate::random;
use dfdx::prelude::Cpu;

/// Runs a test with each form in which the CPU runs a model: the reference, and the fused one with one and two threads.
macro_rules! for_each_backend {
    ($test:expr) => {
        $test(reference());
        $test(fused(1));
        $test(fused(2));
    };
}

mod generation;
pub(crate) mod operations;
mod training;

fn reference() -> Reference<Cpu> {
    Reference(caching_cpu())
}

fn fused(threads: usize) -> FusedCpu {
    FusedCpu::new(Kernels::new(KernelPath::detect(), threads, Precision::F32))
}

/// The keys of a piano, as bits of a mask.
const PIANO: BitRange = BitRange {
    first: 21,
    rows: 88,
};

fn alphabet(kind: ModelKind, vocabulary: usize) -> Alphabet {
    match kind {
        ModelKind::Token => Alphabet::Tokens(vocabulary),
        ModelKind::Sigmoid => Alphabet::Keys(PIANO),
    }
}

fn network<B: Backend>(kind: ModelKind, vocabulary: usize, backend: B) -> Network<B> {
    let config = ModelConfig {
        kind,
        embedding: 5,
        hidden: 6,
        ..ModelConfig::default()
    };
    let rng = &mut random::stream(3, "model");
    Network::new(&config, alphabet(kind, vocabulary), backend, rng).unwrap()
}

fn tokens(values: &[u32]) -> Symbols {
    Symbols::Tokens(values.to_vec())
}

fn chords(pitches: &[&[u32]]) -> Symbols {
    Symbols::Keys(
        pitches
            .iter()
            .map(|chord| chord.iter().map(|&pitch| 1u128 << pitch).sum())
            .collect(),
    )
}

/// Three steps of two sequences.
fn windows() -> [(ModelKind, Batch); 2] {
    let batch = |inputs, targets| Batch {
        inputs,
        targets,
        batch_size: 2,
        length: 3,
    };
    let token = batch(
        tokens(&[1, NO_TOKEN, 0, 6, 1, 2]),
        tokens(&[0, 6, 1, 2, 5, 5]),
    );
    let keys = batch(
        chords(&[&[60, 64, 67], &[], &[21], &[108, 40], &[60], &[60, 61]]),
        chords(&[&[21], &[108, 40], &[60], &[60, 61], &[], &[50, 52, 54]]),
    );
    [(ModelKind::Token, token), (ModelKind::Sigmoid, keys)]
}

/// The mean loss of a window from a zero state, computed in f64 from the formulas, one number at a time.
fn plain_loss(config: &ModelConfig, parameters: &[Vec<f64>], batch: &Batch) -> f64 {
    let (e, h) = (config.embedding, config.hidden);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let affine = |w: &[f64], x: &[f64], row: usize| -> f64 {
        (0..x.len()).map(|k| w[row * x.len() + k] * x[k]).sum()
    };
    let [weight, bias] = &parameters[parameters.len() - 2..] else {
        unreachable!()
    };
    let mut total = 0.0;
    for sequence in 0..batch.batch_size {
        let mut state = vec![(vec![0.0; h], vec![0.0; h]); config.layers];
        for row in (0..batch.length).map(|t| t * batch.batch_size + sequence) {
            let rows: Vec<usize> = match &batch.inputs {
                Symbols::Tokens(ids) if ids[row] == NO_TOKEN => vec![],
                Symbols::Tokens(ids) => vec![ids[row] as usize],
                Symbols::Keys(keys) => (0..88).filter(|k| keys[row] >> (k + 21) & 1 == 1).collect(),
            };
            let mut x: Vec<f64> = (0..e)
                .map(|k| rows.iter().map(|r| parameters[0][r * e + k]).sum())
                .collect();
            for (layer, (hidden, cell)) in state.iter_mut().enumerate() {
                let [w_ih, w_hh, b] = &parameters[1 + 3 * layer..4 + 3 * layer] else {
                    unreachable!()
                };
                let gates: Vec<f64> = (0..4 * h)
                    .map(|g| affine(w_ih, &x, g) + affine(w_hh, hidden, g) + b[g])
                    .collect();
                for k in 0..h {
                    cell[k] = sigmoid(gates[h + k]) * cell[k]
                        + sigmoid(gates[k]) * gates[2 * h + k].tanh();
                    hidden[k] = sigmoid(gates[3 * h + k]) * cell[k].tanh();
                }
                x = hidden.clone();
            }
            let logits: Vec<f64> = (0..bias.len())
                .map(|v| affine(weight, &x, v) + bias[v])
                .collect();
            total += match &batch.targets {
                Symbols::Tokens(ids) => {
                    logits.iter().map(|l| l.exp()).sum::<f64>().ln() - logits[ids[row] as usize]
                }
                Symbols::Keys(keys) => {
                    let key = |(k, l): (usize, &f64)| {
                        (1.0 + l.exp()).ln() - l * (keys[row] >> (k + 21) & 1) as f64
                    };
                    logits.iter().enumerate().map(key).sum()
                }
            };
        }
    }
    total / (batch.batch_size * batch.length) as f64
}

#[test]
fn loss_and_gradients_agree_with_finite_differences_in_f64() {
    fn check(backend: impl Backend) {
        for (kind, batch) in windows() {
            let mut network = network(kind, 7, backend.clone());
            let mut values: Vec<Vec<f64>> = network
                .parameters()
                .arrays()
                .into_iter()
                .map(widened)
                .collect();
            let mut state = network.zero_state(2);
            let loss = network
                .loss_and_gradients(&batch, &mut state, &mut random::stream(1, "dropout"))
                .unwrap();
            let plain = plain_loss(network.config(), &values, &batch);
            assert!(
                (f64::from(loss) - plain).abs() < 1e-5 * plain,
                "loss {loss}, expected {plain}"
            );
            for (p, gradient) in network.gradients().into_iter().enumerate() {
                let size = gradient.values.iter().map(|g| g.abs()).fold(0.0, f32::max);
                for (k, &found) in gradient.values.iter().enumerate() {
                    let value = values[p][k];
                    let mut at = |x: f64| {
                        values[p][k] = x;
                        plain_loss(network.config(), &values, &batch)
                    };
                    let expected = (at(value + 1e-5) - at(value - 1e-5)) / 2e-5;
                    values[p][k] = value;
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error < 1e-4 * f64::from(size) + 1e-8,
                        "{kind:?} {}[{k}]: {found}, {expected}",
                        gradient.name
                    );
                }
            }
        }
    }
    for_each_backend!(check);
}

fn widened(array: Array) -> Vec<f64> {
    array.values.into_iter().map(f64::from).collect()
}

#[test]
fn evaluation_gives_the_loss_of_training_and_targets_of_no_token_cost_nothing() {
    fn check(backend: impl Backend) {
        for (kind, mut batch) in windows() {
            let mut network = network(kind, 7, backend.clone());
            let evaluation = network
                .evaluate(&batch, &mut network.zero_state(2))
                .unwrap();
            let mut state = network.zero_state(2);
            let loss = network
                .loss_and_gradients(&batch, &mut state, &mut random::stream(1, "dropout"))
                .unwrap();
            assert!((evaluation.nll.iter().sum::<f32>() / 6.0 - loss).abs() < 1e-5 * loss);
            if let Symbols::Tokens(targets) = &mut batch.targets {
                targets[4] = NO_TOKEN;
                let masked = network
                    .evaluate(&batch, &mut network.zero_state(2))
                    .unwrap();
                assert_eq!(masked.nll[4], 0.0);
                for (found, expected) in masked.nll[..4].iter().zip(&evaluation.nll) {
                    assert!(
                        (found - expected).abs() < 1e-6 * expected,
                        "{found}, expected {expected}"
                    );
                }
            }
        }
    }
    for_each_backend!(check);
}

#[test]
fn a_model_without_preferences_loses_ln_v_or_88_ln_2() {
    fn check(backend: impl Backend) {
        for ((kind, batch), expected) in windows().into_iter().zip([7f32.ln(), 88.0 * 2f32.ln()]) {
            let mut network = network(kind, 7, backend.clone());
            let mut arrays = network.parameters().arrays();
            let output = arrays.len() - 2;
            arrays[output..]
                .iter_mut()
                .for_each(|array| array.values.fill(0.0));
            network.load(&arrays).unwrap();
            let nll = network
                .evaluate(&batch, &mut network.zero_state(2))
                .unwrap()
                .nll;
            assert!(
                nll.iter()
                    .all(|nll| (nll - expected).abs() < 1e-5 * expected),
                "{nll:?}"
            );
        }
    }
    for_each_backend!(check);
}

#[test]
fn what_does_not_fit_the_model_is_an_error() {
    let mut network = network(ModelKind::Token, 7, reference());
    let mut state = network.zero_state(1);
    let batch = |inputs, targets| Batch {
        inputs,
        targets,
        batch_size: 1,
        length: 1,
    };
    let mut error = |batch: Batch| {
        let rng = &mut random::stream(1, "dropout");
        network
            .loss_and_gradients(&batch, &mut state, rng)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(batch(tokens(&[7]), tokens(&[0]))),
        "token 7 is outside of the model's vocabulary of 7"
    );
    assert_eq!(
        error(batch(tokens(&[0]), tokens(&[NO_TOKEN]))),
        "token 4294967295 is outside of the model's vocabulary of 7"
    );
    assert_eq!(
        error(batch(chords(&[&[60]]), chords(&[&[60]]))),
        "the token model reads tokens, not sets of keys"
    );
    assert!(
        error(batch(tokens(&[0, 1]), tokens(&[0, 1])))
            .starts_with("a window of 1 sequences x 1 steps with 2 inputs")
    );
}

#[test]
fn parameters_are_named_in_order_and_refuse_another_shape() {
    let mut network = network(ModelKind::Token, 7, reference());
    let names: Vec<_> = network
        .parameters()
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "embedding",
            "lstm.0.w_ih",
            "lstm.0.w_hh",
            "lstm.0.bias",
            "lstm.1.w_ih",
            "lstm.1.w_hh",
            "lstm.1.bias",
            "output.weight",
            "output.bias"
        ]
    );
    let mut arrays = network.parameters().arrays();
    arrays[0].shape = vec![5, 7];
    let error = network.load(&arrays).unwrap_err().to_string();
    assert_eq!(
        error,
        "array 'embedding' has shape [5, 7] and 35 values, expected shape [7, 5]"
    );
}
