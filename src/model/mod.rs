//! Symbols → loss, gradients, probabilities: one recurrent network, generic over dfdx's devices. No music and no files here.
//!
//! Two kinds share everything but their ends. The token model reads the embedding of one token a step and gives a softmax over the
//! vocabulary. The sigmoid model reads the sum of the embeddings of the sounding keys and gives each of the 88 keys a probability.
//!
//! ```text
//! symbols → embedding → LSTM × layers → projection → cross-entropy
//! ```

pub mod backend;
mod config;
mod generator;
pub mod memory;
pub mod op;
pub mod parameters;
pub mod sampling;

pub use config::{ModelConfig, ModelKind};
pub use generator::Generator;

use crate::batch::{Batch, NO_TOKEN, Symbols};
use crate::corpus::score::PIANO;
use anyhow::{Result, bail, ensure};
use backend::{Backend, Runtime};
use dfdx::prelude::*;
use op::lstm::LayerState;
use op::update::Rule;
use op::{Buffer, Matrix, swap_gradient};
use parameters::{Array, Parameter, Parameters};
use rand_chacha::ChaCha8Rng;

/// What a network carries from step to step and from window to window.
#[derive(Debug, Clone)]
pub struct State<D: Storage<f32>>(Vec<LayerState<D>>);

/// The likelihood that a network gives to what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Negative log-likelihood of each target in nats, `(T, B)`; for keys summed over the 88. 0 where the target is [`NO_TOKEN`].
    pub nll: Vec<f32>,
    /// For the sigmoid model the keys with a probability above one half, `(T, B)`; else empty.
    pub predicted: Vec<u128>,
    /// For the sigmoid model the logits of the 88 keys, `(T, B, 88)`; else empty.
    pub logits: Vec<f32>,
}

/// A recurrent network with its parameters and their gradients.
pub struct Network<D: Backend> {
    config: ModelConfig,
    runtime: Runtime<D>,
    parameters: Parameters<D>,
    gradients: Gradients<f32, D>,
}

