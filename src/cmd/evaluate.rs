//! `harness evaluate RUN`: score a finished run's model again, and export what it predicted.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::best_on_valid;
use super::machine::{MachineArgs, interruption};
use crate::corpus::split::Split;
use crate::encoding::EncodingKind;
use crate::ensure_usage;
use crate::execute::score;
use crate::experiment::Experiment;
use crate::metric::metric;
use crate::number::grouped;
use crate::run::{Metrics, Store, ensure_outside_of_runs, write_atomically};
use crate::tell;
use crate::text_table::{aligned, print};

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run whose final weights are scored
    run: String,
    /// The part of the corpus: train, valid or test
    #[arg(long, default_value = "test")]
    split: Split,
    /// Write every prediction to this Parquet file: piece, step, symbol, probability, and of a sigmoid model that of each key
    #[arg(short, long, value_name = "OUT.parquet")]
    output: Option<PathBuf>,
    /// Replace OUT.parquet if it is there
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Scores.
pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(output) = args.output.as_deref() {
        super::ensure_folder_of(output)?;
        ensure_usage!(
            !output.exists() || args.force && output.is_file(),
            "'{}' is there already: name another file, or give --force to replace a file",
            output.display()
        );
        ensure_outside_of_runs(output)?;
    }
    let stored = Store::here().find(&args.run)?;
    let recorded = stored.metrics()?;
    let machine = args.machine.resolve()?;
    let scored = score(&stored, machine, args.split, interruption()?.as_ref())?;
    ensure_usage!(
        scored.steps > 0,
        "the {} split of run {} holds nothing",
        args.split.name(),
        stored.id
    );
    if let Some(output) = &args.output {
        write_atomically(output, &scored.predictions.to_parquet()?)?;
        tell!("wrote {} predictions to {}", scored.steps, output.display());
    }
    let found = [
        ("loss", scored.score.loss),
        ("perplexity", scored.score.loss.exp()),
        ("nll_per_step", scored.score.nll_per_step),
        ("frame_accuracy", scored.score.frame_accuracy),
    ];
    let experiment = Experiment::parse(&stored.experiment_yaml()?, &[])?;
    let counted = match experiment.encoding.kind {
        EncodingKind::MidiMessage => "tokens",
        EncodingKind::Chord | EncodingKind::MultiHot => "time steps",
    };
    let mut rows = Vec::new();
    let mut metrics = Map::new();
    for (name, value) in found {
        // What a run logs of its held-out pieces says which numbers its model has.
        if recorded.series("valid", name)?.is_empty() && recorded.series("test", name)?.is_empty() {
            continue;
        }
        let before = recorded_value(&recorded, args.split, name)?;
        metrics.insert(
            name.to_owned(),
            json!({ "value": value, "recorded": before }),
        );
        rows.push(vec![
            format!("{}/{name}", args.split.name()),
            value.to_string(),
            before.map_or_else(|| "–".to_owned(), |value| value.to_string()),
            metric(name).unit.to_string(),
        ]);
    }
    print(&match args.json {
        true => format!(
            "{}\n",
            json!({
                "id": stored.id,
                "split": args.split.name(),
                "pieces": scored.pieces,
                "steps": scored.steps,
                "counted": counted,
                "metrics": Value::Object(metrics),
            })
        ),
        false => format!(
            "{} pieces, {} {counted}\n{}",
            grouped(scored.pieces as u64),
            grouped(scored.steps as u64),
            aligned(&["metric", "again", "in the record", "unit"], &rows)
        ),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the run measured with the weights that it kept, which are the best on the valid split; nothing on the train split, whose
/// pieces it never scored.
fn recorded_value(recorded: &Metrics, split: Split, name: &str) -> Result<Option<f64>> {
    let values = recorded.series(split.name(), name)?;
    let best = best_on_valid(recorded)?;
    let point = match split {
        Split::Train => None,
        Split::Valid => {
            best.and_then(|(_, best)| values.iter().find(|point| point.step == best.step))
        }
        Split::Test => values.last(),
    };
    Ok(point.map(|point| point.value))
}
