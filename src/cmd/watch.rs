//! `harness watch RUN`: how a run goes on that another process trains.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::report::record::RunRecord;
use crate::report::text::duration;
use crate::run::{State, Store, StoredRun};
use crate::text_table::print;

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    #[arg(default_value = "latest")]
    run: String,
    /// Print one line and end
    #[arg(long)]
    once: bool,
    /// Seconds between looks at the run
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

/// Prints a line each time the run has gone on, until it stops.
///
/// # Errors
/// When there is no such run, or its record cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = Store::here().find(&args.run)?.path;
    let mut last = String::new();
    loop {
        let stored = StoredRun::open(&path, false)
            .with_context(|| format!("failed to look at '{}'", path.display()))?;
        let record = RunRecord::of(stored);
        let line = line(&record);
        if line != last {
            print(&format!("{line}\n"))?;
        }
        if args.once || record.state != State::Running {
            return Ok(ExitCode::SUCCESS);
        }
        last = line;
        sleep(Duration::from_secs(args.every));
    }
}

/// State, position, losses, speed and time left of a run, as far as its record holds them.
fn line(run: &RunRecord) -> String {
    let number = |name: &str| run.number(name);
    let record = &run.stored.record;
    let last = run.metrics.last();
    let step = last.map_or(record.step, |row| row.step);
    let epoch = last.map_or(record.epoch, |row| row.epoch);
    let mut parts = vec![format!(
        "{} {}: step {step}, epoch {epoch}",
        run.name(),
        run.state
    )];
    let epochs = number("experiment.training.epochs");
    parts[0] += &epochs.map_or(String::new(), |epochs| format!(" of {epochs}"));
    let held_out = ["valid.nll_per_step.last", "valid.loss.last"];
    let values = [
        ("batch loss", number("train.batch_loss.last"), 4),
        ("held out", held_out.iter().find_map(|name| number(name)), 4),
        ("tokens/s", number("timings.tokens_per_second.last"), 0),
    ];
    let told = values
        .iter()
        .filter_map(|(name, value, decimals)| Some(format!("{name} {:.decimals$}", (*value)?)));
    parts.extend(told);
    if run.state == State::Running {
        parts.extend(left(run, step).map(|seconds| format!("{} left", duration(seconds))));
    }
    parts.join(", ")
}

/// Seconds left, if an epoch has ended: only then is it known how many steps one has.
fn left(run: &RunRecord, step: u64) -> Option<f64> {
    let ended = run
        .metrics
        .iter()
        .rfind(|row| row.split == "train" && row.metric == "loss")?;
    let planned = run.number("experiment.training.epochs")?;
    let steps = ended.step as f64 / f64::from(ended.epoch) * planned;
    let seconds = run.stored.record.seconds();
    Some(seconds * (steps - step as f64) / step as f64)
}