impl<D: Backend> Network<D> {
    /// A new network with values drawn from `rng`. The sigmoid model has no use for `vocabulary`.
    ///
    /// # Errors
    /// For a configuration that is out of range, or an empty vocabulary.
    pub fn new(
        config: &ModelConfig,
        vocabulary: usize,
        runtime: Runtime<D>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        ensure!(
            config.kind == ModelKind::Sigmoid || (1..NO_TOKEN as usize).contains(&vocabulary),
            "a vocabulary of {vocabulary} tokens cannot be modelled"
        );
        let parameters = Parameters::initial(config, vocabulary, &runtime, rng);
        Ok(Self {
            config: config.clone(),
            runtime,
            parameters,
            gradients: Gradients::leaky(),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where it runs.
    pub fn runtime(&self) -> &Runtime<D> {
        &self.runtime
    }

    /// Its parameters.
    pub fn parameters(&self) -> &Parameters<D> {
        &self.parameters
    }

    /// Its parameters, to be loaded.
    pub fn parameters_mut(&mut self) -> &mut Parameters<D> {
        &mut self.parameters
    }

    /// The gradients of the last window, on the host.
    ///
    /// # Panics
    /// Before the first window, as do the two functions that follow.
    pub fn gradients(&self) -> Vec<Array> {
        let gradient = |parameter| D::gradient(&self.runtime, parameter, &self.gradients);
        self.parameters
            .iter()
            .map(|parameter| parameter.array_of(gradient(parameter)))
            .collect()
    }

    /// The norm of all gradients together.
    pub fn gradient_norm(&mut self) -> f64 {
        D::gradient_norm(&self.runtime, &self.parameters.0, &mut self.gradients)
    }

    /// What `rule` keeps for each parameter, all zero: [`Rule::slots`] buffers each.
    pub fn slots(&self, rule: &Rule) -> Vec<Vec<Buffer<D>>> {
        let slots = |p: &Parameter<D>| {
            rule.slots()
                .iter()
                .map(|_| op::zeros(&self.runtime.device, &p.tensor))
                .collect()
        };
        self.parameters.iter().map(slots).collect()
    }

    /// Moves all parameters along their gradients, which are first multiplied by `scale`.
    pub fn update(&mut self, rule: &Rule, scale: f32, slots: &mut [Vec<Buffer<D>>]) {
        for (parameter, slots) in self.parameters.0.iter_mut().zip(slots) {
            D::update(
                &self.runtime,
                rule,
                scale,
                parameter,
                slots,
                &mut self.gradients,
            );
        }
    }

    /// The state before a sequence begins, for `lanes` sequences at a time.
    pub fn zero_state(&self, lanes: usize) -> State<D> {
        let zeros = || self.runtime.device.zeros_like(&(lanes, self.config.hidden));
        State(
            (0..self.config.layers)
                .map(|_| LayerState {
                    h: zeros(),
                    c: zeros(),
                })
                .collect(),
        )
    }

    /// Reads a window, replaces the gradients that the network holds by those of its mean loss, and moves `state` to its end.
    ///
    /// Returns the mean loss in nats per token (per time step for the sigmoid model). `rng` is drawn from where the model has dropout.
    ///
    /// # Errors
    /// When the window does not fit the model.
    pub fn loss_and_gradients(
        &mut self,
        batch: &Batch,
        state: &mut State<D>,
        rng: &mut ChaCha8Rng,
    ) -> Result<f32> {
        self.check(batch, state, false)?;
        let dropout = (self.config.dropout > 0.0).then_some(rng);
        let (h, next) = self.outputs::<OwnedTape<f32, D>>(&batch.inputs, state, dropout);
        let ((weight, bias), gradients) = (self.parameters.output(), &mut self.gradients);
        let loss = match &batch.targets {
            Symbols::Tokens(targets) => {
                D::softmax_loss(&self.runtime, h, weight, bias, targets, gradients)
            }
            Symbols::Keys(targets) => {
                D::sigmoid_loss(&self.runtime, h, weight, bias, targets, gradients)
            }
        };
        let value = loss.as_vec()[0];
        let mut taped = loss.backward();
        for parameter in self.parameters.taped() {
            if D::holds_gradient(&self.runtime, parameter) {
                swap_gradient(&mut self.gradients, &mut taped, &parameter.tensor);
            }
        }
        *state = next;
        Ok(value)
    }

    /// Reads a window and gives each target's likelihood; moves `state` to its end. Targets may be [`NO_TOKEN`], inputs too.
    ///
    /// # Errors
    /// When the window does not fit the model.
    pub fn evaluate(&self, batch: &Batch, state: &mut State<D>) -> Result<Evaluation> {
        self.check(batch, state, true)?;
        let (h, next) = self.outputs::<NoneTape>(&batch.inputs, state, None);
        *state = next;
        let (weight, bias) = self.parameters.output();
        match &batch.targets {
            Symbols::Tokens(targets) => {
                // The projection is most of the work: it is spared where there is no target.
                let (rows, wanted): (Vec<u32>, Vec<u32>) = (0..)
                    .zip(targets.iter().copied())
                    .filter(|&(_, target)| target != NO_TOKEN)
                    .unzip();
                let mut nll = vec![0.0; targets.len()];
                if !rows.is_empty() {
                    let found = D::softmax_nll(&self.runtime, h, &rows, weight, bias, &wanted);
                    rows.iter()
                        .zip(found)
                        .for_each(|(&row, found)| nll[row as usize] = found);
                }
                Ok(Evaluation {
                    nll,
                    predicted: Vec::new(),
                    logits: Vec::new(),
                })
            }
            Symbols::Keys(targets) => {
                let logits = D::logits(&self.runtime, &h, weight, bias);
                let (nll, predicted) = op::sigmoid::score(&logits, targets);
                Ok(Evaluation {
                    nll,
                    predicted,
                    logits,
                })
            }
        }
    }

    /// Begins to generate `lanes` sequences at a time.
    pub fn generator(&self, lanes: usize) -> Generator<'_, D> {
        let prepared = D::prepare(&self.runtime, self.parameters.output().0);
        Generator {
            network: self,
            state: self.zero_state(lanes),
            prepared,
            logits: Vec::new(),
        }
    }

    /// The last layer's outputs for inputs `(T, B)`, `(T * B, H)`, and the state after them.
    fn outputs<T: Tape<f32, D>>(
        &self,
        inputs: &Symbols,
        state: &State<D>,
        mut dropout: Option<&mut ChaCha8Rng>,
    ) -> (Matrix<D, T>, State<D>) {
        let mut drop = |x| match &mut dropout {
            Some(rng) => D::dropout(&self.runtime, x, self.config.dropout, rng),
            None => x,
        };
        let (first, others) = state.0.split_first().expect("a network has a layer");
        let weights = self.parameters.layer(0);
        let (mut x, after) = match inputs {
            // Dropout stands between the sum and the layer; where there is any, scores take the way that training takes.
            Symbols::Keys(keys) if self.config.dropout == 0.0 => {
                let table = self.parameters.embedding().retaped::<T>();
                D::lstm_of_keys(&self.runtime, table, keys, &weights, first)
            }
            _ => D::lstm(
                &self.runtime,
                drop(self.embed::<T>(inputs)),
                &weights,
                first,
            ),
        };
        let mut next = vec![after];
        for (layer, state) in (1..).zip(others) {
            let (h, after) = D::lstm(&self.runtime, drop(x), &self.parameters.layer(layer), state);
            x = h;
            next.push(after);
        }
        (drop(x), State(next))
    }

    /// The vectors `(N, E)` of the inputs.
    fn embed<T: Tape<f32, D>>(&self, inputs: &Symbols) -> Matrix<D, T> {
        let table = self.parameters.embedding().retaped::<T>();
        match inputs {
            Symbols::Tokens(ids) => D::gather(&self.runtime, table, ids),
            Symbols::Keys(keys) => D::sum_keys(&self.runtime, table, keys),
        }
    }

    /// Whether a window fits the model and the state.
    fn check(&self, batch: &Batch, state: &State<D>, unknown_targets: bool) -> Result<()> {
        self.check_symbols(&batch.inputs, true)?;
        self.check_symbols(&batch.targets, unknown_targets)?;
        let (steps, lanes) = (batch.lanes * batch.length, state.0[0].h.shape().0);
        ensure!(
            steps > 0
                && batch.inputs.len() == steps
                && batch.targets.len() == steps
                && batch.lanes == lanes,
            "a window of {} lanes x {} steps with {} inputs and {} targets, for a state of {lanes} lanes",
            batch.lanes,
            batch.length,
            batch.inputs.len(),
            batch.targets.len()
        );
        Ok(())
    }

    /// Whether the model knows all these symbols.
    fn check_symbols(&self, symbols: &Symbols, no_token: bool) -> Result<()> {
        let vocabulary = self.parameters.embedding().shape().0;
        match (self.config.kind, symbols) {
            (ModelKind::Token, Symbols::Tokens(tokens)) => {
                let bad = |&&token: &&u32| {
                    token as usize >= vocabulary && !(no_token && token == NO_TOKEN)
                };
                if let Some(token) = tokens.iter().find(bad) {
                    bail!("token {token} is outside of the model's vocabulary of {vocabulary}");
                }
            }
            (ModelKind::Sigmoid, Symbols::Keys(keys)) => {
                if let Some(keys) = keys.iter().find(|&&keys| keys & !PIANO != 0) {
                    bail!("a set of keys reaches outside of MIDI pitches 21 to 108: {keys:#x}");
                }
            }
            (ModelKind::Token, Symbols::Keys(_)) => {
                bail!("the token model reads tokens, not sets of keys")
            }
            (ModelKind::Sigmoid, Symbols::Tokens(_)) => {
                bail!("the sigmoid model reads sets of keys, not tokens")
            }
        }
        Ok(())
    }
}

impl<D: Backend> State<D> {
    /// A copy on the host, `state.N.h` and `state.N.c`, for a checkpoint.
    pub fn arrays(&self) -> Vec<Array> {
        let layers = self.0.iter().enumerate();
        layers
            .flat_map(|(n, layer)| {
                [
                    parameters::array(&format!("state.{n}.h"), &layer.h),
                    parameters::array(&format!("state.{n}.c"), &layer.c),
                ]
            })
            .collect()
    }

    /// Takes the values of `arrays`.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn load(&mut self, arrays: &[Array]) -> Result<()> {
        for (n, layer) in self.0.iter_mut().enumerate() {
            for (name, tensor) in [("h", &mut layer.h), ("c", &mut layer.c)] {
                let (rows, columns) = *tensor.shape();
                let array = Array::find(arrays, &format!("state.{n}.{name}"), &[rows, columns])?;
                tensor.copy_from(&array.values);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
