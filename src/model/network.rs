//! The network, and the state that it carries from window to window.

use super::backend::Backend;
use super::config::{Alphabet, ModelConfig};
use super::matrix::{Buffer, Matrix};
use super::op::dropout::mask;
use super::op::lstm::LayerState;
use super::op::update::{Rule, zeros};
use super::op::{sigmoid, swap_gradient};
use super::parameters::{Array, Parameter, Parameters};
use crate::batch::{Batch, NO_TOKEN, Symbols};
use anyhow::{Result, bail, ensure};
use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

/// What a network carries from step to step and from window to window.
#[derive(Debug, Clone)]
pub struct State<D: Storage<f32>>(pub(super) Vec<LayerState<D>>);

/// The likelihood that a network gives to what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Negative log-likelihood of each target in nats, `(T, B)`; for keys summed over them. 0 where the target is [`NO_TOKEN`].
    pub nll: Vec<f32>,
    /// For the sigmoid model the keys with a probability above one half, `(T, B)`; else empty.
    pub predicted: Vec<u128>,
    /// For the sigmoid model the logits of the keys, `(T, B, V)`; else empty.
    pub logits: Vec<f32>,
}

/// A recurrent network with its parameters and their gradients.
pub struct Network<B: Backend> {
    config: ModelConfig,
    alphabet: Alphabet,
    backend: B,
    parameters: Parameters<B::Device>,
    gradients: Gradients<f32, B::Device>,
}

