//! Training, and what it learns.

use super::*;
use crate::training::optimizer::{Optimizer, OptimizerConfig};

/// Trains on C D E C without end; gives the losses.
fn learn_a_tune<B: Backend>(kind: ModelKind, backend: B, steps: usize) -> Vec<f32> {
    let config = ModelConfig {
        kind,
        embedding: 8,
        hidden: 16,
        dropout: 0.1,
        ..ModelConfig::default()
    };
    let rng = &mut random::stream(5, "model");
    let mut network = Network::new(&config, alphabet(kind, 3), backend, rng).unwrap();
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &network).unwrap();
    let mut rng = random::stream(5, "dropout");
    let tune = |shift: usize| -> Symbols {
        let notes = (0..16).map(|step| [0, 1, 2, 0][(step / 2 + shift) % 4]); // two sequences in unison
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
        batch_size: 2,
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
fn a_four_note_tune_is_learned() {
    fn check(backend: impl Backend) {
        for kind in [ModelKind::Token, ModelKind::Sigmoid] {
            let losses = learn_a_tune(kind, backend.clone(), 200);
            let end = losses[190..].iter().sum::<f32>() / 10.0;
            assert!(
                end < losses[0] / 20.0,
                "{kind:?}: from {} to {end}",
                losses[0]
            );
        }
    }
    for_each_backend!(check);
}

#[test]
fn the_same_seed_gives_the_same_losses() {
    fn check(backend: impl Backend) {
        let again = learn_a_tune(ModelKind::Token, backend.clone(), 5);
        assert_eq!(learn_a_tune(ModelKind::Token, backend, 5), again);
    }
    for_each_backend!(check);
}

/// Losses over some steps of a model large enough to have several blocks of everything, with its last parameters.
fn real_steps(kind: ModelKind, backend: impl Backend, steps: usize) -> (Vec<f32>, Vec<Array>) {
    use rand::Rng;
    let config = ModelConfig {
        kind,
        embedding: 24,
        hidden: 40,
        ..ModelConfig::default()
    };
    let rng = &mut random::stream(5, "model");
    let mut network = Network::new(&config, alphabet(kind, 1500), backend, rng).unwrap();
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
        batch_size: 6,
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
        let (expected, _) = real_steps(kind, reference(), 12);
        let one = real_steps(kind, fused(1), 12);
        for (expected, found) in expected.iter().zip(&one.0) {
            assert!(
                (expected - found).abs() < 1e-4 * expected,
                "{kind:?}: {found}, expected {expected}"
            );
        }
        assert!(
            one == real_steps(kind, fused(2), 12),
            "{kind:?}: another number of threads gave other bits"
        );
    }
}
