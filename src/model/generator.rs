//! Generation: a network that reads one symbol at a time.

use super::backend::Backend;
use super::config::Alphabet;
use super::network::{Network, State};
use super::sampling::{Sampling, sample_keys, sample_token};
use crate::batch::Symbols;
use anyhow::{Result, ensure};
use rand::Rng;

/// A network with a state and the logits of what follows.
pub struct Generator<'a, B: Backend> {
    network: &'a Network<B>,
    state: State<B::Device>,
    prepared: B::Prepared,
    logits: Vec<f32>,
}

impl<B: Backend> Network<B> {
    /// A generator of `batch_size` sequences at a time.
    pub fn generator(&self, batch_size: usize) -> Generator<'_, B> {
        Generator {
            network: self,
            state: self.zero_state(batch_size),
            prepared: self.backend().prepare(self.parameters().projection()),
            logits: Vec::new(),
        }
    }
}

impl<B: Backend> Generator<'_, B> {
    /// Reads one symbol for each sequence. To begin from nothing, read [`crate::batch::NO_TOKEN`] or no keys.
    ///
    /// # Errors
    /// When the symbols do not fit the model or the number of sequences.
    pub fn read(&mut self, inputs: &Symbols) -> Result<()> {
        let (network, backend) = (self.network, self.network.backend());
        network.check_symbols(inputs, true)?;
        let batch_size = self.state.batch_size();
        ensure!(
            inputs.len() == batch_size,
            "{} symbols for a state of {batch_size} sequences",
            inputs.len()
        );
        let layers = 0..network.config().layers;
        let layers: Vec<_> = layers.map(|n| network.parameters().layer(n)).collect();
        let x = network.embed(inputs);
        let h = backend.lstm_step(x, &layers, &mut self.state.0);
        let projection = network.parameters().projection();
        backend.next_logits(&h, projection, &self.prepared, &mut self.logits);
        Ok(())
    }

    /// The logits of what follows, `(B, V)`; empty before the first symbol.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The state after what was read.
    pub fn state(&self) -> &State<B::Device> {
        &self.state
    }

    /// Draws what follows in each sequence. The logits are used up.
    pub fn draw(&mut self, sampling: Sampling, rng: &mut impl Rng) -> Symbols {
        let (backend, alphabet) = (self.network.backend(), self.network.alphabet());
        let rows = self.logits.chunks_exact_mut(alphabet.size());
        match alphabet {
            Alphabet::Tokens(_) => {
                let draw = |logits: &mut [f32], inverse_temperature: f32, u: f64| {
                    backend.draw(logits, inverse_temperature, u)
                };
                let token = |logits: &mut [f32]| sample_token(logits, sampling, draw, rng);
                Symbols::Tokens(rows.map(token).collect())
            }
            Alphabet::Keys(bits) => {
                let keys =
                    |logits: &mut [f32]| sample_keys(logits, bits, sampling.temperature, rng);
                Symbols::Keys(rows.map(keys).collect())
            }
        }
    }
}
