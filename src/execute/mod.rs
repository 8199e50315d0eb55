//! A run from its experiment to its finished record: corpus, data set, training, scores, embeddings, samples, page.
//!
//! `run`, `resume`, `conclude` and `reproduce` all come through here, so that they cannot differ.

mod conclusion;
mod footprint;
mod machine;
mod samples;
mod scoring;
mod trained;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use crate::checksum::sha256;
use crate::corpus::split::{Split, assign};
use crate::corpus::{Corpus, OpenOptions};
use crate::device::Device;
use crate::encoding::cache;
use crate::encoding::dataset::{Dataset, Piece};
use crate::experiment::Experiment;
use crate::model::backend::Backend;
use crate::report;
use crate::run::{Checkpoint, CorpusIdentity, Run};
use crate::training::data::Data;
use crate::training::{Ending, Interrupted, Progress, Trainer, weights};

use footprint::ensure_fits;
pub use footprint::{expected_vocabulary, footprint};
pub use machine::{Job, Machine};
pub use scoring::{Scored, recorded_corpus, score};
pub use trained::{Music, Trained};

/// The file of a run that says what token ids mean.
const VOCABULARY: &str = "vocabulary.tsv";
/// Pieces of each split that a smoke run reads.
const SMOKE_PIECES: usize = 8;
/// Steps that a smoke run trains at most.
const SMOKE_STEPS: u64 = 20;
/// Symbols of a held-out piece that a smoke run scores at most.
const SMOKE_SYMBOLS: usize = 200;

/// Executes `experiment` into `run`, from `checkpoint` if there is one. `watch` hears of every training step.
///
/// # Errors
/// When the corpus cannot be had, training fails, or the record cannot be written. The run's status is the caller's to set.
pub fn execute(
    experiment: &Experiment,
    machine: Machine,
    run: &mut Run,
    checkpoint: Option<Checkpoint>,
    interrupted: &AtomicBool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Ending> {
    let smoke = run.record().smoke;
    let started = Instant::now();
    let options = OpenOptions::from_environment();
    let corpus = Corpus::open(&experiment.corpus, &options)?;
    let dataset = read_dataset(experiment, &corpus, &options, smoke, machine.threads)?;
    run.set_corpus(identity(&corpus, &dataset))?;
    let seconds = started.elapsed().as_secs_f64();
    run.note(&format!(
        "read corpus '{}': {} pieces, {} tokens, {} in the vocabulary, in {seconds:.1} s",
        corpus.name,
        dataset.pieces.len(),
        dataset.tokens.len(),
        dataset.vocabulary.len()
    ))?;
    if interrupted.load(Ordering::Relaxed) {
        return Ok(Ending::Interrupted);
    }
    if machine.device != Device::Cpu {
        let need = footprint(experiment, dataset.vocabulary.len());
        let note = format!("training takes of the device's memory {need}");
        eprintln!("{note}");
        run.note(&note)?;
        ensure_fits(&need, &machine.device)?;
    }
    let mut stage = Stage {
        experiment,
        corpus: &corpus,
        dataset: &dataset,
        run,
        checkpoint,
        interrupted,
        watch,
    };
    let ending = machine.run(experiment.training.precision, &mut stage);
    match ending {
        Err(error) if error.is::<Interrupted>() => {
            stage
                .run
                .note("interrupted in an evaluation, of which nothing is kept")?;
            Ok(Ending::Interrupted)
        }
        ending => ending,
    }
}

/// What stays the same whatever the device.
struct Stage<'a> {
    experiment: &'a Experiment,
    corpus: &'a Corpus,
    dataset: &'a Dataset,
    run: &'a mut Run,
    checkpoint: Option<Checkpoint>,
    interrupted: &'a AtomicBool,
    watch: &'a mut dyn FnMut(Progress),
}

