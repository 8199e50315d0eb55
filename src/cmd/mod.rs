//! The subcommands, one file each: wiring only.

mod conclude;
mod corpus;
mod diff;
mod evaluate;
mod generate;
mod list;
mod machine;
mod report;
mod reproduce;
mod resume;
mod run;
mod show;
mod verify;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::{Parser, Subcommand};

use crate::corpus::CorpusError;
use crate::execute::Unsuited;
use crate::exit_code::{FAILED, INTERRUPTED, USAGE};
use crate::run::{Metrics, Point, RunError};

/// Reproduces "Deep Learning for Music" (Huang & Wu, 2016) end to end.
#[derive(Debug, Parser)]
#[command(version, about, after_help = NOTES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const NOTES: &str = "\
A RUN is named by its id, an unambiguous prefix of it, `latest`, or EXPERIMENT@N (the N-th newest); it is looked for in runs/, then in \
reports/records/. Tables go to standard output, progress and logs to standard error.

Exit codes: 0 ok; 1 a gate failed (report --check, diff --fail-on, reproduce); 2 usage, configuration or unknown run, or a gate that \
cannot be judged; 3 the command failed: the run, its corpus, the disk; 4 integrity; 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an experiment: get the corpus, train, evaluate, sample, record
    Run(run::Args),
    /// Continue where a run stopped, bit for bit
    Resume(resume::Args),
    /// End a stopped run at its last checkpoint: score, sample and finish it without training further
    Conclude(conclude::Args),
    /// What runs there are
    List(list::Args),
    /// One run: what it is, what it measured, what it left
    Show(show::Args),
    /// Check every file of a run against its checksums
    Verify(verify::Args),
    /// Compare two runs, or two groups of runs: what differs, then metrics with a verdict
    Diff(diff::Args),
    /// Run a record again and say whether it comes out the same
    Reproduce(reproduce::Args),
    /// Score a trained model again, and export its predictions
    Evaluate(evaluate::Args),
    /// Write reports/ from the runs' records
    Report(report::Args),
    /// List, fetch, count or verify corpora
    Corpus(corpus::Args),
    /// Generate music from a trained model
    Generate(generate::Args),
}

/// The best value on the valid split of what a model is chosen by, which is nats per step where the run has them and else the loss,
/// with its name; `None` before the first evaluation, and where nothing is held out.
fn best_on_valid(metrics: &Metrics) -> Result<Option<(&'static str, Point)>> {
    for name in ["nll_per_step", "loss"] {
        let curve = metrics.series("valid", name)?.into_iter();
        let finite = curve.filter(|it| it.value.is_finite());
        // Of equal ones the first, as training keeps it.
        let best = finite.reduce(|best, it| if it.value < best.value { it } else { best });
        if let Some(best) = best {
            return Ok(Some((name, best)));
        }
    }
    Ok(None)
}

impl Cli {
    /// Runs the chosen subcommand.
    ///
    /// # Errors
    /// Whatever stopped it; [`exit_code`] says how the process should end.
    pub fn run(&self) -> Result<ExitCode> {
        match &self.command {
            Command::Run(args) => run::run(args),
            Command::Resume(args) => resume::run(args),
            Command::Conclude(args) => conclude::run(args),
            Command::List(args) => list::run(args),
            Command::Show(args) => show::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Diff(args) => diff::run(args),
            Command::Reproduce(args) => reproduce::run(args),
            Command::Evaluate(args) => evaluate::run(args),
            Command::Report(args) => report::run(args),
            Command::Corpus(args) => corpus::run(args),
            Command::Generate(args) => generate::run(args),
        }
    }
}

/// A failure of a run that had begun, whatever its cause.
#[derive(Debug)]
pub struct RunFailed {
    /// The run's id.
    pub id: String,
}

impl std::fmt::Display for RunFailed {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "run {} failed", self.id)
    }
}

/// How the process ends on `error`: as a wrong usage, unless something in its chain says otherwise.
pub fn exit_code(error: &Error) -> ExitCode {
    ExitCode::from(code_of(error))
}

fn code_of(error: &Error) -> u8 {
    let corpus = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<CorpusError>())
        .map(CorpusError::exit_code);
    let run = || RunError::exit_code_of(error);
    let unsuited = || error.downcast_ref::<Unsuited>().map(|_| USAGE);
    let failed = || error.downcast_ref::<RunFailed>().map(|_| FAILED);
    // A file that is not there was named wrongly; whatever else a disk says is no fault of the one who asked.
    let disk = || {
        error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() != ErrorKind::NotFound)
            .then_some(FAILED)
    };
    corpus
        .or_else(run)
        .or_else(unsuited)
        .or_else(failed)
        .or_else(disk)
        .unwrap_or(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::INTEGRITY;
    use anyhow::Context;

    #[test]
    fn a_wrong_name_is_usage_and_a_failing_disk_is_a_failure() {
        let of = |kind: ErrorKind| {
            let failed: Result<()> = Err(io::Error::from(kind)).context("failed to read 'x'");
            code_of(&failed.unwrap_err())
        };
        assert_eq!(of(ErrorKind::NotFound), USAGE);
        assert_eq!(of(ErrorKind::StorageFull), FAILED);
        assert_eq!(
            code_of(&anyhow::anyhow!("training.epochs must be at least 1")),
            USAGE
        );
        let lost = CorpusError::Integrity("other bytes".into());
        assert_eq!(code_of(&Error::new(lost).context("failed")), INTEGRITY);
    }
}
