//! `harness generate RUN`: music from a trained model.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use super::machine::MachineArgs;
use crate::corpus::midi;
use crate::execute::Trained;
use crate::run::{Store, write_atomically};

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run whose final weights are used
    run: String,
    /// The MIDI file to write
    #[arg(short, long, value_name = "OUT.mid")]
    output: PathBuf,
    /// Replace OUT.mid if it is there
    #[arg(long)]
    force: bool,
    /// The seed; the same seed gives the same music
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Divides the logits: below 1 the likely becomes likelier, 0 always takes the likeliest [default: the experiment's]
    #[arg(long)]
    temperature: Option<f32>,
    /// Draw only from this many of the likeliest tokens [default: the experiment's]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Symbols to draw: note messages, or time steps [default: the experiment's]
    #[arg(long)]
    length: Option<usize>,
    /// A MIDI file that the model reads first; the music goes on from there
    #[arg(long, value_name = "FILE")]
    primer: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Generates.
pub fn run(args: &Args) -> Result<ExitCode> {
    let output = args.output.display();
    ensure!(
        args.output.is_file() || !args.output.exists(),
        "'{output}' is no file that could be replaced: name another"
    );
    ensure!(
        args.force || !args.output.exists(),
        "'{output}' is there already: name another file, or give --force to replace it"
    );
    let stored = Store::here().find(&args.run)?;
    let trained = Trained::load(&stored)?;
    let mut samples = trained.experiment.samples.clone();
    samples.temperature = args.temperature.unwrap_or(samples.temperature);
    samples.top_k = args.top_k.or(samples.top_k);
    samples.length = args.length.unwrap_or(samples.length);
    samples.validate()?;
    let primer = match &args.primer {
        None => None,
        Some(path) => {
            let bytes = std::fs::read(path)
                .with_context(|| format!("failed to read primer '{}'", path.display()))?;
            let reading = midi::read(&bytes);
            let why = reading
                .remarks
                .first()
                .map_or("", |remark| remark.what.as_str());
            ensure!(
                reading.score.is_some(),
                "primer '{}' is not readable as MIDI: {why}",
                path.display()
            );
            reading.score
        }
    };
    let music = trained.generate(
        args.machine.resolve()?,
        primer.as_ref(),
        &samples,
        args.seed,
    )?;
    if music.unknown_symbols > 0 {
        eprintln!(
            "{} of the primer's symbols are not in the model's vocabulary and were read as silence",
            music.unknown_symbols
        );
    }
    let written = midi::write(&music.score);
    write_atomically(&args.output, &written.bytes)?;
    eprintln!("wrote {output} ({} notes)", written.score.notes().len());
    if written.closed_at_end > 0 {
        eprintln!(
            "{} of the notes had no end and end with the piece",
            written.closed_at_end
        );
    }
    if written.without_duration > 0 {
        eprintln!(
            "{} more notes ended where they started and were left out",
            written.without_duration
        );
    }
    Ok(ExitCode::SUCCESS)
}
