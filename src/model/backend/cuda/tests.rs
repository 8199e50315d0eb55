//! CUDA device 0 against the CPU: every operation, and the networks of the five experiments. Where there is no GPU, device 0 is an
//! emulated one (see `.ci/run`).
//!
//! Both forms of the device's operations, composed and own, are compared with the CPU's. Products and sums are taken in another order
//! there, so that numbers agree to about six digits, and losses after dozens of steps to about four.

use super::*;
use crate::batch::{Batch, NO_TOKEN, Symbols};
use crate::experiment::Experiment;
use crate::kernel::{KernelPath, Kernels};
use crate::model::memory::tile_rows;
use crate::model::parameters::Array;
use crate::model::sampling::Sampling;
use crate::model::{Evaluation, ModelConfig, ModelKind, Network, State};
use crate::random;
use crate::training::optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::PoisonError;

/// The device with kernels of our own and without, for one test at a time: an emulated device computes one thing at a time.
struct Device {
    own: Runtime<Cuda>,
    composed: Runtime<Cuda>,
    _alone: MutexGuard<'static, ()>,
}

impl Device {
    fn open() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Runtime::cuda(0, Precision::F32).expect("these tests need a CUDA device");
        let composed = Runtime {
            device: own.device.clone(),
            kernels: CudaKernels(None),
        };
        Self {
            own,
            composed,
            _alone: alone,
        }
    }

    fn forms(&self) -> [&Runtime<Cuda>; 2] {
        [&self.own, &self.composed]
    }
}

fn cpu() -> Runtime<Cpu> {
    Runtime::fused(Kernels::new(KernelPath::detect(), 1), Precision::F32)
}

/// Fails unless each of `found` lies within `tolerance` of `expected`, as a share of the largest of `expected`.
fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: another length");
    let size = expected.iter().map(|value| value.abs()).fold(0.0, f32::max);
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * size + 1e-9,
            "{what}[{k}]: {found}, expected {expected}, where the largest is {size}"
        );
    }
}

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

fn uniform(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.gen_range(-1.0..1.0)).collect()
}

fn keys(rng: &mut ChaCha8Rng, count: usize) -> Vec<u128> {
    let mut chord = || (0..3).fold(0, |keys, _| keys | 1 << rng.gen_range(21..=108));
    (0..count).map(|_| chord()).collect()
}

/// Each operation with its result and its gradients, for inputs that do not depend on the device.
fn operations<D: Backend>(runtime: &Runtime<D>) -> Vec<(&'static str, Vec<f32>)> {
    let mut rng = random::stream(7, "operations");
    let mut found = Vec::new();
    let mut matrix = |rows: usize, columns: usize| -> Matrix<D> {
        let values = uniform(&mut rng, rows * columns);
        runtime.device.tensor_from_vec(values, (rows, columns))
    };
    let (steps, lanes, input, hidden, vocabulary) = (5, 3, 7, 6, 11);
    let rows = steps * lanes;
    let (table, weighting_table) = (matrix(vocabulary, input), matrix(rows, input));
    let (keyboard, x, weighting) = (matrix(88, input), matrix(rows, input), matrix(rows, hidden));
    let (w_ih, w_hh, bias) = (
        matrix(4 * hidden, input),
        matrix(4 * hidden, hidden),
        matrix(1, 4 * hidden),
    );
    let state = LayerState {
        h: matrix(lanes, hidden),
        c: matrix(lanes, hidden),
    };
    let (h, weight, offset) = (
        matrix(rows, hidden),
        matrix(vocabulary, hidden),
        matrix(1, vocabulary),
    );
    let (key_weight, key_offset) = (matrix(88, hidden), matrix(1, 88));
    // Repeated rows, and one of no token.
    let ids: Vec<u32> = (0..rows as u32)
        .map(|k| if k == 4 { NO_TOKEN } else { k * k % 11 })
        .collect();
    let chords = keys(&mut random::stream(7, "chords"), rows);
    let targets: Vec<u32> = (0..rows as u32).map(|k| k * 3 % 11).collect();

    let rows_read = D::gather(runtime, table.leaky_trace(), &ids);
    found.push(("gather", rows_read.as_vec()));
    let gradients = (rows_read * weighting_table.clone())
        .sum::<Rank0, _>()
        .backward();
    found.push(("gather, d table", gradients.get(&table).as_vec()));

    let sums = D::sum_keys(runtime, keyboard.leaky_trace(), &chords);
    found.push(("sum_keys", sums.as_vec()));
    let gradients = (sums * weighting_table).sum::<Rank0, _>().backward();
    found.push(("sum_keys, d table", gradients.get(&keyboard).as_vec()));

    let mut mask = random::stream(7, "mask");
    let dropped = D::dropout(runtime, x.leaky_trace(), 0.3, &mut mask);
    found.push(("dropout", dropped.as_vec()));
    let gradients = dropped.square().sum::<Rank0, _>().backward();
    found.push(("dropout, d x", gradients.get(&x).as_vec()));

    let weights = Weights {
        w_ih: &w_ih,
        w_hh: &w_hh,
        bias: &bias,
    };
    let (outputs, next) = D::lstm(runtime, x.leaky_trace(), &weights, &state);
    found.push(("lstm", outputs.as_vec()));
    found.push(("lstm, next h", next.h.as_vec()));
    found.push(("lstm, next c", next.c.as_vec()));
    let gradients = (outputs * weighting).sum::<Rank0, _>().backward();
    for (name, tensor) in [
        ("lstm, d x", &x),
        ("lstm, d w_ih", &w_ih),
        ("lstm, d w_hh", &w_hh),
        ("lstm, d bias", &bias),
    ] {
        found.push((name, gradients.get(tensor).as_vec()));
    }

    // Twice into the same container: the gradients of the weights are replaced, not added to.
    let mut gradients = Gradients::leaky();
    D::softmax_loss(
        runtime,
        h.leaky_trace(),
        &weight,
        &offset,
        &ids_below(&targets, 5),
        &mut gradients,
    );
    let loss = D::softmax_loss(
        runtime,
        h.leaky_trace(),
        &weight,
        &offset,
        &targets,
        &mut gradients,
    );
    found.push(("softmax_loss", loss.as_vec()));
    found.push(("softmax_loss, d weight", gradients.get(&weight).as_vec()));
    found.push(("softmax_loss, d bias", gradients.get(&offset).as_vec()));
    found.push(("softmax_loss, d h", loss.backward().get(&h).as_vec()));
    let chosen: Vec<u32> = vec![14, 2, 3];
    let large = weight.clone() * 100.0; // Their exponentials are beyond f32.
    let nll = D::softmax_nll(runtime, h.clone(), &chosen, &large, &offset, &[1, 0, 10]);
    found.push(("softmax_nll of large logits", nll));
    let nll = D::softmax_nll(runtime, h.clone(), &chosen, &weight, &offset, &[1, 0, 10]);
    found.push(("softmax_nll", nll));
    found.push(("logits", D::logits(runtime, &h, &weight, &offset)));

    let mut gradients = Gradients::leaky();
    let loss = D::sigmoid_loss(
        runtime,
        h.leaky_trace(),
        &key_weight,
        &key_offset,
        &chords,
        &mut gradients,
    );
    found.push(("sigmoid_loss", loss.as_vec()));
    found.push((
        "sigmoid_loss, d weight",
        gradients.get(&key_weight).as_vec(),
    ));
    found.push(("sigmoid_loss, d bias", gradients.get(&key_offset).as_vec()));
    found.push(("sigmoid_loss, d h", loss.backward().get(&h).as_vec()));
    found
}

