//! `harness reproduce RUN`: execute a record again and say whether it comes out the same.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::machine::MachineArgs;
use super::run::{conduct, exit};
use crate::bail_usage;
use crate::diff::reproduction::{Reproduction, compare};
use crate::ensure_usage;
use crate::execute::recorded_corpus;
use crate::exit_code::GATE;
use crate::experiment::Experiment;
use crate::run::{NewRun, State, Store};
use crate::text_table::print;
use crate::training::Ending;

/// Arguments of `reproduce`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The finished run, or a published record
    run: String,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Executes the record as a new run, and compares.
pub fn run(args: &Args) -> Result<ExitCode> {
    let store = Store::here();
    let original = store.find(&args.run)?;
    let state = original.state();
    ensure_usage!(
        state == State::Finished,
        "run {} is not finished ({state}), and only a finished one can be compared with; `harness resume {}` goes on with it",
        original.id,
        original.id
    );
    if let Some(step) = original.record.changed_at() {
        bail_usage!(
            "run {} went on as another experiment from step {step}: only a run of one experiment can be executed again",
            original.id
        );
    }
    let expected = original
        .metrics()
        .with_context(|| format!("run {} has no metrics to compare with", original.id))?;
    let experiment = Experiment::parse(&original.experiment_yaml()?, &[])?;
    let machine = args.machine.resolve()?;
    machine.check(&experiment, original.record.smoke)?;
    drop(recorded_corpus(
        &original,
        &experiment,
        &machine.open_options(),
    )?);
    let run = store.create(NewRun {
        experiment: original.record.experiment.clone(),
        resolved: experiment.to_yaml(),
        seed: original.record.seed,
        smoke: original.record.smoke,
        environment: machine.environment(&experiment),
        command: std::env::args().skip(1).collect(),
        concluded_at: original.record.concluded_at,
    })?;
    let id = run.id().to_owned();
    let ending = conduct(&experiment, machine, run, None)?;
    if ending == Ending::Interrupted {
        return Ok(exit(ending));
    }
    let again = store.find(&id)?;
    let verdict = compare(&original, &expected, &again, &again.metrics()?)?;
    print(&format!("{verdict}\n"))?;
    Ok(match verdict {
        Reproduction::Identical { .. } | Reproduction::Equivalent { .. } => ExitCode::SUCCESS,
        Reproduction::Differs { .. } => ExitCode::from(GATE),
    })
}
