//! Times one training step, or generation token by token, in the shapes of the paper's experiments; prints one JSON line.
//!
//! ```text
//! cargo bench --bench training_step -- MODEL [--device cpu|cuda] [--dtype f32|bf16] [--threads N] [--composed]
//! ```
//!
//! A step is loss, gradients and an update by Adam over one window, with the state carried to the next. Data are random and fixed.
//! Times are medians. On a shared machine each step also records how long its threads waited for a CPU: steps that waited more than
//! `--quiet` of their time are repeated until enough quiet ones are there, or `--max-seconds` are over (then `"noisy": true`).

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use harness::batch::{Batch, Symbols};
use harness::device::{Device, DeviceChoice};
use harness::execute::{Job, Machine};
use harness::kernel::{KernelPath, Precision};
use harness::model::backend::cpu::caching_cpu;
use harness::model::backend::{Backend, Reference};
use harness::model::sampling::Sampling;
use harness::model::{ModelConfig, ModelKind, Network};
use harness::random;
use harness::training::data::alphabet;
use harness::training::optimizer::{Optimizer, OptimizerConfig};
use rand::Rng;
use std::path::Path;
use std::time::{Duration, Instant};

/// Times one training step, or generation.
#[derive(Parser)]
struct Arguments {
    /// Which shapes.
    model: Model,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Arithmetic of the products.
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// Threads, the main one included.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// The reference composed of dfdx operations, in place of the fused kernels.
    #[arg(long)]
    composed: bool,
    /// Quiet steps to take the median of.
    #[arg(long, default_value_t = 15)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Share of time that the threads of a quiet step may wait for a CPU.
    #[arg(long, default_value_t = 0.03)]
    quiet: f64,
    /// Time after which steps that were not quiet count too.
    #[arg(long, default_value_t = 90.0)]
    max_seconds: f64,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Model {
    Bach,
    Classical,
    Muse,
    MuseTruncated,
    Sigmoid,
    Generate,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
}

impl Model {
    /// Vocabulary, sequences, time steps.
    fn shape(self) -> (usize, usize, usize) {
        match self {
            Self::Bach => (35_509, 50, 50),
            Self::Classical => (132_437, 25, 25),
            Self::Muse => (39_289, 50, 50),
            Self::MuseTruncated => (21_510, 50, 50),
            Self::Sigmoid => (88, 50, 50),
            Self::Generate => (35_509, 1, 500),
        }
    }
}

/// One timed step.
#[derive(Clone, Copy)]
struct Sample {
    wall: f64,
    cpu: f64,
    wait_share: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (_, batch_size, length) = arguments.model.shape();
    let kind = if arguments.model == Model::Sigmoid {
        ModelKind::Sigmoid
    } else {
        ModelKind::Token
    };
    let precision = match arguments.dtype {
        Dtype::F32 => Precision::F32,
        Dtype::Bf16 => Precision::Bf16,
    };
    let (device, notice) = arguments.device.resolve()?;
    if let Some(notice) = &notice {
        eprintln!("{notice}");
    }
    let machine = Machine {
        device,
        kernel_path: KernelPath::detect(),
        threads: arguments.threads,
        notice,
    };
    let device = &machine.device;
    let measurement = Measurement {
        arguments: &arguments,
        kind,
    };
    let (samples, noisy) = match (device, arguments.composed) {
        (_, false) => machine.run(precision, measurement)?,
        (Device::Cpu, true) => measurement.on(Reference(caching_cpu()))?,
        #[cfg(feature = "cuda")]
        (Device::Cuda(gpu), true) => {
            measurement.on(Reference(harness::model::backend::cuda::device(gpu.index)?))?
        }
    };
    let milliseconds = median(&samples, |sample| sample.wall) * 1e3;
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_string())
    };
    let line = serde_json::json!({
        "device": device.to_string(),
        "emulated": device.is_emulated(),
        "hardware": device.hardware(),
        "model": name(arguments.model.to_possible_value()),
        "dtype": name(arguments.dtype.to_possible_value()),
        "threads": arguments.threads,
        "tokens_per_s": rounded((batch_size * length) as f64 / milliseconds * 1e3),
        "ms_per_step": rounded(milliseconds),
        "cpu_ms": rounded(median(&samples, |sample| sample.cpu) * 1e3),
        "peak_rss_mb": rounded(peak_rss_mb()?),
        "composed": arguments.composed,
        "steps": samples.len(),
        "wait_share": median(&samples, |sample| sample.wait_share),
        "noisy": noisy,
    });
    println!("{line}");
    Ok(())
}

/// What is to be timed.
struct Measurement<'a> {
    arguments: &'a Arguments,
    kind: ModelKind,
}