fn ids_below(ids: &[u32], limit: u32) -> Vec<u32> {
    ids.iter().map(|id| id % limit).collect()
}

#[test]
fn every_operation_has_the_results_and_gradients_of_the_cpu() {
    let device = Device::open();
    let expected = operations(&Runtime::composed());
    for runtime in device.forms() {
        for ((name, found), (_, expected)) in operations(runtime).iter().zip(&expected) {
            let what = format!("{name} ({:?})", runtime.kernels);
            assert_close(&what, found, expected, 2e-6);
        }
    }
}

/// A network of one of the paper's experiments, its widths and its window made small.
struct Setup {
    config: ModelConfig,
    optimizer: OptimizerConfig,
    rate: f64,
    vocabulary: usize,
    lanes: usize,
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
            lanes: experiment.training.batch_size / 10,
            length: experiment.training.sequence_length / 5,
        }
    }

    fn network<D: Backend>(&self, runtime: Runtime<D>) -> Network<D> {
        let mut rng = random::stream(5, "model");
        Network::new(&self.config, self.vocabulary, runtime, &mut rng).unwrap()
    }

    /// The window of one step: three take turns, so that there is something to learn.
    fn window(&self, step: usize) -> Batch {
        let mut rng = random::stream(step as u64 % 3, "window");
        let count = self.lanes * self.length;
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
            lanes: self.lanes,
            length: self.length,
        }
    }
}

/// A network in training, as far as a checkpoint holds it.
struct Training<D: Backend> {
    network: Network<D>,
    optimizer: Optimizer<D>,
    state: State<D>,
}

impl<D: Backend> Training<D> {
    fn new(setup: &Setup, runtime: Runtime<D>) -> Self {
        let network = setup.network(runtime);
        let optimizer = Optimizer::new(&setup.optimizer, &network).unwrap();
        let state = network.zero_state(setup.lanes);
        Self {
            network,
            optimizer,
            state,
        }
    }

