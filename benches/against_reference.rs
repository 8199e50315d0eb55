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
use dfdx::prelude::Cpu;
use harness::batch::Stream;
use harness::corpus::{Corpus, OpenOptions};
use harness::execute::read_dataset;
use harness::experiment::Experiment;
use harness::kernel::{KernelPath, Kernels};
use harness::model::backend::{Precision, Runtime};
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
    reference: Reference,
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
enum Reference {
    Composed,
    F32,
}

/// A network with all that moves while it is trained.
struct Training<'a> {
    experiment: &'a Experiment,
    network: Network<Cpu>,
    optimizer: Optimizer<Cpu>,
    state: State<Cpu>,
    dropout: ChaCha8Rng,
}

impl<'a> Training<'a> {
    fn new(experiment: &'a Experiment, vocabulary: usize, runtime: Runtime<Cpu>) -> Result<Self> {
        let config = &experiment.training;
        let network = Network::new(
            &experiment.model,
            vocabulary,
            runtime,
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
        let kernels = Kernels::new(KernelPath::detect(), arguments.threads);
        Runtime::fused(kernels, precision)
    };
    let reference = match arguments.reference {
        Reference::Composed => Runtime::composed(),
        Reference::F32 => fused(Precision::F32),
    };
    let vocabulary = data.vocabulary_size();
    let mut ours = Training::new(&experiment, vocabulary, fused(config.precision))?;
    let mut theirs = Training::new(&experiment, vocabulary, reference)?;
    let (mut worst, mut at) = (0.0, 0);
    let mut losses = Vec::with_capacity(arguments.steps);
    for step in 0..arguments.steps {
        let [a, b] = [&mut ours, &mut theirs].map(|it| it.step(&stream, step));
        let (a, b) = (a?, b?);
        let deviation = (a - b).abs() / b.abs();
        if deviation > worst {
            (worst, at) = (deviation, step + 1);
        }
        losses.push((a, b));
    }
    let last = &losses[losses.len().saturating_sub(stream.windows())..];
    let mean = |of: fn(&(f64, f64)) -> f64| last.iter().map(of).sum::<f64>() / last.len() as f64;
    let line = serde_json::json!({
        "experiment": arguments.experiment.file_stem().map(|stem| stem.to_string_lossy()),
        "precision": config.precision.name(),
        "kernel_path": KernelPath::detect().name(),
        "vocabulary": vocabulary,
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
