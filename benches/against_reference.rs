//! Trains one network twice on an experiment's real data, from the same first weights, and prints how far the losses part; one JSON line.
//!
//! ```text
//! cargo bench --bench against_reference -- EXPERIMENT.yaml [--reference composed|f32] [--steps N] [--threads N] [-S a.b=v]…
//! ```
//!
//! One network computes with the fused kernels in the experiment's precision. The reference is composed of dfdx's own operations (slow:
//! make the windows small), or fused in f32, which shows what `-S training.precision=bf16` costs. Each updates its own weights, so that
//! what differs at one step is carried to all that follow.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use harness::batch::Stream;
use harness::corpus::{Corpus, OpenOptions};
use harness::execute::read_dataset;
use harness::experiment::Experiment;
use harness::kernel::{KernelPath, Kernels, Precision};
use harness::model::backend::cpu::{FusedCpu, caching_cpu};
use harness::model::backend::{Backend, Reference};
use harness::model::{Network, State};
use harness::random;
use harness::training::data::Data;
use harness::training::initial_weights;
use harness::training::optimizer::Optimizer;
use rand_chacha::ChaCha8Rng;

/// Compares two trainings on the same data.
#[derive(Parser)]
struct Arguments {
    /// The experiment: its data, model and training.
    experiment: PathBuf,
    /// What the fused kernels in the experiment's precision are compared with.
    #[arg(long, default_value = "composed")]
    reference: Other,
    /// Steps of each training.
    #[arg(long, default_value_t = 200)]
    steps: usize,
    /// Threads of the fused kernels.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Sets one value of the experiment.
    #[arg(short = 'S', value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Other {
    Composed,
    F32,
}

/// A network with all that moves while it is trained.
struct Training<'a, B: Backend> {
    experiment: &'a Experiment,
    network: Network<B>,
    optimizer: Optimizer<B>,
    state: State<B::Device>,
    dropout: ChaCha8Rng,
}

impl<'a, B: Backend> Training<'a, B> {
    fn new(experiment: &'a Experiment, data: &Data, backend: B) -> Result<Self> {
        let config = &experiment.training;
        let network = Network::new(
            &experiment.model,
            data.alphabet(),
            backend,
            &mut initial_weights(config),
        )?;
        Ok(Self {
            experiment,
            optimizer: Optimizer::new(&config.optimizer(), &network)?,
            state: network.zero_state(config.batch_size),
            dropout: random::stream(config.seed, "dropout"),
            network,
        })
    }

    /// The mean loss of window `step` of the stream, which is read again and again.
    fn step(&mut self, stream: &Stream, step: usize) -> Result<f64> {
        let window = step % stream.windows();
        if window == 0 {
            self.state = self.network.zero_state(self.experiment.training.batch_size);
        }
        let batch = stream.window(window);
        let loss = self
            .network
            .loss_and_gradients(&batch, &mut self.state, &mut self.dropout)?;
        self.optimizer
            .update(&mut self.network, self.experiment.training.learning_rate)?;
        Ok(f64::from(loss))
    }
}

/// The losses of the first steps.
fn losses<B: Backend>(
    experiment: &Experiment,
    data: &Data,
    stream: &Stream,
    steps: usize,
    backend: B,
) -> Result<Vec<f64>> {
    let mut training = Training::new(experiment, data, backend)?;
    (0..steps).map(|step| training.step(stream, step)).collect()
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(
        arguments.steps > 0,
        "cannot compare 0 steps: at least 1 is needed"
    );
    let experiment = Experiment::load(&arguments.experiment, &arguments.set)?;
    let options = OpenOptions::from_environment();
    let corpus = Corpus::open(&experiment.corpus, &options)?;
    let dataset = read_dataset(&experiment, &corpus, &options, false, arguments.threads)?;
    let data = Data::new(&dataset, experiment.encoding.kind, None)?;
    let config = &experiment.training;
    let stream = Stream::new(
        data.train.clone(),
        config.batch_size,
        config.sequence_length,
    )?;
    let fused = |precision| {
        let path = KernelPath::detect();
        FusedCpu::new(Kernels::new(path, arguments.threads, precision))
    };
    let ours = losses(
        &experiment,
        &data,
        &stream,
        arguments.steps,
        fused(config.precision),
    )?;
    let theirs = match arguments.reference {
        Other::Composed => {
            let reference = Reference(caching_cpu());
            losses(&experiment, &data, &stream, arguments.steps, reference)?
        }
        Other::F32 => {
            let fused = fused(Precision::F32);
            losses(&experiment, &data, &stream, arguments.steps, fused)?
        }
    };
    let losses: Vec<(f64, f64)> = ours.into_iter().zip(theirs).collect();
    let (mut worst, mut at) = (0.0, 0);
    for (step, (a, b)) in losses.iter().enumerate() {
        let deviation = (a - b).abs() / b.abs();
        if deviation > worst {
            (worst, at) = (deviation, step + 1);
        }
    }
    let last = &losses[losses.len().saturating_sub(stream.windows())..];
    let mean = |of: fn(&(f64, f64)) -> f64| last.iter().map(of).sum::<f64>() / last.len() as f64;
    let line = serde_json::json!({
        "experiment": arguments.experiment.file_stem().map(|stem| stem.to_string_lossy()),
        "precision": config.precision.name(),
        "kernel_path": KernelPath::detect().name(),
        "vocabulary": data.vocabulary_size(),
        "batch_size": config.batch_size,
        "sequence_length": config.sequence_length,
        "steps": arguments.steps,
        "first_loss": losses[0].0,
        "last_loss": losses[losses.len() - 1].0,
        "max_relative_deviation": worst,
        "at_step": at,
        "last_relative_deviation": losses.last().map(|(a, b)| (a - b).abs() / b.abs()),
        "mean_loss_of_last_pass": [mean(|pair| pair.0), mean(|pair| pair.1)],
    });
    println!("{line}");
    Ok(())
}
