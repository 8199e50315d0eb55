//! `harness generate RUN`: music from a trained model.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::machine::MachineArgs;
use crate::corpus::archive::MEMBER;
use crate::corpus::midi;
use crate::ensure_usage;
use crate::execute::Trained;
use crate::exit_code::OrUsage;
use crate::run::{Store, ensure_outside_of_runs, read_regular, write_atomically};
use crate::tell;

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
    #[arg(long, allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Draw only from this many of the likeliest tokens [default: the experiment's]
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    top_k: Option<i64>,
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
    let top_k = args.check_drawing()?;
    let output = args.output.display();
    ensure_usage!(
        args.output.is_file() || !args.output.exists(),
        "'{output}' is no file that could be replaced: name another"
    );
    ensure_usage!(
        args.force || !args.output.exists(),
        "'{output}' is there already: name another file, or give --force to replace it"
    );
    super::ensure_folder_of(&args.output)?;
    ensure_outside_of_runs(&args.output)?;
    let ending = args.output.extension().map(|it| it.to_ascii_lowercase());
    ensure_usage!(
        ending.is_none_or(|it| it == "mid" || it == "midi"),
        "'{output}' does not end in .mid, and generate writes MIDI: '{}' would work",
        args.output.with_extension("mid").display()
    );
    let stored = Store::here().find(&args.run)?;
    let trained = Trained::load(&stored)?;
    let mut samples = trained.experiment.samples.clone();
    samples.temperature = args.temperature.unwrap_or(samples.temperature);
    samples.top_k = top_k.or(samples.top_k);
    samples.length = args.length.unwrap_or(samples.length);
    samples.validate().or_usage()?;
    let primer = match &args.primer {
        None => None,
        Some(path) => {
            let bytes = read_regular(path, MEMBER)
                .with_context(|| format!("failed to read primer '{}'", path.display()))
                .or_usage()?;
            let reading = midi::read(&bytes);
            let why = reading
                .remarks
                .first()
                .map_or("", |remark| remark.what.as_str());
            ensure_usage!(
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
        tell!(
            "{} of the primer's symbols are not in the model's vocabulary and were read as silence",
            music.unknown_symbols
        );
    }
    let written = midi::write(&music.score);
    write_atomically(&args.output, &written.bytes)?;
    tell!(
        "wrote {} ({} notes)",
        args.output.display(),
        written.score.notes().len()
    );
    if written.closed_at_end > 0 {
        tell!(
            "{} of the notes had no end and end with the piece",
            written.closed_at_end
        );
    }
    if written.without_duration > 0 {
        tell!(
            "{} more notes ended where they started and were left out",
            written.without_duration
        );
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Checks how symbols are to be drawn, in the words of the arguments, and returns how many of the likeliest are drawn from.
    fn check_drawing(&self) -> Result<Option<usize>> {
        if let Some(temperature) = self.temperature {
            ensure_usage!(
                temperature.is_finite() && temperature >= 0.0,
                "--temperature is {temperature}: it must be at least 0, where 1 draws as the model learned and 0 always takes the likeliest"
            );
        }
        let Some(wanted) = self.top_k else {
            return Ok(None);
        };
        let top_k = usize::try_from(wanted).unwrap_or_default();
        ensure_usage!(
            top_k > 0,
            "--top-k is {wanted}: it must be at least 1, to draw from at least one token; leave it out to draw from all"
        );
        Ok(Some(top_k))
    }
}
