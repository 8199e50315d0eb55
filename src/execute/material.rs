//! What a run is made of: its corpus, opened, and its pieces as symbols. Read before there is a run, so that an experiment that does not
//! suit its corpus leaves none behind.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::footprint::{ensure_fits, footprint};
use super::scoring::recorded_corpus;
use super::{Machine, SMOKE_PIECES};
use crate::batch::Stream;
use crate::corpus::split::{Split, assign};
use crate::corpus::{Corpus, OpenOptions};
use crate::device::Device;
use crate::encoding::cache;
use crate::encoding::dataset::{Dataset, Piece};
use crate::exit_code::OrUsage;
use crate::experiment::Experiment;
use crate::run::{CorpusIdentity, StoredRun};
use crate::tell;

/// What a run is made of, read: from here on only training itself, the disk and the device can fail.
pub struct Material {
    pub(super) corpus: Corpus,
    pub(super) dataset: Dataset,
    /// How long reading took.
    pub(super) seconds: f64,
}

impl Material {
    /// Opens the corpus of `experiment` and reads its pieces as symbols.
    ///
    /// # Errors
    /// When the corpus cannot be had; an error of usage when it has no such split, too little to train on, or more than the device holds.
    pub fn read(experiment: &Experiment, machine: &Machine, smoke: bool) -> Result<Self> {
        let options = machine.open_options();
        let started = Instant::now();
        let corpus = Corpus::open(&experiment.corpus, &options)?;
        Self::of(corpus, experiment, machine, smoke, &options, started)
    }

    /// The same for the record of `run`, whose corpus must be the one that it read.
    ///
    /// # Errors
    /// As those of [`Material::read`], and when the corpus is another one.
    pub fn read_again(run: &StoredRun, experiment: &Experiment, machine: &Machine) -> Result<Self> {
        let options = machine.open_options();
        let started = Instant::now();
        let corpus = recorded_corpus(run, experiment, &options)?;
        let smoke = run.record.smoke;
        Self::of(corpus, experiment, machine, smoke, &options, started)
    }

    fn of(
        corpus: Corpus,
        experiment: &Experiment,
        machine: &Machine,
        smoke: bool,
        options: &OpenOptions,
        started: Instant,
    ) -> Result<Self> {
        // Asked first, since it costs nothing: reading the pieces may take minutes.
        assign(&experiment.split, &corpus).or_usage()?;
        let dataset = read_dataset(experiment, &corpus, options, smoke, machine.threads)?;
        let train = dataset.pieces_in(Split::Train);
        let steps = train.map(|piece| piece.range.len()).sum();
        let training = &experiment.training;
        Stream::windows_in(steps, training.batch_size, training.sequence_length).or_usage()?;
        if machine.device != Device::Cpu {
            let need = footprint(experiment, dataset.vocabulary.len());
            ensure_fits(&need, &machine.device).or_usage()?;
        }
        Ok(Self {
            corpus,
            dataset,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Exactly what was read, for the record.
    pub(super) fn identity(&self) -> CorpusIdentity {
        let Self {
            corpus, dataset, ..
        } = self;
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
    let entry = cache::entry(
        &options.cache,
        &corpus.fingerprint,
        &format!("{:?}", experiment.split),
        encoding,
        vocabulary,
    );
    let (dataset, notices) = cache::load_or_build(&entry.path, &entry.key, build)?;
    for notice in notices {
        tell!("{notice}");
    }
    Ok(dataset)
}
