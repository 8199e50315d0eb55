//! The networks of the paper's experiments, on a CUDA device and on the CPU.

use super::*;
use crate::batch::{Batch, NO_TOKEN, Symbols};
use crate::experiment::Experiment;
use crate::model::parameters::Array;
use crate::model::sampling::Sampling;
use crate::model::tests::operations::keys;
use crate::model::{Evaluation, ModelConfig, ModelKind, Network, State};
use crate::training::data::alphabet;
use crate::training::optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
use std::ops::Range;
use std::path::Path;

fn assert_arrays_close(what: &str, found: &[Array], expected: &[Array], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(
            (&found.name, &found.shape),
            (&expected.name, &expected.shape)
        );
        let what = format!("{what}: {}", found.name);
        assert_close(&what, &found.values, &expected.values, tolerance);
    }
}

/// A network of one of the paper's experiments, its widths and its window made small.
struct Setup {
    config: ModelConfig,
    optimizer: OptimizerConfig,
    rate: f64,
    vocabulary: usize,
    batch_size: usize,
    length: usize,
}

impl Setup {
    fn of(experiment: &str, vocabulary: usize) -> Self {
        let path = format!("experiments/{experiment}.yaml");
        let small = ["model.embedding=12", "model.hidden=16"].map(str::to_owned);
        let experiment = Experiment::load(Path::new(&path), &small).unwrap();
        Self {
            config: experiment.model.clone(),
            optimizer: experiment.training.optimizer(),
            rate: experiment.training.learning_rate,
            vocabulary: vocabulary / 100 + 1,
            batch_size: experiment.training.batch_size / 10,
            length: experiment.training.sequence_length / 5,
        }
    }

    fn network<B: Backend>(&self, backend: B) -> Network<B> {
        let mut rng = random::stream(5, "model");
        let alphabet = alphabet(self.config.kind, self.vocabulary);
        Network::new(&self.config, alphabet, backend, &mut rng).unwrap()
    }

    /// The window of one step: three take turns, so that there is something to learn.
    fn window(&self, step: usize) -> Batch {
        let mut rng = random::stream(step as u64 % 3, "window");
        let count = self.batch_size * self.length;
        let mut symbols = || match self.config.kind {
            ModelKind::Token => {
                let id = |_| rng.gen_range(0..self.vocabulary as u32);
                Symbols::Tokens((0..count).map(id).collect())
            }
            ModelKind::Sigmoid => Symbols::Keys(keys(&mut rng, count)),
        };
        Batch {
            inputs: symbols(),
            targets: symbols(),
            batch_size: self.batch_size,
            length: self.length,
        }
    }
}

/// A network in training, as far as a checkpoint holds it.
struct Training<B: Backend> {
    network: Network<B>,
    optimizer: Optimizer<B>,
    state: State<B::Device>,
}

impl<B: Backend> Training<B> {
    fn new(setup: &Setup, backend: B) -> Self {
        let network = setup.network(backend);
        let optimizer = Optimizer::new(&setup.optimizer, &network).unwrap();
        let state = network.zero_state(setup.batch_size);
        Self {
            network,
            optimizer,
            state,
        }
    }

    /// The loss and the gradients' norm of each of `steps`.
    fn train(&mut self, setup: &Setup, steps: Range<usize>) -> Vec<f32> {
        let mut dropout = random::stream(5, "dropout");
        let mut found = Vec::new();
        for step in steps {
            let window = setup.window(step);
            let network = &mut self.network;
            let loss = network.loss_and_gradients(&window, &mut self.state, &mut dropout);
            found.push(loss.unwrap());
            let norm = self.optimizer.update(network, setup.rate).unwrap();
            found.push(norm as f32);
        }
        found
    }

    fn checkpoint(&self) -> Vec<Array> {
        let mut arrays = self.network.parameters().arrays();
        arrays.extend(self.optimizer.arrays(&self.network));
        arrays.extend(self.state.arrays());
        arrays
    }

    fn resume(setup: &Setup, backend: B, arrays: &[Array], steps: u64) -> Self {
        let mut training = Self::new(setup, backend);
        training.network.load(arrays).unwrap();
        training
            .optimizer
            .load(&training.network, arrays, steps)
            .unwrap();
        let state = &mut training.state;
        training.network.load_state(state, arrays).unwrap();
        training
    }

    fn evaluate(&self, setup: &Setup) -> Evaluation {
        let mut window = setup.window(1000);
        if let Symbols::Tokens(targets) = &mut window.targets {
            targets[3] = NO_TOKEN;
        }
        if let Symbols::Tokens(inputs) = &mut window.inputs {
            inputs[0] = NO_TOKEN;
        }
        let mut state = self.network.zero_state(setup.batch_size);
        self.network.evaluate(&window, &mut state).unwrap()
    }

