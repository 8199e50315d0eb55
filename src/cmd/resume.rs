//! `harness resume RUN`: go on where a run stopped.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::machine::MachineArgs;
use super::run::{conduct, exit};
use crate::experiment::Experiment;
use crate::run::{RunError, Store, changed_settings};

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    #[command(flatten)]
    machine: MachineArgs,
    /// Check first that the run is of this experiment file; a changed one is refused and the differences are printed
    #[arg(long, value_name = "EXPERIMENT.yaml")]
    experiment: Option<PathBuf>,
}

/// Goes on.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stored = Store::here().find(&args.run)?;
    let recorded = stored.experiment_yaml()?;
    if let Some(path) = &args.experiment {
        let now = Experiment::load(path, &[])?;
        let changes = changed_settings(&recorded, &now.to_yaml())?;
        if !changes.is_empty() {
            let list: Vec<String> = changes
                .iter()
                .map(|change| format!("\n  {change}"))
                .collect();
            bail!(
                "experiment '{}' is not the one that run {} records:{}",
                path.display(),
                stored.id,
                list.concat()
            );
        }
    }
    let experiment = Experiment::parse(&recorded, &[])
        .with_context(|| format!("in the record of run {}", stored.id))?;
    let machine = args.machine.resolve()?;
    machine.check(&experiment, stored.record.smoke)?;
    let command = std::env::args().skip(1).collect();
    match stored.resume(machine.environment(&experiment), command) {
        Ok((run, checkpoint)) => {
            let step = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
            eprintln!("resuming run {} from step {step}", run.id());
            conduct(&experiment, machine, run, checkpoint).map(exit)
        }
        Err(error) => match error.downcast_ref::<RunError>() {
            Some(RunError::Finished { .. }) => {
                eprintln!("run {} is finished; there is nothing to resume", stored.id);
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(error),
        },
    }
}
