//! The settings of a model.

use crate::kernel::{Bags, BitRange};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// What a model reads and predicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// One token of a vocabulary a step.
    #[default]
    Token,
    /// A set of keys a step.
    Sigmoid,
}

/// The symbols that a model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// A vocabulary of this many tokens.
    Tokens(usize),
    /// Sets of keys, each key a bit of a mask.
    Keys(BitRange),
}

impl Alphabet {
    /// How many tokens or keys there are: the rows of the embedding table and of the projection.
    pub fn size(self) -> usize {
        match self {
            Self::Tokens(count) => count,
            Self::Keys(bits) => bits.rows,
        }
    }

    /// Sets of keys as sets of rows.
    ///
    /// # Panics
    /// When these are tokens.
    pub(super) fn bags(self, masks: &[u128]) -> Bags<'_> {
        match self {
            Self::Keys(bits) => Bags { masks, bits },
            Self::Tokens(_) => panic!("sets of keys were given to a model of tokens"),
        }
    }

    /// The kind of model that reads them.
    pub fn kind(self) -> ModelKind {
        match self {
            Self::Tokens(_) => ModelKind::Token,
            Self::Keys(_) => ModelKind::Sigmoid,
        }
    }
}

/// The shape of a network and its first values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Token or sigmoid.
    pub kind: ModelKind,
    /// Width `E` of an embedding vector.
    pub embedding: usize,
    /// Width `H` of an LSTM layer.
    pub hidden: usize,
    /// LSTM layers, one over the other.
    pub layers: usize,
    /// Probability that a value is dropped between layers in training: at the input of each LSTM layer and of the projection, never
    /// between time steps (Zaremba et al. 2014).
    pub dropout: f32,
    /// Standard deviation of the first embeddings. The other first values are U(−1/√H, 1/√H), the custom of deep learning libraries.
    pub embedding_deviation: f32,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            kind: ModelKind::Token,
            embedding: 128,
            hidden: 128,
            layers: 2,
            dropout: 0.0,
            embedding_deviation: 1.0,
        }
    }
}

/// The widest embedding and layer.
const MOST: usize = 16_384;
/// The most layers.
const MOST_LAYERS: usize = 64;

impl ModelConfig {
    /// Checks each value.
    ///
    /// # Errors
    /// For a width or number of layers of 0, and for values out of range.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            (1..=MOST).contains(&self.embedding),
            "model.embedding must be from 1 to {MOST}"
        );
        ensure!(
            (1..=MOST).contains(&self.hidden),
            "model.hidden must be from 1 to {MOST}"
        );
        ensure!(
            (1..=MOST_LAYERS).contains(&self.layers),
            "model.layers must be from 1 to {MOST_LAYERS}"
        );
        ensure!(
            (0.0..1.0).contains(&self.dropout),
            "model.dropout must be at least 0 and below 1"
        );
        ensure!(
            self.embedding_deviation.is_finite() && self.embedding_deviation >= 0.0,
            "model.embedding_deviation must be a number of at least 0"
        );
        Ok(())
    }
}