    /// The loss and the gradients' norm of each of `steps`.
    fn train(&mut self, setup: &Setup, steps: std::ops::Range<usize>) -> Vec<f32> {
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

    fn resume(setup: &Setup, runtime: Runtime<D>, arrays: &[Array], steps: u64) -> Self {
        let mut training = Self::new(setup, runtime);
        training.network.parameters_mut().load(arrays).unwrap();
        training
            .optimizer
            .load(&training.network, arrays, steps)
            .unwrap();
        training.state.load(arrays).unwrap();
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
        let mut state = self.network.zero_state(setup.lanes);
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

#[test]
fn every_experiment_s_model_trains_evaluates_and_generates_as_on_the_cpu() {
    const STEPS: usize = 30;
    let device = Device::open();
    for (name, vocabulary) in EXPERIMENTS {
        let setup = Setup::of(name, vocabulary);
        let mut expected = Training::new(&setup, cpu());
        let losses = expected.train(&setup, 0..STEPS);
        assert!(
            losses[2 * STEPS - 2] < 0.99 * losses[0],
            "{name} learns nothing on the CPU, so that nothing is compared"
        );
        let evaluation = expected.evaluate(&setup);
        let (drawn, logits) = expected.generate(12);
        for runtime in device.forms() {
            let what = format!("{name} ({:?})", runtime.kernels);
            let mut found = Training::new(&setup, runtime.clone());
            assert_close(&what, &found.train(&setup, 0..STEPS), &losses, 1e-4);
            assert_arrays_close(&what, &found.checkpoint(), &expected.checkpoint(), 2e-3);
            let scored = found.evaluate(&setup);
            assert_close(&what, &scored.nll, &evaluation.nll, 1e-4);
            assert_eq!(scored.predicted, evaluation.predicted, "{what}");
            let generated = found.generate(12);
            assert_eq!(generated.0, drawn, "{what}");
            assert_close(&what, &generated.1, &logits, 1e-3);
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
fn the_head_of_truncated_classical_agrees_in_tiles() {
    let device = Device::open();
    let (vocabulary, hidden) = (132_437, 4);
    let positions = tile_rows(vocabulary) + 3; // a whole tile, and another
    let mut rng = random::stream(7, "head");
    let values =
        [positions * hidden, vocabulary * hidden, vocabulary].map(|n| uniform(&mut rng, n));
    let target = |_| rng.gen_range(0..vocabulary as u32);
    let targets: Vec<u32> = (0..positions).map(target).collect();
    let found = head(&device.own, hidden, &values, &targets);
    let expected = head(&cpu(), hidden, &values, &targets);
    for ((name, found), expected) in ["loss", "d weight", "d bias", "d h", "nll"]
        .iter()
        .zip(&found)
        .zip(&expected)
    {
        assert_close(name, found, expected, 1e-5);
    }
}

/// Loss, gradients and likelihoods of a head.
fn head<D: Backend>(
    runtime: &Runtime<D>,
    hidden: usize,
    [h, weight, bias]: &[Vec<f32>; 3],
    targets: &[u32],
) -> Vec<Vec<f32>> {
    let matrix = |values: &Vec<f32>, shape| -> Matrix<D> {
        runtime.device.tensor_from_vec(values.clone(), shape)
    };
    let (positions, vocabulary) = (targets.len(), bias.len());
    let h = matrix(h, (positions, hidden));
    let weight = matrix(weight, (vocabulary, hidden));
    let bias = matrix(bias, (1, vocabulary));
    let mut gradients = Gradients::leaky();
    let loss = D::softmax_loss(
        runtime,
        h.leaky_trace(),
        &weight,
        &bias,
        targets,
        &mut gradients,
    );
    let value = loss.as_vec();
    let dh = loss.backward().get(&h).as_vec();
    let rows: Vec<u32> = (0..positions as u32).collect();
    let nll = D::softmax_nll(runtime, h, &rows, &weight, &bias, targets);
    vec![
        value,
        gradients.get(&weight).as_vec(),
        gradients.get(&bias).as_vec(),
        dh,
        nll,
    ]
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
            let mut expected = Training::new(&setup, cpu());
            let losses = expected.train(&setup, 0..3);
            for runtime in device.forms() {
                let what = format!("{kind:?}, clipped to {clip_norm:?} ({:?})", runtime.kernels);
                let mut found = Training::new(&setup, runtime.clone());
                assert_close(&what, &found.train(&setup, 0..3), &losses, 1e-5);
                assert_arrays_close(&what, &found.checkpoint(), &expected.checkpoint(), 1e-3);
            }
        }
    }
}

#[test]
fn a_span_is_the_memory_of_its_tensor_and_ends_with_it() {
    let device = Device::open();
    let tensor: Matrix<Cuda> = device
        .own
        .device
        .tensor_from_vec(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2, 3));
    let copy: Matrix<Cuda> = device.own.device.zeros_like(&(2, 2));
    let kernels = device.own.kernels.get().unwrap();
    kernels.copy(Span::of(&tensor).part(1..5), Span::of(&copy));
    assert_eq!(copy.as_vec(), [2.0, 3.0, 4.0, 5.0]);
    let whole = Span::of(&tensor);
    let short = std::panic::catch_unwind(|| whole.part(3..7));
    assert!(short.is_err(), "a part beyond the end");
    for view in [
        tensor.permute::<(usize, usize), Axes2<1, 0>>(),
        device.own.device.zeros().broadcast_like(&(2, 3)),
    ] {
        let span = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Span::of(&view)));
        assert!(span.is_err(), "a view that is not contiguous");
    }
}