impl Job for Measurement<'_> {
    /// The samples, and whether they are noisy.
    type Output = (Vec<Sample>, bool);

    fn on<B: Backend>(self, backend: B) -> Result<Self::Output> {
        let Self { arguments, kind } = self;
        let (vocabulary, batch_size, length) = arguments.model.shape();
        let config = ModelConfig {
            kind,
            ..ModelConfig::default()
        };
        let mut rng = random::stream(1, "model");
        let mut network = Network::new(&config, alphabet(kind, vocabulary), backend, &mut rng)?;
        match arguments.model {
            Model::Generate => generation(arguments, &network, length),
            _ => {
                let batch = random_batch(kind, vocabulary, batch_size, length);
                training(arguments, &mut network, batch)
            }
        }
    }
}

fn random_batch(kind: ModelKind, vocabulary: usize, batch_size: usize, length: usize) -> Batch {
    let mut rng = random::stream(1, "data");
    let mut symbols = || match kind {
        ModelKind::Token => Symbols::Tokens(
            (0..batch_size * length)
                .map(|_| rng.gen_range(0..vocabulary as u32))
                .collect(),
        ),
        ModelKind::Sigmoid => {
            let mut keys = || {
                (21..=108)
                    .filter(|_| rng.gen_bool(0.05))
                    .map(|pitch| 1u128 << pitch)
                    .sum()
            };
            Symbols::Keys((0..batch_size * length).map(|_| keys()).collect())
        }
    };
    Batch {
        inputs: symbols(),
        targets: symbols(),
        batch_size,
        length,
    }
}

fn training<B: Backend>(
    arguments: &Arguments,
    network: &mut Network<B>,
    batch: Batch,
) -> Result<(Vec<Sample>, bool)> {
    let config = OptimizerConfig {
        clip_norm: None,
        ..OptimizerConfig::default()
    };
    let mut optimizer = Optimizer::new(&config, network)?;
    let mut state = network.zero_state(batch.batch_size);
    let mut rng = random::stream(1, "dropout");
    sample(arguments, || {
        network.loss_and_gradients(&batch, &mut state, &mut rng)?;
        optimizer.update(network, 1e-3)?;
        Ok(())
    })
}

fn generation<B: Backend>(
    arguments: &Arguments,
    network: &Network<B>,
    length: usize,
) -> Result<(Vec<Sample>, bool)> {
    let mut rng = random::stream(1, "generate");
    let mut generator = network.generator(1);
    let mut token = Symbols::Tokens(vec![0]);
    sample(arguments, || {
        for _ in 0..length {
            generator.read(&token)?;
            token = generator.draw(Sampling::default(), &mut rng);
        }
        Ok(())
    })
}

/// Runs `step` until enough quiet samples are there; `true` where others had to be taken too.
fn sample(
    arguments: &Arguments,
    mut step: impl FnMut() -> Result<()>,
) -> Result<(Vec<Sample>, bool)> {
    for _ in 0..arguments.warmup {
        step()?;
    }
    let begin = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    loop {
        let (cpu, wait) = running_and_waiting()?;
        let start = Instant::now();
        step()?;
        let wall = start.elapsed().as_secs_f64();
        let (cpu_after, wait_after) = running_and_waiting()?;
        let wait_share = (wait_after - wait).as_secs_f64() / (wall * arguments.threads as f64);
        samples.push(Sample {
            wall,
            cpu: (cpu_after - cpu).as_secs_f64(),
            wait_share,
        });
        let quiet: Vec<Sample> = samples
            .iter()
            .copied()
            .filter(|sample| sample.wait_share <= arguments.quiet)
            .collect();
        if quiet.len() >= arguments.steps {
            return Ok((quiet, false));
        }
        if begin.elapsed().as_secs_f64() > arguments.max_seconds && samples.len() >= arguments.steps
        {
            samples.sort_by(|a, b| a.wait_share.total_cmp(&b.wait_share));
            samples.truncate(arguments.steps);
            return Ok((samples, true));
        }
    }
}

/// How long all threads of this process have run on a CPU, and waited for one.
fn running_and_waiting() -> Result<(Duration, Duration)> {
    let mut sums = [0, 0];
    for task in Path::new("/proc/self/task")
        .read_dir()
        .context("failed to list this process's threads")?
    {
        // A thread may end while we read.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        for (sum, field) in sums.iter_mut().zip(text.split_whitespace()) {
            *sum += field.parse::<u64>()?;
        }
    }
    let [running, waiting] = sums.map(Duration::from_nanos);
    Ok((running, waiting))
}

/// The most memory that this process ever had in RAM, by the operating system's count.
fn peak_rss_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM in /proc/self/status")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
