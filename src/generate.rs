//! A trained network and a primer → new symbols, drawn one at a time.

use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::batch::{NO_TOKEN, Symbols};
use crate::model::backend::Backend;
use crate::model::sampling::Sampling;
use crate::model::{ModelKind, Network};

/// The music that a run generates when it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplesConfig {
    /// How many samples.
    pub count: u32,
    /// Symbols of each: note messages, or time steps.
    pub length: usize,
    /// Divides the logits: below 1 the likely becomes likelier.
    pub temperature: f32,
    /// Draw only from this many of the likeliest tokens; `null` for all.
    pub top_k: Option<usize>,
    /// The seed of the first sample; each further one adds 1.
    pub seed: u64,
}

impl Default for SamplesConfig {
    fn default() -> Self {
        // 400 messages or steps are between half a minute and two minutes of music.
        Self {
            count: 3,
            length: 400,
            temperature: 1.0,
            top_k: None,
            seed: 1,
        }
    }
}

impl SamplesConfig {
    /// What `--smoke` makes of it.
    pub fn smoke(self) -> Self {
        Self {
            count: self.count.min(1),
            length: self.length.min(50),
            ..self
        }
    }

    /// How each symbol is drawn.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
        }
    }

    /// Checks each value.
    ///
    /// # Errors
    /// Names the setting and its range.
    pub fn validate(&self) -> Result<()> {
        ensure!(self.count <= 1000, "samples.count must be at most 1000");
        ensure!(
            (1..=1_000_000).contains(&self.length),
            "samples.length must be from 1 to 1000000"
        );
        ensure!(
            self.temperature.is_finite() && self.temperature >= 0.0,
            "samples.temperature must be a number of at least 0"
        );
        ensure!(
            self.top_k != Some(0),
            "samples.top_k must be at least 1, or null"
        );
        Ok(())
    }
}

/// Reads `primer`, then draws `length` symbols, each fed back as the next input. An empty primer starts from silence.
///
/// Returns the drawn symbols without the primer. The same network, primer and `rng` always give the same symbols.
///
/// # Errors
/// When the primer does not fit the model.
pub fn generate<B: Backend>(
    network: &Network<B>,
    primer: &Symbols,
    length: usize,
    sampling: Sampling,
    rng: &mut ChaCha8Rng,
) -> Result<Symbols> {
    let silence = match network.config().kind {
        ModelKind::Token => Symbols::Tokens(vec![NO_TOKEN]),
        ModelKind::Sigmoid => Symbols::Keys(vec![0]),
    };
    let mut generator = network.generator(1);
    generator.read(&silence)?;
    for step in 0..primer.len() {
        generator.read(&primer.slice(step..step + 1))?;
    }
    let mut drawn = silence.slice(0..0);
    for _ in 0..length {
        let next = generator.draw(sampling, rng);
        generator.read(&next)?;
        drawn.append(next);
    }
    Ok(drawn)
}
