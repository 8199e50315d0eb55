//! How much memory of a CUDA device training takes, computed before it starts.
//!
//! This counts what `backend/cuda` allocates. Nothing grows with the corpus, and only a tile of the logits exists at a time, so a
//! vocabulary of 175,467 fits on a card of 4 GB.

use std::fmt;

use super::config::{Alphabet, ModelConfig};

/// Logits that exist at one time on a CUDA device: 64 MiB of them.
pub const TILE: usize = 1 << 24;
/// An estimate of what the driver and cuBLAS need in addition: 256 MiB.
const LIBRARIES: usize = 256 << 20;

/// Sizes that decide what a training takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The symbols that the model knows.
    pub alphabet: Alphabet,
    /// Numbers that the optimizer keeps for each parameter.
    pub slots: usize,
    /// Positions of a window of training, `T * B`.
    pub window: usize,
    /// Positions of a window of evaluation.
    pub evaluation: usize,
}

/// Bytes of device memory, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Weights.
    pub parameters: usize,
    /// What the optimizer keeps.
    pub optimizer: usize,
    /// Gradients of the weights. Those that the tape makes exist twice, the last window's until the next one's are there.
    pub gradients: usize,
    /// Inputs, activations and their gradients, of a window of training and of one of evaluation.
    pub activations: usize,
    /// A tile of logits; all logits of the sigmoid model, with the copies that dfdx makes of them.
    pub logits: usize,
}

impl Footprint {
    /// What training a model of `config` takes.
    pub fn of(config: &ModelConfig, sizes: Sizes) -> Self {
        let (e, h) = (config.embedding, config.hidden);
        let symbols = sizes.alphabet.size();
        let layer = |width: usize| 4 * h * (width + h + 1);
        let taped = symbols * e + layer(e) + (config.layers - 1) * layer(h);
        let parameters = taped + symbols * (h + 1);

        // Of each position: the input vector and each layer's output with their gradients, and each layer's gates and cell.
        let vectors = e + config.layers * h;
        let saved = config.layers * 5 * h;
        let masks = if config.dropout > 0.0 { 3 * vectors } else { 0 };
        let largest = sizes.window.max(sizes.evaluation);
        let activations =
            sizes.window * (2 * vectors + masks) + sizes.evaluation * 2 * vectors + largest * saved;
        let logits = match sizes.alphabet {
            Alphabet::Tokens(_) => tile_rows(symbols).min(largest) * (symbols + h),
            Alphabet::Keys(_) => (sizes.window + sizes.evaluation) * 10 * symbols,
        };
        let [parameters, optimizer, gradients, activations, logits] = [
            parameters,
            sizes.slots * parameters,
            parameters + taped,
            activations,
            logits,
        ]
        .map(|count| count * size_of::<f32>());
        Self {
            parameters,
            optimizer,
            gradients,
            activations,
            logits,
        }
    }

    /// The sum.
    pub fn total(&self) -> usize {
        self.parameters + self.optimizer + self.gradients + self.activations + self.logits
    }

    /// How much must be free: the sum and what the libraries need.
    pub fn needed(&self) -> usize {
        self.total() + LIBRARIES
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let mebibytes = |bytes: usize| bytes.div_ceil(1 << 20);
        write!(
            out,
            "{} MiB: parameters {}, optimizer {}, gradients {}, activations {}, logits {}, libraries {} (an estimate)",
            mebibytes(self.needed()),
            mebibytes(self.parameters),
            mebibytes(self.optimizer),
            mebibytes(self.gradients),
            mebibytes(self.activations),
            mebibytes(self.logits),
            mebibytes(LIBRARIES),
        )
    }
}

/// Positions whose logits make a tile.
pub fn tile_rows(vocabulary: usize) -> usize {
    (TILE / vocabulary).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(vocabulary: usize) -> Footprint {
        let sizes = Sizes {
            alphabet: Alphabet::Tokens(vocabulary),
            slots: 2,
            window: 25 * 25,
            evaluation: 50 * 50,
        };
        Footprint::of(&ModelConfig::default(), sizes)
    }

    #[test]
    fn the_paper_s_largest_models_fit_a_card_of_four_gigabytes() {
        // Truncated Classical: 132,437 · (128 + 129) + 2 · 512 · 257 parameters of four bytes.
        let classical = paper(132_437);
        assert_eq!(classical.parameters, (132_437 * 257 + 2 * 512 * 257) * 4);
        assert_eq!(classical.optimizer, 2 * classical.parameters);
        // 126 rows of logits, and of the inputs that they are made from: no more than 64 MiB and a little.
        assert_eq!(classical.logits, 126 * (132_437 + 128) * 4);
        assert!(classical.needed() < 1 << 30, "{classical}");
        // Full Classical.
        assert!(paper(175_467).needed() < 5 << 28, "{}", paper(175_467));
    }

    #[test]
    fn a_small_vocabulary_needs_no_whole_tile() {
        // 2,500 positions are all that there are.
        assert_eq!(paper(100).logits, 2500 * (100 + 128) * 4);
    }
}
