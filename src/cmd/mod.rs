//! The subcommands, one file each: wiring only.

mod completions;
mod conclude;
mod corpus;
mod diff;
mod evaluate;
mod export;
mod generate;
mod list;
mod machine;
mod metrics;
mod report;
mod reproduce;
mod resume;
mod run;
mod show;
mod verify;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::{Error, Result};
use clap::{Parser, Subcommand};

use crate::corpus::CorpusError;
use crate::ensure_usage;
use crate::exit_code::{FAILED, INTERRUPTED, USAGE, Usage};
use crate::kernel::KernelPath;
use crate::run::{CodeVersion, Metrics, Point, RunError};

/// Reproduces "Deep Learning for Music" (Huang & Wu, 2016) end to end.
#[derive(Debug, Parser)]
#[command(version, long_version = long_version(), about, after_help = NOTES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const NOTES: &str = "\
A RUN is named by its id, an unambiguous prefix of it, `latest`, or EXPERIMENT@N (the N-th newest); it is looked for in runs/, then in \
reports/records/. Tables go to standard output, progress and logs to standard error.

Exit codes: 0 ok; 1 a gate failed (report --check, diff --fail-on, reproduce); 2 usage, configuration or unknown run, or a gate that \
cannot be judged; 3 the command failed: the run, its corpus, the disk; 4 integrity; 130 interrupted.";

/// The version with all that decides a run's bits: the commit, what was built in, and the kernels that this processor gets.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let code = CodeVersion::current();
        let cuda = if cfg!(feature = "cuda") { "yes" } else { "no" };
        format!(
            "{}\ncompiler: {}, {}, profile {}\nCUDA: {cuda}\nkernels on this processor: {}",
            code.summary(),
            code.rustc,
            code.target,
            code.profile,
            KernelPath::detect().name()
        )
    });
    &TEXT
}

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
    /// Every value that a run logged, as a table or CSV
    Metrics(metrics::Args),
    /// Check every file of a run against its checksums
    Verify(verify::Args),
    /// Compare two runs, or two groups of runs: what differs, then metrics with a verdict
    Diff(diff::Args),
    /// Run a record again and say whether it comes out the same
    Reproduce(reproduce::Args),
    /// Score a trained model again, and export its predictions
    Evaluate(evaluate::Args),
    /// Follow a run that another process trains: loss, held-out score, speed, time left
    Watch(watch::Args),
    /// Write a report of all runs
    Report(report::Args),
    /// Write a run, or all published ones, in forms that other tools read; or check such a folder
    Export(export::Args),
    /// List, fetch, count or verify corpora
    Corpus(corpus::Args),
    /// Generate music from a trained model
    Generate(generate::Args),
    /// Print completions for a shell
    Completions(completions::Args),
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
            Command::Metrics(args) => metrics::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Diff(args) => diff::run(args),
            Command::Reproduce(args) => reproduce::run(args),
            Command::Evaluate(args) => evaluate::run(args),
            Command::Watch(args) => watch::run(args),
            Command::Completions(args) => completions::run(args),
            Command::Report(args) => report::run(args),
            Command::Export(args) => export::run(args),
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

/// How the process ends on `error`: as a failure, unless something in its chain says otherwise.
pub fn exit_code(error: &Error) -> ExitCode {
    ExitCode::from(code_of(error))
}

fn code_of(error: &Error) -> u8 {
    let corpus = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<CorpusError>())
        .map(CorpusError::exit_code);
    let run = || RunError::exit_code_of(error);
    let usage = || error.chain().any(|cause| cause.is::<Usage>());
    corpus
        .or_else(run)
        .or_else(|| usage().then_some(USAGE))
        .unwrap_or(FAILED)
}

/// Refuses, before anything is computed, a file to be written in a folder that is not there.
fn ensure_folder_of(output: &Path) -> Result<()> {
    let folder = output.parent().unwrap_or(Path::new(""));
    ensure_usage!(
        folder.as_os_str().is_empty() || folder.is_dir(),
        "'{}' cannot be written: there is no folder '{}'; make it first, or name a file elsewhere",
        output.display(),
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::{INTEGRITY, OrUsage};
    use crate::experiment::Experiment;
    use anyhow::{Context, anyhow};
    use std::io::{self, ErrorKind};

    #[test]
    fn only_what_is_marked_as_usage_is_and_all_else_is_a_failure() {
        let failed = |kind: ErrorKind| {
            let failed: Result<()> = Err(io::Error::from(kind)).context("failed to read 'x'");
            failed.unwrap_err()
        };
        assert_eq!(code_of(&failed(ErrorKind::NotFound)), FAILED);
        assert_eq!(code_of(&failed(ErrorKind::StorageFull)), FAILED);
        assert_eq!(code_of(&anyhow!("the optimizer diverged")), FAILED);
        let marked = Err::<(), _>(failed(ErrorKind::NotFound)).or_usage();
        let marked = marked.context("in run 1").unwrap_err();
        assert_eq!(code_of(&marked), USAGE);
        assert_eq!(
            format!("{marked:#}"),
            "in run 1: failed to read 'x': entity not found"
        );
        let lost = CorpusError::Integrity("other bytes".into());
        assert_eq!(code_of(&Error::new(lost).context("failed")), INTEGRITY);
    }

    #[test]
    fn a_setting_that_cannot_be_is_usage_even_in_a_run_that_had_begun() {
        let text = "{title: A run, corpus: counterpoint}";
        let wrong = Experiment::parse(text, &["training.epochs=0".to_owned()]);
        let wrong = wrong.with_context(|| RunFailed { id: "1".into() });
        assert_eq!(code_of(&wrong.unwrap_err()), USAGE);
        // What a record holds was not asked for by whoever names the record.
        let old = Experiment::parse("{title: A run, corpus: counterpoint, tempo: 3}", &[]);
        assert_eq!(code_of(&old.unwrap_err()), FAILED);
    }

    #[test]
    fn a_file_is_written_only_into_a_folder_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        for there in [Path::new("x.mid"), &folder.path().join("x.mid")] {
            ensure_folder_of(there).unwrap();
        }
        let error = ensure_folder_of(&folder.path().join("a/x.mid")).unwrap_err();
        assert_eq!(code_of(&error), USAGE);
    }
}