impl Job for &mut Stage<'_> {
    type Output = Ending;

    /// Trains, and concludes the run.
    fn on<B: Backend>(self, backend: B) -> Result<Ending> {
        let Experiment {
            model,
            training,
            evaluation,
            ..
        } = self.experiment;
        let smoke = self.run.record().smoke;
        let data = data_of(self.experiment, self.dataset, smoke)?;
        let mut trainer = Trainer::new(
            model,
            training,
            evaluation,
            &data,
            backend,
            smoke.then_some(SMOKE_STEPS),
        )?;
        if let Some(checkpoint) = self.checkpoint.take() {
            trainer
                .restore(checkpoint)
                .context("failed to go on from the checkpoint")?;
        }
        if self.run.ends_here() && !trainer.is_complete() {
            self.run.conclude_at(trainer.step())?;
        }
        if let Some(step) = self.run.record().concluded_at {
            trainer.conclude_at(step);
        }
        self.run.note(&format!(
            "training {} parameters for {} steps, from step {}",
            trainer.network.parameters().count(),
            trainer.last_step(),
            trainer.step()
        ))?;
        if trainer.train(self.run, self.interrupted, self.watch)? == Ending::Interrupted {
            return Ok(Ending::Interrupted);
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(Ending::Interrupted);
        }
        trainer.take_best(self.run)?;
        self.run.save_final(&weights(&trainer.network))?;
        let encoding = self.experiment.encoding.build()?;
        let vocabulary = self.dataset.vocabulary.to_text(encoding.as_ref());
        self.run.write_bytes(VOCABULARY, vocabulary.as_bytes())?;
        let samples = samples::write(
            self.run,
            self.experiment,
            encoding.as_ref(),
            self.dataset,
            &data,
            &trainer.network,
        )?;
        conclusion::write(
            self.run,
            self.experiment,
            self.corpus,
            encoding.as_ref(),
            self.dataset,
            &data,
            &trainer,
            samples,
            self.interrupted,
        )?;
        self.run.finish_with(report::write_run_page)?;
        Ok(Ending::Complete)
    }
}

/// The data set as the experiment's model sees it; a smoke run scores the beginnings of held-out pieces.
fn data_of<'a>(experiment: &Experiment, dataset: &'a Dataset, smoke: bool) -> Result<Data<'a>> {
    let limit = smoke.then_some(SMOKE_SYMBOLS);
    Data::new(dataset, experiment.encoding.kind, limit)
}

/// The corpus as token ids, split as the experiment says; a smoke run reads the first pieces of each split.
pub fn read_dataset(
    experiment: &Experiment,
    corpus: &Corpus,
    options: &OpenOptions,
    smoke: bool,
    threads: usize,
) -> Result<Dataset> {
    let splits = assign(&experiment.split, corpus)?;
    let mut chosen: Vec<usize> = (0..corpus.len()).collect();
    if smoke {
        let mut left = Split::ALL.map(|_| SMOKE_PIECES);
        chosen.retain(|&piece| {
            let left = &mut left[splits[piece] as usize];
            let keep = *left > 0;
            *left = left.saturating_sub(1);
            keep
        });
    }
    let read = |index: usize| {
        let piece = chosen[index];
        Ok(Piece {
            name: corpus.source(piece).name.clone(),
            split: splits[piece],
            reading: corpus.read(piece)?,
        })
    };
    let Experiment {
        encoding,
        vocabulary,
        ..
    } = experiment;
    let build = || Dataset::build(chosen.len(), read, encoding, vocabulary, threads);
    if smoke {
        return build();
    }
    let key = cache::key(
        &corpus.fingerprint,
        &format!("{:?}", experiment.split),
        encoding,
        vocabulary,
    );
    let file = format!("{}.dataset", &sha256(key.as_bytes())[..16]);
    let (dataset, notices) =
        cache::load_or_build(&options.cache.join("encoded").join(file), &key, build)?;
    for notice in notices {
        eprintln!("{notice}");
    }
    Ok(dataset)
}

/// Exactly what was read, for the record.
fn identity(corpus: &Corpus, dataset: &Dataset) -> CorpusIdentity {
    CorpusIdentity {
        name: corpus.name.clone(),
        fingerprint: corpus.fingerprint.clone(),
        stand_in: corpus.stand_in_for.clone(),
        synthetic: corpus.synthetic,
        origin: corpus.origin.clone(),
        details: json!({
            "title": corpus.title,
            "licence": corpus.licence,
            "pieces": dataset.pieces.len(),
            "tokens": dataset.tokens.len(),
            "vocabulary": dataset.vocabulary.len(),
            "repaired": dataset.pieces.iter().filter(|piece| !piece.remarks.is_empty()).count(),
            "rejected": dataset.rejected.len(),
        }),
    }
}
