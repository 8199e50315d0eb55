//! `harness conclude RUN`: end a stopped run where it stands.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::machine::MachineArgs;
use super::run::{conduct, exit};
use crate::experiment::Experiment;
use crate::run::Store;
use crate::tell;

/// Arguments of `conclude`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run, which has stopped before the end of its training
    run: String,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Concludes it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stored = Store::here().find(&args.run)?;
    let experiment = Experiment::parse(&stored.experiment_yaml()?, &[])
        .with_context(|| format!("in the record of run {}", stored.id))?;
    let machine = args.machine.resolve()?;
    machine.check(&experiment, stored.record.smoke)?;
    let command = std::env::args().skip(1).collect();
    let (run, checkpoint) = stored.conclude(machine.environment(&experiment), command)?;
    tell!(
        "ending run {} from its checkpoint of step {}",
        run.id(),
        checkpoint.step
    );
    conduct(&experiment, machine, None, run, Some(checkpoint)).map(exit)
}
