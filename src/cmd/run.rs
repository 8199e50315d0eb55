//! `harness run EXPERIMENT.yaml`: one experiment from its corpus to its finished record.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};

use super::machine::{MachineArgs, Stretch, Watch, interruption};
use super::{INTERRUPTED, RunFailed};
use crate::corpus::catalogue;
use crate::execute::{Machine, Material, execute, expected_vocabulary, footprint};
use crate::experiment::{self, Experiment};
use crate::report::{OWN_PAGE, write_run_page};
use crate::run::{Checkpoint, NewRun, Run, Store, StoredRun, ensure_is_name};
use crate::tell;
use crate::text_table::print;
use crate::training::{Ending, Progress};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment: its file, or the name of one in experiments/, such as quickstart
    experiment: PathBuf,
    /// Replace one value: -S training.epochs=3
    #[arg(short = 'S', long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Print the resolved experiment and what would run, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The same path in seconds: at most 20 steps, 8 pieces a split, few samples; the numbers mean nothing
    #[arg(long)]
    smoke: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = experiment::find(&args.experiment)?;
    let mut experiment = Experiment::load(&path, &args.overrides)?;
    if args.smoke {
        experiment = experiment.smoke();
    }
    let machine = args.machine.resolve()?;
    machine.check(&experiment, args.smoke)?;
    if args.dry_run {
        print(&experiment.to_yaml())?;
        tell!("{}", plan(&experiment, &machine).trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let name = path
        .file_stem()
        .context("an experiment is named by its file")?;
    let (store, name) = (Store::here(), name.to_string_lossy().into_owned());
    ensure_is_name(&name)?;
    // Before there is a run: one that could not begin would be no use to anybody.
    let material = Material::read(&experiment, &machine, args.smoke)?;
    let run = store.create(NewRun {
        experiment: name,
        resolved: experiment.to_yaml(),
        seed: experiment.training.seed,
        smoke: args.smoke,
        environment: machine.environment(&experiment),
        command: std::env::args().skip(1).collect(),
        concluded_at: None,
    })?;
    conduct(&experiment, machine, Some(material), run, None).map(exit)
}

/// What would run, in words.
fn plan(experiment: &Experiment, machine: &Machine) -> String {
    let corpus = match catalogue::find(&experiment.corpus) {
        Some(entry) => format!(
            "{} ({} pieces, {} tokens in all)",
            entry.title, entry.counts["all"].pieces, entry.counts["all"].tokens
        ),
        None => format!("the files of '{}'", experiment.corpus),
    };
    let environment = machine.environment(experiment);
    let memory = match expected_vocabulary(experiment) {
        Some(vocabulary) => footprint(experiment, vocabulary).to_string(),
        None => "known when the corpus has been read".to_owned(),
    };
    format!(
        "would train on: {corpus}\n\
         for {} epochs in windows of {} x {}\n\
         on {} ({} kernels, {} threads, {})\n\
         memory of a CUDA device: {memory}\n",
        experiment.training.epochs,
        experiment.training.batch_size,
        experiment.training.sequence_length,
        environment.device_in_words(),
        environment.kernel_path,
        environment.threads,
        environment.precision,
    )
}

/// Executes a run that has been made or taken up, shows its progress, and ends its record as it ended. What it is made of is read now
/// where that was not done.
pub fn conduct(
    experiment: &Experiment,
    machine: Machine,
    material: Option<Material>,
    run: Run,
    checkpoint: Option<Checkpoint>,
) -> Result<Ending> {
    let stretch = Stretch {
        machine,
        until: None,
    };
    conduct_in_stretches(experiment, vec![stretch], material, run, checkpoint)
}

/// The same on several machines, one after the other.
pub fn conduct_in_stretches(
    experiment: &Experiment,
    stretches: Vec<Stretch>,
    mut material: Option<Material>,
    mut run: Run,
    mut checkpoint: Option<Checkpoint>,
) -> Result<Ending> {
    let interrupted = interruption()?;
    tell!("run {} in {}", run.id(), run.path().display());
    let mut watch = Watch::new();
    let mut has_paused = false;
    for Stretch { machine, until } in stretches {
        if has_paused {
            let (folder, command) = (run.path().to_path_buf(), std::env::args().skip(1).collect());
            run.interrupt()?;
            drop(run);
            let stored = StoredRun::open(&folder, false)?;
            (run, checkpoint) = stored.resume(machine.environment(experiment), command, None)?;
        }
        let smoke = run.record().smoke;
        let read = match material.take() {
            Some(material) => Ok(material),
            None => Material::read(experiment, &machine, smoke),
        };
        has_paused = false;
        let ending = read.and_then(|read| {
            let material = material.insert(read);
            let notes = run.notes();
            let mut see = |progress: Progress| {
                if let Some(line) = watch.step(progress) {
                    // A disk that takes no line ends the run where it takes no metrics, with the reason.
                    let _ = notes.note(&line);
                }
                if until == Some(progress.step) {
                    has_paused = true;
                    interrupted.store(true, Ordering::Relaxed);
                }
            };
            let from = checkpoint.take();
            execute(
                experiment,
                machine,
                material,
                &mut run,
                from,
                &interrupted,
                &mut see,
            )
        });
        has_paused &= matches!(ending, Ok(Ending::Interrupted));
        if !has_paused {
            return conclude(&mut run, ending);
        }
        interrupted.store(false, Ordering::Relaxed);
    }
    unreachable!("the last stretch ends nowhere but at the end")
}

/// Ends the record of a run as it ended, and says so.
fn conclude(run: &mut Run, ending: Result<Ending>) -> Result<Ending> {
    let folder = run.path().display().to_string();
    match &ending {
        Ok(Ending::Complete) => {
            print(&format!("{folder}\n"))?;
            tell!("finished: open {folder}/report.html; its music is in {folder}/samples/");
        }
        Ok(Ending::Interrupted) => {
            run.interrupt()?;
            write_page_again(run);
            let id = run.id();
            match run.record().concluded_at {
                Some(_) => tell!("interrupted: `harness resume {id}` finishes it"),
                None => tell!(
                    "interrupted: `harness resume {id}` goes on from here, `harness conclude {id}` ends it here"
                ),
            }
        }
        Err(error) => {
            if let Err(unwritten) = run.fail(&format!("{error:#}")) {
                tell!("the record could not be brought up to date: {unwritten:#}");
            }
            write_page_again(run);
        }
    }
    ending.with_context(|| RunFailed {
        id: run.id().to_owned(),
    })
}

/// Writes the page of a run that stopped, if it has one already, so that it no more says that it is running.
fn write_page_again(run: &Run) {
    if !run.path().join(OWN_PAGE).is_file() {
        return;
    }
    let page = StoredRun::open(run.path(), false);
    if let Err(error) = page.and_then(|run| write_run_page(&run)) {
        tell!("the page of the run could not be written: {error:#}");
    }
}

/// How the process ends after a run that did not fail.
pub fn exit(ending: Ending) -> ExitCode {
    match ending {
        Ending::Complete => ExitCode::SUCCESS,
        Ending::Interrupted => ExitCode::from(INTERRUPTED),
    }
}
