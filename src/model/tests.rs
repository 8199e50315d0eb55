//! The whole network against a plain computation in f64, and against what is known without running it.

use super::backend::Precision;
use super::*;
use crate::kernel::{KernelPath, Kernels};
use crate::random;
use crate::training::optimizer::{Optimizer, OptimizerConfig};

/// The forms in which the CPU runs a model: the reference and the fused one.
fn runtimes() -> Vec<Runtime<Cpu>> {
    let fused =
        |threads| Runtime::fused(Kernels::new(KernelPath::detect(), threads), Precision::F32);
    vec![Runtime::composed(), fused(1), fused(2)]
}

fn network(kind: ModelKind, vocabulary: usize, runtime: Runtime<Cpu>) -> Network<Cpu> {
    let config = ModelConfig {
        kind,
        embedding: 5,
        hidden: 6,
        ..ModelConfig::default()
    };
    Network::new(
        &config,
        vocabulary,
        runtime,
        &mut random::stream(3, "model"),
    )
    .unwrap()
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

/// Three steps of two lanes.
fn windows() -> [(ModelKind, Batch); 2] {
    let batch = |inputs, targets| Batch {
        inputs,
        targets,
        lanes: 2,
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
    for lane in 0..batch.lanes {
        let mut state = vec![(vec![0.0; h], vec![0.0; h]); config.layers];
        for row in (0..batch.length).map(|t| t * batch.lanes + lane) {
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
    total / (batch.lanes * batch.length) as f64
}

#[test]
fn loss_and_gradients_agree_with_finite_differences_in_f64() {
    for runtime in runtimes() {
        for (kind, batch) in windows() {
            let mut network = network(kind, 7, runtime.clone());
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
}

fn widened(array: Array) -> Vec<f64> {
    array.values.into_iter().map(f64::from).collect()
}

#[test]
fn evaluation_gives_the_loss_of_training_and_targets_of_no_token_cost_nothing() {
    for runtime in runtimes() {
        for (kind, mut batch) in windows() {
            let mut network = network(kind, 7, runtime.clone());
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
}

#[test]
fn a_carried_state_equals_one_long_sequence_and_single_steps() {
    for runtime in runtimes() {
        for (kind, whole) in windows() {
            let network = network(kind, 7, runtime.clone());
            let expected = network
                .evaluate(&whole, &mut network.zero_state(2))
                .unwrap()
                .nll;
            let rows = |symbols: &Symbols, rows: std::ops::Range<usize>| match symbols {
                Symbols::Tokens(ids) => Symbols::Tokens(ids[rows].to_vec()),
                Symbols::Keys(keys) => Symbols::Keys(keys[rows].to_vec()),
            };
            let (mut state, mut generator) = (network.zero_state(2), network.generator(2));
            let mut found = Vec::new();
            for part in [0..2, 2..6] {
                let (inputs, targets) = (
                    rows(&whole.inputs, part.clone()),
                    rows(&whole.targets, part.clone()),
                );
                let batch = Batch {
                    inputs,
                    targets,
                    lanes: 2,
                    length: part.len() / 2,
                };
                found.extend(network.evaluate(&batch, &mut state).unwrap().nll);
            }
            for (expected, found) in expected.iter().zip(&found) {
                assert!(
                    (expected - found).abs() < 1e-5 * expected,
                    "{expected} {found}"
                );
            }
            for t in 0..3 {
                generator
                    .read(&rows(&whole.inputs, 2 * t..2 * t + 2))
                    .unwrap();
            }
            assert_eq!(
                generator.logits().len(),
                2 * network.parameters().output().1.shape().1
            );
            for (a, b) in state.arrays().iter().zip(generator.state().arrays()) {
                let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
                assert!(
                    a.values.iter().zip(&b.values).all(close),
                    "{} differs",
                    a.name
                );
            }
        }
    }
}

#[test]
fn a_model_without_preferences_loses_ln_v_or_88_ln_2() {
    for runtime in runtimes() {
        for ((kind, batch), expected) in windows().into_iter().zip([7f32.ln(), 88.0 * 2f32.ln()]) {
            let mut network = network(kind, 7, runtime.clone());
            let mut arrays = network.parameters().arrays();
            let output = arrays.len() - 2;
            arrays[output..]
                .iter_mut()
                .for_each(|array| array.values.fill(0.0));
            network.parameters_mut().load(&arrays).unwrap();
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
}

/// Trains on C D E C without end; gives the losses.
fn learn_a_tune(kind: ModelKind, runtime: Runtime<Cpu>, steps: usize) -> Vec<f32> {
    let config = ModelConfig {
        kind,
        embedding: 8,
        hidden: 16,
        dropout: 0.1,
        ..ModelConfig::default()
    };
    let mut network = Network::new(&config, 3, runtime, &mut random::stream(5, "model")).unwrap();
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &network).unwrap();
    let mut rng = random::stream(5, "dropout");
    let tune = |shift: usize| -> Symbols {
        let notes = (0..16).map(|step| [0, 1, 2, 0][(step / 2 + shift) % 4]); // two lanes in unison
        match kind {
            ModelKind::Token => Symbols::Tokens(notes.collect()),
            ModelKind::Sigmoid => {
                Symbols::Keys(notes.map(|note| 1 << [60, 62, 64][note as usize]).collect())
            }
        }
    };
    let batch = Batch {
        inputs: tune(0),
        targets: tune(1),
        lanes: 2,
        length: 8,
    };
    let mut state = network.zero_state(2);
    (0..steps)
        .map(|_| {
            let loss = network
                .loss_and_gradients(&batch, &mut state, &mut rng)
                .unwrap();
            optimizer.update(&mut network, 0.02).unwrap();
            loss
        })
        .collect()
}

#[test]
fn a_four_note_tune_is_learned_by_heart() {
    for runtime in runtimes() {
        for kind in [ModelKind::Token, ModelKind::Sigmoid] {
            let losses = learn_a_tune(kind, runtime.clone(), 200);
            let end = losses[190..].iter().sum::<f32>() / 10.0;
            assert!(
                end < losses[0] / 20.0,
                "{kind:?}: from {} to {end}",
                losses[0]
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_losses() {
    for (a, b) in runtimes().into_iter().zip(runtimes()) {
        assert_eq!(
            learn_a_tune(ModelKind::Token, a, 5),
            learn_a_tune(ModelKind::Token, b, 5)
        );
    }
}

/// Losses over some steps of a model large enough to have several blocks of everything, with its last parameters.
fn real_steps(kind: ModelKind, runtime: Runtime<Cpu>, steps: usize) -> (Vec<f32>, Vec<Array>) {
    use rand::Rng;
    let config = ModelConfig {
        kind,
        embedding: 24,
        hidden: 40,
        ..ModelConfig::default()
    };
    let mut network =
        Network::new(&config, 1500, runtime, &mut random::stream(5, "model")).unwrap();
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &network).unwrap();
    let mut rng = random::stream(5, "data");
    let mut symbols = || match kind {
        ModelKind::Token => Symbols::Tokens((0..120).map(|_| rng.gen_range(0u32..1500)).collect()),
        ModelKind::Sigmoid => {
            let mut chord = || (0..4).fold(0, |keys: u128, _| keys | 1 << rng.gen_range(21..=108));
            Symbols::Keys((0..120).map(|_| chord()).collect())
        }
    };
    let batch = Batch {
        inputs: symbols(),
        targets: symbols(),
        lanes: 6,
        length: 20,
    };
    let (mut state, mut dropout) = (network.zero_state(6), random::stream(5, "dropout"));
    let step = |_| {
        let loss = network
            .loss_and_gradients(&batch, &mut state, &mut dropout)
            .unwrap();
        optimizer.update(&mut network, 0.01).unwrap();
        loss
    };
    let losses = (0..steps).map(step).collect();
    (losses, network.parameters().arrays())
}

#[test]
fn fused_and_composed_training_agree_and_threads_change_no_bit() {
    for kind in [ModelKind::Token, ModelKind::Sigmoid] {
        let [composed, one, two] = runtimes().try_into().unwrap();
        let (expected, _) = real_steps(kind, composed, 12);
        let one = real_steps(kind, one, 12);
        for (expected, found) in expected.iter().zip(&one.0) {
            assert!(
                (expected - found).abs() < 1e-4 * expected,
                "{kind:?}: {found}, expected {expected}"
            );
        }
        assert!(
            one == real_steps(kind, two, 12),
            "{kind:?}: another number of threads gave other bits"
        );
    }
}

#[test]
fn one_lane_is_generated_as_it_is_evaluated() {
    let inputs = [NO_TOKEN, 3, 0, 6, 6];
    for runtime in runtimes() {
        let network = network(ModelKind::Token, 7, runtime);
        let mut generator = network.generator(1);
        let targets = tokens(&[3, 0, 6, 6, 1]);
        let batch = Batch {
            inputs: tokens(&inputs),
            targets,
            lanes: 1,
            length: 5,
        };
        let expected = network
            .evaluate(&batch, &mut network.zero_state(1))
            .unwrap()
            .nll;
        for (input, (target, nll)) in inputs
            .into_iter()
            .zip([3, 0, 6, 6, 1].into_iter().zip(expected))
        {
            generator.read(&tokens(&[input])).unwrap();
            let logits = generator.logits();
            let found = logits.iter().map(|l| l.exp()).sum::<f32>().ln() - logits[target];
            assert!((found - nll).abs() < 1e-5, "{found}, expected {nll}");
        }
        let coldest = sampling::Sampling {
            temperature: 0.0,
            top_k: None,
        };
        assert_eq!(
            generator
                .draw(coldest, &mut random::stream(1, "draw"))
                .len(),
            1
        );
    }
}

#[test]
fn what_does_not_fit_the_model_is_an_error() {
    let mut network = network(ModelKind::Token, 7, Runtime::composed());
    let mut state = network.zero_state(1);
    let batch = |inputs, targets| Batch {
        inputs,
        targets,
        lanes: 1,
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
            .starts_with("a window of 1 lanes x 1 steps with 2 inputs")
    );
}

#[test]
fn parameters_are_named_in_order_and_refuse_another_shape() {
    let mut network = network(ModelKind::Token, 7, Runtime::composed());
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
    let error = network
        .parameters_mut()
        .load(&arrays)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "array 'embedding' has shape [5, 7] and 35 values, expected shape [7, 5]"
    );
}
