//! A network that is fed one symbol at a time, for generation.

use super::backend::Backend;
use super::sampling::{Sampling, sample_keys, sample_token};
use super::{ModelKind, Network, State};
use crate::batch::Symbols;
use anyhow::{Result, ensure};
use dfdx::prelude::*;
use rand::Rng;

/// A network with a state and the logits of what follows.
pub struct Generator<'a, D: Backend> {
    pub(super) network: &'a Network<D>,
    pub(super) state: State<D>,
    pub(super) prepared: D::Prepared,
    pub(super) logits: Vec<f32>,
}

impl<D: Backend> Generator<'_, D> {
    /// Reads one symbol for each lane. To begin from nothing, read [`crate::batch::NO_TOKEN`] or no keys.
    ///
    /// # Errors
    /// When the symbols do not fit the model or the number of lanes.
    pub fn read(&mut self, inputs: &Symbols) -> Result<()> {
        let network = self.network;
        network.check_symbols(inputs, true)?;
        let lanes = self.state.0[0].h.shape().0;
        ensure!(
            inputs.len() == lanes,
            "{} symbols for a state of {lanes} lanes",
            inputs.len()
        );
        let layers: Vec<_> = (0..network.config.layers)
            .map(|layer| network.parameters.layer(layer))
            .collect();
        let x = network.embed::<NoneTape>(inputs);
        let output = network.parameters.output();
        D::step(
            &network.runtime,
            x,
            &layers,
            output,
            &self.prepared,
            &mut self.state.0,
            &mut self.logits,
        );
        Ok(())
    }

    /// The logits of what follows, `(B, V)`, or `(B, 88)` for the sigmoid model; empty before the first symbol.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The state after what was read.
    pub fn state(&self) -> &State<D> {
        &self.state
    }

    /// Draws what follows in each lane. The logits are used up.
    pub fn draw(&mut self, sampling: Sampling, rng: &mut impl Rng) -> Symbols {
        let Self {
            network, logits, ..
        } = self;
        let rows = logits.chunks_exact_mut(network.parameters.output().0.shape().0);
        match network.config.kind {
            ModelKind::Token => {
                let draw = |logits: &mut [f32], inverse_temperature: f32, u: f64| {
                    D::draw(&network.runtime, logits, inverse_temperature, u)
                };
                Symbols::Tokens(
                    rows.map(|logits| sample_token(logits, sampling, draw, rng))
                        .collect(),
                )
            }
            ModelKind::Sigmoid => Symbols::Keys(
                rows.map(|logits| sample_keys(logits, sampling.temperature, rng))
                    .collect(),
            ),
        }
    }
}
