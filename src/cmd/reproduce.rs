//! `harness reproduce RUN`: execute a record again and say whether it comes out the same.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::machine::{MachineArgs, Stretch};
use super::run::{conduct_in_stretches, exit};
use crate::bail_usage;
use crate::diff::reproduction::{Reproduction, compare};
use crate::ensure_usage;
use crate::execute::Material;
use crate::exit_code::GATE;
use crate::experiment::Experiment;
use crate::run::{Environment, NewRun, State, Store};
use crate::tell;
use crate::text_table::print;
use crate::training::Ending;

const NOTES: &str = "\
It runs on the device and the kernel path of the record where this computer has them, unless --device or --kernel-path say others; a
record that was resumed on another path changes it at the same step again.

identical: every value and all weights have the same bits; where code, device and kernels are the same, nothing else will do.
equivalent: computed otherwise; each value up to step 30 is within its tolerance, and each outcome (the last on train, the best on valid, \
the one on test) within its noise: the range of its curve in the last quarter of the training, from 5 % to 10 % of its size.
differs: anything else, with exit code 1.";

/// Arguments of `reproduce`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
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
    let stretches = args.machine.resolve_as_recorded(&original.record)?;
    let mut runs_on = Vec::new();
    for Stretch { machine, .. } in &stretches {
        machine.check(&experiment, original.record.smoke)?;
        runs_on.push(machine.environment(&experiment));
    }
    let executions = original.record.telling_executions();
    let paths = format!(
        "recorded on {}; runs on {}",
        in_words(executions.iter().map(|it| &it.environment)),
        in_words(runs_on.iter())
    );
    tell!("{paths}");
    let first = stretches.first().expect("a run has an execution");
    let material = Material::read_again(&original, &experiment, &first.machine)?;
    let run = store.create(NewRun {
        experiment: original.record.experiment.clone(),
        resolved: experiment.to_yaml(),
        seed: original.record.seed,
        smoke: original.record.smoke,
        environment: runs_on.remove(0),
        command: std::env::args().skip(1).collect(),
        concluded_at: original.record.concluded_at,
    })?;
    let id = run.id().to_owned();
    let ending = conduct_in_stretches(&experiment, stretches, Some(material), run, None)?;
    if ending == Ending::Interrupted {
        return Ok(exit(ending));
    }
    let again = store.find(&id)?;
    let verdict = compare(&original, &expected, &again, &again.metrics()?)?;
    print(&format!("{verdict}\n{paths}\n"))?;
    Ok(match verdict {
        Reproduction::Identical { .. } | Reproduction::Equivalent { .. } => ExitCode::SUCCESS,
        Reproduction::Differs { .. } => ExitCode::from(GATE),
    })
}

/// What computed, one after the other: the kernel path of a CPU, else the device.
fn in_words<'a>(environments: impl Iterator<Item = &'a Environment>) -> String {
    let path = |it: &Environment| match it.device.as_str() {
        "cpu" => it.kernel_path.clone(),
        _ => it.device_in_words(),
    };
    let mut paths: Vec<String> = environments.map(path).collect();
    paths.dedup();
    paths.join(", then ")
}
