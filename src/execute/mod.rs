//! A run from its experiment to its finished record: corpus, data set, training, scores, embeddings, samples, page.
//!
//! `run`, `resume`, `conclude` and `reproduce` all come through here, so that they cannot differ.

mod conclusion;
mod footprint;
mod live_page;
mod machine;
mod material;
mod samples;
mod scoring;
mod trained;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::corpus::Corpus;
use crate::device::Device;
use crate::encoding::dataset::Dataset;
use crate::experiment::Experiment;
use crate::model::backend::Backend;
use crate::report;
use crate::run::{Checkpoint, Run};
use crate::tell;
use crate::training::data::Data;
use crate::training::{Ending, Interrupted, Progress, Trainer, weights};

pub use footprint::{expected_vocabulary, footprint};
use live_page::LivePage;
pub use machine::{Job, Machine};
pub use material::{Material, read_dataset};
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

/// Executes `experiment` into `run` with what was read for it, from `checkpoint` if there is one. `watch` hears of every training step.
///
/// # Errors
/// When training fails, or the record cannot be written. The run's status is the caller's to set.
pub fn execute(
    experiment: &Experiment,
    machine: Machine,
    material: &Material,
    run: &mut Run,
    checkpoint: Option<Checkpoint>,
    interrupted: &AtomicBool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Ending> {
    if let Some(notice) = &machine.notice {
        run.event(notice)?;
    }
    let Material {
        corpus,
        dataset,
        seconds,
    } = material;
    run.set_corpus(material.identity())?;
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
        tell!("{note}");
        run.note(&note)?;
    }
    let mut stage = Stage {
        experiment,
        corpus,
        dataset,
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

impl Stage<'_> {
    /// Says on the terminal and in the record that a held-out split is empty, and what follows; once, not at every resumption.
    fn tell_what_is_not_held_out(&mut self, data: &Data) -> Result<()> {
        let corpus = &self.corpus.name;
        let mut lacking = Vec::new();
        if data.valid.is_empty() {
            lacking.push(format!(
                "the valid split of '{corpus}' is empty: the last weights are kept, not the best, and nothing can stop early"
            ));
        }
        if data.test.is_empty() {
            lacking.push(format!(
                "the test split of '{corpus}' is empty: the model is scored on no piece that it was not chosen by"
            ));
        }
        for warning in lacking {
            tell!("warning: {warning}");
            if self.run.record().events.iter().all(|it| it.what != warning) {
                self.run.event(warning)?;
            }
        }
        Ok(())
    }
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
        self.tell_what_is_not_held_out(&data)?;
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
        let mut page = LivePage::of(self.run.path().to_path_buf());
        let watch = &mut |progress: Progress| {
            page.after_step(progress.valid.is_some());
            (self.watch)(progress);
        };
        if trainer.train(self.run, self.interrupted, watch)? == Ending::Interrupted {
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
