use super::*;
use crate::batch::{Batch, Symbols};
use crate::kernel::{KernelPath, Kernels, Precision};
use crate::model::backend::Reference;
use crate::model::backend::cpu::{FusedCpu, caching_cpu};
use crate::model::{Alphabet, ModelConfig};
use crate::random;
use dfdx::prelude::Cpu;

fn reference() -> Reference<Cpu> {
    Reference(caching_cpu())
}

fn fused(threads: usize) -> FusedCpu {
    let path = KernelPath::detect();
    FusedCpu::new(Kernels::new(path, threads, Precision::F32))
}

fn small_network<B: Backend>(backend: B) -> Network<B> {
    let config = ModelConfig {
        embedding: 3,
        hidden: 4,
        layers: 1,
        ..ModelConfig::default()
    };
    let rng = &mut random::stream(1, "model");
    Network::new(&config, Alphabet::Tokens(5), backend, rng).unwrap()
}

/// One window's gradients in `network`; the state always begins at zero.
fn learn<B: Backend>(network: &mut Network<B>) {
    let tokens = |values: &[u32]| Symbols::Tokens(values.to_vec());
    let batch = Batch {
        inputs: tokens(&[0, 1, 2]),
        targets: tokens(&[1, 2, 4]),
        batch_size: 1,
        length: 3,
    };
    let mut state = network.zero_state(1);
    network
        .loss_and_gradients(&batch, &mut state, &mut random::stream(1, "dropout"))
        .unwrap();
}

fn flat(arrays: Vec<Array>) -> Vec<f64> {
    arrays
        .into_iter()
        .flat_map(|array| array.values)
        .map(f64::from)
        .collect()
}

/// Two steps of each rule, as its formula says, in f64, one number at a time.
fn by_hand(
    kind: OptimizerKind,
    config: &OptimizerConfig,
    x: &mut f64,
    g: f64,
    slots: &mut [f64; 2],
    step: i32,
    rate: f64,
) {
    match kind {
        OptimizerKind::Sgd => {
            slots[0] = g + config.momentum * slots[0];
            *x -= rate * slots[0];
        }
        OptimizerKind::Rmsprop => {
            slots[0] = config.decay * slots[0] + (1.0 - config.decay) * g * g;
            *x -= rate * g / (slots[0] + config.epsilon).sqrt();
        }
        OptimizerKind::Adam => {
            let [b1, b2] = config.betas;
            slots[0] = b1 * slots[0] + (1.0 - b1) * g;
            slots[1] = b2 * slots[1] + (1.0 - b2) * g * g;
            let (m, v) = (
                slots[0] / (1.0 - b1.powi(step)),
                slots[1] / (1.0 - b2.powi(step)),
            );
            *x -= rate * m / (v.sqrt() + config.epsilon);
        }
    }
}

#[test]
fn each_rule_moves_as_its_formula_says_and_clipping_scales_all_gradients() {
    fn check(backend: impl Backend) {
        for kind in [
            OptimizerKind::Sgd,
            OptimizerKind::Rmsprop,
            OptimizerKind::Adam,
        ] {
            for (momentum, clip_norm) in [(0.0, None), (0.9, Some(0.1))] {
                let config = OptimizerConfig {
                    kind,
                    momentum,
                    clip_norm,
                    ..OptimizerConfig::default()
                };
                let mut network = small_network(backend.clone());
                let mut optimizer = Optimizer::new(&config, &network).unwrap();
                let mut expected = flat(network.parameters().arrays());
                let mut slots = vec![[0.0; 2]; expected.len()];
                for step in 1..=3 {
                    learn(&mut network);
                    let gradients = flat(network.gradients());
                    let norm = gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
                    let scale = clip_norm.map_or(1.0, |limit| (limit / norm).min(1.0));
                    for ((x, g), slots) in expected.iter_mut().zip(gradients).zip(&mut slots) {
                        by_hand(kind, &config, x, g * scale, slots, step, 0.05);
                    }
                    let measured = optimizer.update(&mut network, 0.05).unwrap();
                    assert!(
                        (measured - norm).abs() < 1e-5 * norm,
                        "norm {measured}, expected {norm}"
                    );
                }
                for (found, expected) in flat(network.parameters().arrays()).iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < 2e-4,
                        "{kind:?}: {found}, expected {expected}"
                    );
                }
            }
        }
    }
    check(reference());
    check(fused(1));
    check(fused(2));
}

#[test]
fn resuming_from_arrays_gives_the_same_bits() {
    fn check(backend: impl Backend) {
        for kind in [
            OptimizerKind::Sgd,
            OptimizerKind::Rmsprop,
            OptimizerKind::Adam,
        ] {
            let config = OptimizerConfig {
                kind,
                momentum: 0.5,
                ..OptimizerConfig::default()
            };
            let mut network = small_network(backend.clone());
            let mut optimizer = Optimizer::new(&config, &network).unwrap();
            learn(&mut network);
            optimizer.update(&mut network, 0.1).unwrap();

            let mut resumed = small_network(backend.clone());
            resumed.load(&network.parameters().arrays()).unwrap();
            let mut again = Optimizer::new(&config, &resumed).unwrap();
            again
                .load(&resumed, &optimizer.arrays(&network), optimizer.steps())
                .unwrap();

            for (network, optimizer) in [(&mut network, &mut optimizer), (&mut resumed, &mut again)]
            {
                learn(network);
                optimizer.update(network, 0.1).unwrap();
            }
            assert_eq!(network.parameters().arrays(), resumed.parameters().arrays());
            assert_eq!(optimizer.arrays(&network), again.arrays(&resumed));
        }
    }
    check(reference());
    check(fused(1));
    check(fused(2));
}

#[test]
fn a_gradient_that_is_no_number_moves_nothing() {
    let mut network = small_network(reference());
    let mut arrays = network.parameters().arrays();
    let bias = arrays.last_mut().unwrap();
    bias.values[0] = f32::NAN;
    network.load(&arrays).unwrap();
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &network).unwrap();
    learn(&mut network);
    let error = optimizer.update(&mut network, 0.1).unwrap_err().to_string();
    assert_eq!(
        error,
        "the gradient's norm is NaN: a lower learning_rate may help"
    );
    assert_eq!(optimizer.steps(), 0);
    assert_eq!(network.parameters().arrays()[0], arrays[0]);
}