    /// What the network makes of silence, the likeliest at each step, and the logits of the last.
    fn generate(&self, length: usize) -> (Vec<Symbols>, Vec<f32>) {
        let coldest = Sampling {
            temperature: 0.0,
            top_k: None,
        };
        let mut generator = self.network.generator(1);
        let mut symbol = match self.network.config().kind {
            ModelKind::Token => Symbols::Tokens(vec![NO_TOKEN]),
            ModelKind::Sigmoid => Symbols::Keys(vec![0]),
        };
        let mut drawn = Vec::new();
        for _ in 0..length {
            generator.read(&symbol).unwrap();
            symbol = generator.draw(coldest, &mut random::stream(1, "draw"));
            drawn.push(symbol.clone());
        }
        generator.read(&symbol).unwrap();
        (drawn, generator.logits().to_vec())
    }
}

/// The paper's experiments, with the paper's vocabularies.
const EXPERIMENTS: [(&str, usize); 5] = [
    ("bach_midi", 35_509),
    ("classical_midi", 132_437),
    ("muse_piano_roll", 39_289),
    ("muse_truncated", 21_510),
    ("sigmoid", 88),
];

/// What a network of an experiment does in training, evaluation and generation.
struct Outcome {
    losses: Vec<f32>,
    checkpoint: Vec<Array>,
    evaluation: Evaluation,
    generated: (Vec<Symbols>, Vec<f32>),
}

fn outcome<B: Backend>(setup: &Setup, backend: B, steps: usize) -> Outcome {
    let mut training = Training::new(setup, backend);
    Outcome {
        losses: training.train(setup, 0..steps),
        checkpoint: training.checkpoint(),
        evaluation: training.evaluate(setup),
        generated: training.generate(12),
    }
}

#[test]
fn every_experiment_s_model_trains_evaluates_and_generates_as_on_the_cpu() {
    const STEPS: usize = 30;
    let device = Device::open();
    for (name, vocabulary) in EXPERIMENTS {
        let setup = Setup::of(name, vocabulary);
        let expected = outcome(&setup, cpu(), STEPS);
        assert!(
            expected.losses[2 * STEPS - 2] < 0.99 * expected.losses[0],
            "{name} learns nothing on the CPU, so that nothing is compared"
        );
        for (form, found) in [
            ("own", outcome(&setup, device.own.clone(), STEPS)),
            ("composed", outcome(&setup, device.composed.clone(), STEPS)),
        ] {
            let what = format!("{name} ({form})");
            assert_close(&what, &found.losses, &expected.losses, 1e-4);
            assert_arrays_close(&what, &found.checkpoint, &expected.checkpoint, 2e-3);
            let (scored, wanted) = (found.evaluation, &expected.evaluation);
            assert_close(&what, &scored.nll, &wanted.nll, 1e-4);
            assert_eq!(scored.predicted, wanted.predicted, "{what}");
            assert_eq!(found.generated.0, expected.generated.0, "{what}");
            assert_close(&what, &found.generated.1, &expected.generated.1, 1e-3);
        }
    }
}

#[test]
fn a_checkpoint_of_one_device_is_resumed_on_the_other() {
    let device = Device::open();
    for (name, vocabulary) in [EXPERIMENTS[3], EXPERIMENTS[4]] {
        let setup = Setup::of(name, vocabulary);
        let mut whole = Training::new(&setup, cpu());
        let (first, rest) = (whole.train(&setup, 0..6), whole.train(&setup, 6..12));

        let mut before = Training::new(&setup, cpu());
        before.train(&setup, 0..6);
        let mut there = Training::resume(&setup, device.own.clone(), &before.checkpoint(), 6);
        assert_eq!(
            there.checkpoint(),
            before.checkpoint(),
            "{name}: a checkpoint moves without a change of a bit"
        );
        assert_close("from the CPU", &there.train(&setup, 6..12), &rest, 1e-4);

        let mut before = Training::new(&setup, device.own.clone());
        assert_close("on CUDA", &before.train(&setup, 0..6), &first, 1e-4);
        let mut here = Training::resume(&setup, cpu(), &before.checkpoint(), 6);
        assert_close("to the CPU", &here.train(&setup, 6..12), &rest, 1e-4);
    }
}

#[test]
fn every_optimizer_moves_parameters_as_on_the_cpu_with_and_without_clipping() {
    let device = Device::open();
    let mut setup = Setup::of("muse_truncated", 2_000);
    for kind in [
        OptimizerKind::Adam,
        OptimizerKind::Rmsprop,
        OptimizerKind::Sgd,
    ] {
        for (clip_norm, momentum) in [(None, 0.0), (Some(0.01), 0.9)] {
            setup.optimizer = OptimizerConfig {
                kind,
                momentum,
                clip_norm,
                ..OptimizerConfig::default()
            };
            let expected = steps(&setup, cpu());
            for (form, found) in [
                ("own", steps(&setup, device.own.clone())),
                ("composed", steps(&setup, device.composed.clone())),
            ] {
                let what = format!("{kind:?}, clipped to {clip_norm:?} ({form})");
                assert_close(&what, &found.0, &expected.0, 1e-5);
                assert_arrays_close(&what, &found.1, &expected.1, 1e-3);
            }
        }
    }
}

/// Losses and norms of three steps, and what they end with.
fn steps<B: Backend>(setup: &Setup, backend: B) -> (Vec<f32>, Vec<Array>) {
    let mut training = Training::new(setup, backend);
    (training.train(setup, 0..3), training.checkpoint())
}
