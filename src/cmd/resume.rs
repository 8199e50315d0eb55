//! `harness resume RUN`: go on where a run stopped.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::machine::MachineArgs;
use super::run::{conduct, exit};
use crate::ensure_usage;
use crate::experiment::{self, Experiment, is_fixed_by_checkpoints};
use crate::run::{RunError, SettingChange, State, Store, StoredRun, changed_settings};
use crate::tell;

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    #[command(flatten)]
    machine: MachineArgs,
    /// Go on as this experiment file says; one that changes anything is refused and the differences are printed
    #[arg(long, value_name = "EXPERIMENT.yaml")]
    experiment: Option<PathBuf>,
    /// Replace one value of the experiment: -S training.epochs=3
    #[arg(short = 'S', long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Go on with a changed experiment all the same; the record says what was changed, and from which step
    #[arg(long)]
    accept_changes: bool,
}

/// Goes on.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stored = Store::here().find(&args.run)?;
    let recorded = stored.experiment_yaml()?;
    let experiment = args.wanted(&stored, &recorded)?;
    let wanted = experiment.to_yaml();
    // Both as this harness resolves them: a default that is newer than the record is no change.
    let before = Experiment::parse(&recorded, &[])
        .with_context(|| format!("in the record of run {}", stored.id))?;
    let changes = changed_settings(&before.to_yaml(), &wanted)?;
    args.ensure_allowed(&stored, &changes)?;
    let changed = (!changes.is_empty()).then_some(wanted.as_str());
    let machine = args.machine.resolve()?;
    machine.check(&experiment, stored.record.smoke)?;
    let command = std::env::args().skip(1).collect();
    match stored.resume(machine.environment(&experiment), command, changed) {
        Ok((run, checkpoint)) => {
            let step = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
            tell!("resuming run {} from step {step}", run.id());
            conduct(&experiment, machine, None, run, checkpoint).map(exit)
        }
        Err(error) => match error.downcast_ref::<RunError>() {
            Some(RunError::Finished { .. }) => {
                tell!("run {} is finished; there is nothing to resume", stored.id);
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(error),
        },
    }
}

impl Args {
    /// The experiment to go on as: that of the record, unless the arguments say another.
    fn wanted(&self, stored: &StoredRun, recorded: &str) -> Result<Experiment> {
        let Some(path) = &self.experiment else {
            return Experiment::parse(recorded, &self.overrides)
                .with_context(|| format!("in the record of run {}", stored.id));
        };
        let experiment = Experiment::load(&experiment::find(path)?, &self.overrides)?;
        Ok(match stored.record.smoke {
            true => experiment.smoke(),
            false => experiment,
        })
    }

    /// Refuses changes that nobody accepted, and those under which a checkpoint would not mean what it did.
    fn ensure_allowed(&self, stored: &StoredRun, changes: &[SettingChange]) -> Result<()> {
        let (lasting, free): (Vec<_>, Vec<_>) = changes
            .iter()
            .partition(|change| is_fixed_by_checkpoints(&change.key));
        let list = |changes: &[&SettingChange]| -> String {
            changes
                .iter()
                .map(|change| format!("\n  {change}"))
                .collect()
        };
        ensure_usage!(
            changes.is_empty() || stored.state() != State::Finished,
            "run {} is finished and cannot go on as another experiment; `harness run` starts a new run",
            stored.id
        );
        if let Some(step) = stored.record.concluded_at {
            ensure_usage!(
                changes.is_empty(),
                "run {} is concluded at step {step} and trains no further; `harness run` starts a new run",
                stored.id
            );
        }
        ensure_usage!(
            lasting.is_empty(),
            "a checkpoint of run {} cannot go on with changes to its data, model or optimizer (`harness run` starts a new run):{}",
            stored.id,
            list(&lasting)
        );
        ensure_usage!(
            free.is_empty() || self.accept_changes,
            "the experiment is not the one that run {} records (--accept-changes goes on all the same):{}",
            stored.id,
            list(&free)
        );
        Ok(())
    }
}
