//! A finished run's model, ready to generate from and to be scored: its experiment, vocabulary and weights, read from the record alone.

use anyhow::{Context, Result};

use super::machine::{Job, Machine};
use super::samples::score_of;
use crate::batch::{NO_TOKEN, Symbols};
use crate::corpus::score::Score;
use crate::encoding::vocabulary::Vocabulary;
use crate::encoding::{Encode, EncodingKind, Symbol};
use crate::experiment::Experiment;
use crate::generate::{SamplesConfig, generate};
use crate::model::Network;
use crate::model::backend::Backend;
use crate::model::parameters::Array;
use crate::random;
use crate::run::{RunError, StoredRun};
use crate::training::data::alphabet;
use crate::training::host_arrays;

/// A trained model.
pub struct Trained {
    /// The experiment that trained it.
    pub experiment: Experiment,
    encoding: Box<dyn Encode>,
    vocabulary: Vocabulary,
    weights: Vec<Array>,
}

/// What a model made.
pub struct Music {
    /// The music, without the primer.
    pub score: Score,
    /// Symbols of the primer that the model's vocabulary does not hold; they were read as silence.
    pub unknown_symbols: usize,
}

impl Trained {
    /// Reads the model of a finished run.
    ///
    /// # Errors
    /// When the run has no weights, as a run that has not finished and a published record have none.
    pub fn load(run: &StoredRun) -> Result<Self> {
        let experiment = Experiment::parse(&run.experiment_yaml()?, &[])?;
        let weights = run.final_weights()?;
        let encoding = experiment.encoding.build()?;
        let text = String::from_utf8(run.read_bytes(super::VOCABULARY)?).map_err(|error| {
            RunError::Corrupt {
                file: run.path.join(super::VOCABULARY),
                reason: error.to_string(),
            }
        })?;
        let vocabulary = Vocabulary::from_text(&text, encoding.as_ref())?;
        Ok(Self {
            experiment,
            encoding,
            vocabulary,
            weights: host_arrays(&weights)?,
        })
    }

    /// Music that goes on from `primer`, or begins from silence.
    ///
    /// # Errors
    /// When the machine cannot run the model.
    pub fn generate(
        &self,
        machine: Machine,
        primer: Option<&Score>,
        samples: &SamplesConfig,
        seed: u64,
    ) -> Result<Music> {
        let generation = Generation {
            trained: self,
            primer,
            samples,
            seed,
        };
        machine.run(self.experiment.training.precision, generation)
    }

    /// A symbol as the encoding writes it.
    pub(super) fn text(&self, symbol: Symbol) -> String {
        self.encoding.text(symbol)
    }

    /// The network with its trained weights.
    pub(super) fn network<B: Backend>(&self, backend: B) -> Result<Network<B>> {
        let mut network = Network::new(
            &self.experiment.model,
            alphabet(self.experiment.model.kind, self.vocabulary.len()),
            backend,
            &mut random::stream(0, "replaced"),
        )?;
        network
            .load(&self.weights)
            .context("the weights are not those of the experiment's model")?;
        Ok(network)
    }
}

/// Music to be made.
struct Generation<'a> {
    trained: &'a Trained,
    primer: Option<&'a Score>,
    samples: &'a SamplesConfig,
    seed: u64,
}

impl Job for Generation<'_> {
    type Output = Music;

    fn on<B: Backend>(self, backend: B) -> Result<Music> {
        let Self {
            trained, samples, ..
        } = self;
        let mut rng = random::stream(self.seed, "sample");
        let network = trained.network(backend)?;
        let mut unknown_symbols = 0;
        let primer = match self.primer {
            None => Symbols::Tokens(Vec::new()),
            Some(score) => {
                let symbols = trained.encoding.encode(
                    score,
                    &mut random::stream(trained.experiment.encoding.seed, "primer"),
                );
                if trained.experiment.encoding.kind == EncodingKind::MultiHot {
                    Symbols::Keys(symbols.iter().map(|symbol| symbol.0).collect())
                } else {
                    let ids: Vec<Option<u32>> = symbols
                        .iter()
                        .map(|&symbol| trained.vocabulary.id(symbol))
                        .collect();
                    unknown_symbols = ids.iter().filter(|id| id.is_none()).count();
                    Symbols::Tokens(ids.into_iter().map(|id| id.unwrap_or(NO_TOKEN)).collect())
                }
            }
        };
        let drawn = generate(
            &network,
            &primer,
            samples.length,
            samples.sampling(),
            &mut rng,
        )?;
        let score = score_of(trained.encoding.as_ref(), &drawn, |id| {
            trained.vocabulary.symbol(id)
        });
        Ok(Music {
            score,
            unknown_symbols,
        })
    }
}