impl<B: Backend> Network<B> {
    /// A new network with values drawn from `rng`.
    ///
    /// # Errors
    /// For a configuration that is out of range, or an alphabet that is empty or of another kind of model.
    pub fn new(
        config: &ModelConfig,
        alphabet: Alphabet,
        backend: B,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        config.validate()?;
        ensure!(
            config.kind == alphabet.kind(),
            "a model of kind {:?} cannot read {alphabet:?}",
            config.kind
        );
        ensure!(
            (1..NO_TOKEN as usize).contains(&alphabet.size()),
            "a vocabulary of {} tokens cannot be modelled",
            alphabet.size()
        );
        let matrix = |values, shape| backend.matrix(values, shape);
        let parameters = Parameters::initial(config, alphabet, rng, matrix);
        Ok(Self {
            config: config.clone(),
            alphabet,
            backend,
            parameters,
            gradients: Gradients::leaky(),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The symbols that it knows.
    pub fn alphabet(&self) -> Alphabet {
        self.alphabet
    }

    /// Where it runs.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Its parameters.
    pub fn parameters(&self) -> &Parameters<B::Device> {
        &self.parameters
    }

    /// Takes the values of `arrays`; those of other names are ignored.
    ///
    /// # Errors
    /// When one is missing or has another shape; the parameters then keep some old values.
    pub fn load(&mut self, arrays: &[Array]) -> Result<()> {
        for parameter in self.parameters.iter_mut() {
            let (rows, columns) = parameter.matrix.shape();
            let array = Array::find(arrays, &parameter.name, &[rows, columns])?;
            self.backend.set(&mut parameter.matrix, &array.values);
        }
        Ok(())
    }

    /// The gradients of the last window, on the host.
    ///
    /// # Panics
    /// Before the first window, as do the two functions that follow.
    pub fn gradients(&self) -> Vec<Array> {
        let gradient = |parameter| self.backend.gradient(parameter, &self.gradients);
        self.parameters
            .iter()
            .map(|parameter| parameter.array_of(gradient(parameter)))
            .collect()
    }

    /// The norm of all gradients together.
    pub fn gradient_norm(&mut self) -> f64 {
        let gradients = &mut self.gradients;
        self.backend.gradient_norm(&self.parameters, gradients)
    }

    /// What `rule` keeps for each parameter, all zero: [`Rule::slots`] buffers each.
    pub fn slots(&self, rule: &Rule) -> Vec<Vec<Buffer<B::Device>>> {
        let slots = |parameter: &Parameter<B::Device>| {
            let (rows, columns) = parameter.matrix.shape();
            let slot = |_| zeros(self.backend.device(), rows * columns);
            rule.slots().iter().map(slot).collect()
        };
        self.parameters.iter().map(slots).collect()
    }

    /// Moves all parameters along their gradients, which are first multiplied by `scale`.
    pub fn update(&mut self, rule: &Rule, scale: f32, slots: &mut [Vec<Buffer<B::Device>>]) {
        for (parameter, slots) in self.parameters.iter_mut().zip(slots) {
            let gradients = &mut self.gradients;
            self.backend
                .update(rule, scale, parameter, slots, gradients);
        }
    }

    /// The state before the first time step, for `batch_size` sequences.
    pub fn zero_state(&self, batch_size: usize) -> State<B::Device> {
        let zeros = || self.backend.zeros((batch_size, self.config.hidden));
        let layer = |_| LayerState {
            h: zeros(),
            c: zeros(),
        };
        State((0..self.config.layers).map(layer).collect())
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
        state: &mut State<B::Device>,
        rng: &mut ChaCha8Rng,
    ) -> Result<f32> {
        self.check(batch, state, false)?;
        let dropout = (self.config.dropout > 0.0).then_some(rng);
        let (h, next) = self.outputs::<OwnedTape<f32, B::Device>>(&batch.inputs, state, dropout);
        let (backend, alphabet, gradients) = (&self.backend, self.alphabet, &mut self.gradients);
        let projection = self.parameters.projection();
        let loss = match &batch.targets {
            Symbols::Tokens(targets) => backend.softmax_loss(h, projection, targets, gradients),
            Symbols::Keys(keys) => {
                backend.sigmoid_loss(h, projection, alphabet.bags(keys), gradients)
            }
        };
        let value = loss.as_vec()[0];
        let mut taped = loss.backward();
        for parameter in self.parameters.taped() {
            if !backend.keeps_gradient(parameter) {
                swap_gradient(gradients, &mut taped, parameter.matrix.tensor());
            }
        }
        *state = next;
        Ok(value)
    }

    /// Reads a window and gives each target's likelihood; moves `state` to its end. Targets may be [`NO_TOKEN`], inputs too.
    ///
    /// # Errors
    /// When the window does not fit the model.
    pub fn evaluate(&self, batch: &Batch, state: &mut State<B::Device>) -> Result<Evaluation> {
        self.check(batch, state, true)?;
        let (h, next) = self.outputs::<NoneTape>(&batch.inputs, state, None);
        *state = next;
        let projection = self.parameters.projection();
        let (nll, predicted, logits) = match &batch.targets {
            Symbols::Tokens(targets) => {
                // The projection is most of the work, so positions without a target are left out.
                let (rows, wanted): (Vec<u32>, Vec<u32>) = (0..)
                    .zip(targets.iter().copied())
                    .filter(|&(_, target)| target != NO_TOKEN)
                    .unzip();
                let mut nll = vec![0.0; targets.len()];
                if !rows.is_empty() {
                    let found = self.backend.softmax_nll(&h, &rows, projection, &wanted);
                    rows.iter()
                        .zip(found)
                        .for_each(|(&row, found)| nll[row as usize] = found);
                }
                (nll, Vec::new(), Vec::new())
            }
            Symbols::Keys(keys) => {
                let logits = self.backend.logits(&h, projection);
                let (nll, predicted) = sigmoid::score(&logits, self.alphabet.bags(keys));
                (nll, predicted, logits)
            }
        };
        Ok(Evaluation {
            nll,
            predicted,
            logits,
        })
    }

    /// The last layer's outputs for inputs `(T, B)`, `(T * B, H)`, and the state after them.
    fn outputs<T: Tape<f32, B::Device>>(
        &self,
        inputs: &Symbols,
        state: &State<B::Device>,
        mut dropout: Option<&mut ChaCha8Rng>,
    ) -> (Matrix<B::Device, T>, State<B::Device>) {
        let (backend, parameters) = (&self.backend, &self.parameters);
        let mut drop = |x: Matrix<B::Device, T>| match &mut dropout {
            Some(rng) => {
                let mask = mask(x.shape(), self.config.dropout, rng);
                backend.dropout(x, mask)
            }
            None => x,
        };
        let (first, others) = state.0.split_first().expect("a network has a layer");
        let weights = parameters.layer(0);
        let (mut x, after) = match inputs {
            // Dropout comes between the sum and the layer. A model that has any keeps the two apart, in evaluation as in training.
            Symbols::Keys(keys) if self.config.dropout == 0.0 => {
                let (table, bags) = (parameters.embedding(), self.alphabet.bags(keys));
                backend.lstm_of_bags(table, bags, &weights, first)
            }
            _ => backend.lstm(drop(self.embed(inputs)), &weights, first),
        };
        let mut next = vec![after];
        for (layer, state) in (1..).zip(others) {
            let (h, after) = backend.lstm(drop(x), &parameters.layer(layer), state);
            x = h;
            next.push(after);
        }
        (drop(x), State(next))
    }

    /// The vectors `(N, E)` of the inputs.
    pub(super) fn embed<T: Tape<f32, B::Device>>(&self, inputs: &Symbols) -> Matrix<B::Device, T> {
        let table = self.parameters.embedding();
        match inputs {
            Symbols::Tokens(ids) => self.backend.embedding(table, ids),
            Symbols::Keys(keys) => self.backend.embedding_bag(table, self.alphabet.bags(keys)),
        }
    }

    /// Whether a window fits the model and the state.
    fn check(&self, batch: &Batch, state: &State<B::Device>, unknown_targets: bool) -> Result<()> {
        self.check_symbols(&batch.inputs, true)?;
        self.check_symbols(&batch.targets, unknown_targets)?;
        let (positions, carried) = (batch.batch_size * batch.length, state.batch_size());
        ensure!(
            positions > 0
                && batch.inputs.len() == positions
                && batch.targets.len() == positions
                && batch.batch_size == carried,
            "a window of {} sequences x {} steps with {} inputs and {} targets, for a state of {carried} sequences",
            batch.batch_size,
            batch.length,
            batch.inputs.len(),
            batch.targets.len()
        );
        Ok(())
    }

    /// Whether the model knows all these symbols.
    pub(super) fn check_symbols(&self, symbols: &Symbols, no_token: bool) -> Result<()> {
        match (self.alphabet, symbols) {
            (Alphabet::Tokens(vocabulary), Symbols::Tokens(tokens)) => {
                let bad = |&&token: &&u32| {
                    token as usize >= vocabulary && !(no_token && token == NO_TOKEN)
                };
                if let Some(token) = tokens.iter().find(bad) {
                    bail!("token {token} is outside of the model's vocabulary of {vocabulary}");
                }
            }
            (Alphabet::Keys(bits), Symbols::Keys(keys)) => {
                if let Some(keys) = keys.iter().find(|&&keys| keys & !bits.mask() != 0) {
                    let last = bits.first as usize + bits.rows - 1;
                    bail!(
                        "a set of keys reaches outside of bits {} to {last}: {keys:#x}",
                        bits.first
                    );
                }
            }
            (Alphabet::Tokens(_), Symbols::Keys(_)) => {
                bail!("the token model reads tokens, not sets of keys")
            }
            (Alphabet::Keys(_), Symbols::Tokens(_)) => {
                bail!("the sigmoid model reads sets of keys, not tokens")
            }
        }
        Ok(())
    }

    /// Gives `state` the values of `arrays`.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn load_state(&self, state: &mut State<B::Device>, arrays: &[Array]) -> Result<()> {
        for (n, layer) in state.0.iter_mut().enumerate() {
            for (name, matrix) in [("h", &mut layer.h), ("c", &mut layer.c)] {
                let (rows, columns) = matrix.shape();
                let array = Array::find(arrays, &format!("state.{n}.{name}"), &[rows, columns])?;
                *matrix = self.backend.matrix(array.values.clone(), (rows, columns));
            }
        }
        Ok(())
    }
}

impl<D: Device<f32>> State<D> {
    /// How many sequences it belongs to.
    pub fn batch_size(&self) -> usize {
        self.0[0].h.shape().0
    }

    /// A copy on the host, `state.N.h` and `state.N.c`, for a checkpoint.
    pub fn arrays(&self) -> Vec<Array> {
        let layers = self.0.iter().enumerate();
        layers
            .flat_map(|(n, layer)| {
                [("h", &layer.h), ("c", &layer.c)].map(|(name, matrix)| Array {
                    name: format!("state.{n}.{name}"),
                    shape: vec![matrix.shape().0, matrix.shape().1],
                    values: matrix.to_vec(),
                })
            })
            .collect()
    }
}
