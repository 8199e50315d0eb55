//! A finished run's model on the held-out pieces again: scores, and every single prediction, for whoever would check them.

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};

use super::machine::{Job, Machine};
use super::trained::Trained;
use super::{data_of, read_dataset};
use crate::corpus::score::LOWEST_KEY;
use crate::corpus::split::Split;
use crate::corpus::{Corpus, CorpusError, OpenOptions};
use crate::experiment::Experiment;
use crate::model::backend::Backend;
use crate::run::{StoredRun, Table, Values};
use crate::training::data::Data;
use crate::training::evaluate::{Prediction, SplitScore, evaluate};

/// One held-out split, scored.
pub struct Scored {
    /// How many pieces.
    pub pieces: usize,
    /// How many tokens or time steps; each is predicted.
    pub steps: usize,
    /// What they come to.
    pub score: SplitScore,
    /// A row for each step: `piece`, `step` (from 0), `symbol` (what happened, as the encoding writes it), `probability` (what the
    /// model gave to it before it happened; of chords with the unknown-chord rule), and for the sigmoid model `p21` to `p108`, the
    /// probability of each key. Pieces are in the order of the corpus.
    pub predictions: Table,
}

/// Scores the final weights of a finished run on `split`, as the run itself did.
///
/// # Errors
/// When the run has no weights, or its corpus cannot be had or is not the one that it read.
pub fn score(
    run: &StoredRun,
    machine: Machine,
    split: Split,
    interrupted: &AtomicBool,
) -> Result<Scored> {
    let trained = Trained::load(run)?;
    let experiment = &trained.experiment;
    let options = machine.open_options();
    let corpus = recorded_corpus(run, experiment, &options)?;
    let smoke = run.record.smoke;
    let dataset = read_dataset(experiment, &corpus, &options, smoke, machine.threads)?;
    let data = data_of(experiment, &dataset, smoke)?;
    let scoring = Scoring {
        trained: &trained,
        data: &data,
        split,
        interrupted,
    };
    machine.run(experiment.training.precision, scoring)
}

/// The corpus of a run's experiment, if it is still the one that the run read.
///
/// # Errors
/// When it is not, or cannot be had.
pub fn recorded_corpus(
    run: &StoredRun,
    experiment: &Experiment,
    options: &OpenOptions,
) -> Result<Corpus> {
    let recorded = run.record.corpus.as_ref();
    let recorded = recorded.with_context(|| format!("run {} never read its corpus", run.id))?;
    let corpus = Corpus::open(&experiment.corpus, options)?;
    if corpus.fingerprint != recorded.fingerprint {
        let (now, then) = (&corpus.fingerprint, &recorded.fingerprint);
        return Err(CorpusError::Integrity(format!(
            "corpus '{}' is not the one that run {} read: fingerprint {now} instead of {then}",
            corpus.name, run.id
        ))
        .into());
    }
    Ok(corpus)
}

/// What stays the same whatever the device.
struct Scoring<'a> {
    trained: &'a Trained,
    data: &'a Data<'a>,
    split: Split,
    interrupted: &'a AtomicBool,
}

impl Job for Scoring<'_> {
    type Output = Scored;

    fn on<B: Backend>(self, backend: B) -> Result<Scored> {
        let pieces = match self.split {
            Split::Train => &self.data.train_pieces(),
            Split::Valid => &self.data.valid,
            Split::Test => &self.data.test,
        };
        let first_rows: Vec<usize> = pieces
            .iter()
            .scan(0, |rows, piece| {
                let first = *rows;
                *rows += piece.symbols.len();
                Some(first)
            })
            .collect();
        let steps = pieces.iter().map(|piece| piece.symbols.len()).sum();
        let mut probabilities = vec![0.0; steps];
        let mut keys: Vec<Vec<f64>> = Vec::new();
        let scores = evaluate(
            &self.trained.network(backend)?,
            self.data,
            pieces,
            self.trained.experiment.evaluation.batch_size,
            self.interrupted,
            &mut |Prediction {
                      piece,
                      step,
                      nll,
                      logits,
                  }| {
                let row = first_rows[piece] + step;
                probabilities[row] = (-nll).exp();
                keys.resize_with(logits.len(), || vec![0.0; steps]);
                for (key, &logit) in keys.iter_mut().zip(logits) {
                    key[row] = 1.0 / (1.0 + (-f64::from(logit)).exp());
                }
            },
        )?;
        let (mut names, mut numbers, mut symbols) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces {
            for (step, symbol) in (0..).zip(self.data.symbols_of(piece)) {
                names.push(piece.name.clone());
                numbers.push(step);
                symbols.push(self.trained.text(symbol));
            }
        }
        let mut predictions = Table::new()
            .with("piece", names)?
            .with("step", Values::U64(numbers))?
            .with("symbol", symbols)?
            .with("probability", probabilities)?;
        for (pitch, key) in (LOWEST_KEY..).zip(keys) {
            predictions = predictions.with(&format!("p{pitch}"), key)?;
        }
        Ok(Scored {
            pieces: pieces.len(),
            steps,
            score: SplitScore::of(&scores),
            predictions,
        })
    }
}
