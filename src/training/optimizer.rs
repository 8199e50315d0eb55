//! Gradients → parameters: SGD, RMSprop or Adam, with clipping by the global norm. What it keeps is ours, so that a checkpoint holds it.

use crate::model::Network;
use crate::model::backend::{Backend, HostAccess};
use crate::model::matrix::Buffer;
use crate::model::op::update::Rule;
use crate::model::parameters::Array;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// The rule that parameters move by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent, with classic momentum if that is not 0.
    Sgd,
    /// Gradients divided by a moving average of their size (Tieleman & Hinton 2012).
    Rmsprop,
    /// Moving averages of gradients and of their squares (Kingma & Ba 2015).
    #[default]
    Adam,
}

/// An optimizer's settings; each kind reads its own and ignores the others'.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerConfig {
    /// SGD, RMSprop or Adam.
    pub kind: OptimizerKind,
    /// SGD: what is kept of the last step.
    pub momentum: f64,
    /// RMSprop: of the moving average of squares.
    pub decay: f64,
    /// Adam: of the two moving averages.
    pub betas: [f64; 2],
    /// Adam and RMSprop: keeps quotients finite.
    pub epsilon: f64,
    /// Gradients are scaled down where the norm of all together is above this; no limit if none.
    pub clip_norm: Option<f64>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Adam,
            momentum: 0.0,
            decay: 0.9,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            clip_norm: Some(5.0),
        }
    }
}

impl OptimizerConfig {
    /// Checks each value.
    ///
    /// # Errors
    /// For values out of range.
    pub fn validate(&self) -> Result<()> {
        let below_one = |value: f64| (0.0..1.0).contains(&value);
        ensure!(
            below_one(self.momentum),
            "training.momentum must be at least 0 and below 1"
        );
        ensure!(
            below_one(self.decay),
            "training.decay must be at least 0 and below 1"
        );
        ensure!(
            self.betas.into_iter().all(below_one),
            "training.betas must be at least 0 and below 1"
        );
        ensure!(self.epsilon > 0.0, "training.epsilon must be above 0");
        ensure!(
            self.clip_norm.is_none_or(|norm| norm > 0.0),
            "training.gradient_clip must be above 0"
        );
        Ok(())
    }

    /// How many numbers are kept for each parameter.
    pub fn slots(&self) -> usize {
        self.rule(0.0, 1).slots().len()
    }

    /// The rule of step `step`, counted from 1.
    fn rule(&self, rate: f64, step: u64) -> Rule {
        match self.kind {
            OptimizerKind::Sgd => Rule::Sgd {
                rate,
                momentum: self.momentum,
            },
            OptimizerKind::Rmsprop => Rule::RmsProp {
                rate,
                decay: self.decay,
                epsilon: self.epsilon,
            },
            OptimizerKind::Adam => {
                // The bias correction is 1 to the last bit long before a step number leaves i32.
                let step = i32::try_from(step).unwrap_or(i32::MAX);
                Rule::Adam {
                    rate,
                    betas: self.betas,
                    epsilon: self.epsilon,
                    step,
                }
            }
        }
    }
}

/// An optimizer and what it keeps for each parameter of one network.
pub struct Optimizer<B: Backend> {
    config: OptimizerConfig,
    steps: u64,
    slots: Vec<Vec<Buffer<B::Device>>>,
}

impl<B: Backend> Optimizer<B> {
    /// A fresh optimizer for `network`.
    ///
    /// # Errors
    /// For a configuration that is out of range.
    pub fn new(config: &OptimizerConfig, network: &Network<B>) -> Result<Self> {
        config.validate()?;
        let slots = network.slots(&config.rule(0.0, 1));
        Ok(Self {
            config: config.clone(),
            steps: 0,
            slots,
        })
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Moves the parameters along the gradients that the network holds. Returns the gradients' norm before clipping.
    ///
    /// # Errors
    /// When the norm is not a finite number; then nothing has moved.
    pub fn update(&mut self, network: &mut Network<B>, learning_rate: f64) -> Result<f64> {
        let norm = network.gradient_norm();
        ensure!(
            norm.is_finite(),
            "the gradient's norm is {norm}: a lower learning_rate may help"
        );
        let scale = match self.config.clip_norm {
            Some(limit) if norm > limit => (limit / norm) as f32,
            _ => 1.0,
        };
        self.steps += 1;
        network.update(
            &self.config.rule(learning_rate, self.steps),
            scale,
            &mut self.slots,
        );
        Ok(norm)
    }

    /// What it keeps, on the host, for a checkpoint: `first_moment.embedding` and so on. The number of steps is kept apart.
    pub fn arrays(&self, network: &Network<B>) -> Vec<Array> {
        let names = self.config.rule(0.0, 1).slots();
        let mut arrays = Vec::new();
        for (parameter, slots) in network.parameters().iter().zip(&self.slots) {
            for (name, slot) in names.iter().zip(slots) {
                let mut array = parameter.array_of(B::Device::read(slot));
                array.name = format!("{name}.{}", parameter.name);
                arrays.push(array);
            }
        }
        arrays
    }

    /// Takes up where the optimizer stood that gave `arrays` after `steps` steps.
    ///
    /// # Errors
    /// When an array is missing or has another shape.
    pub fn load(&mut self, network: &Network<B>, arrays: &[Array], steps: u64) -> Result<()> {
        let names = self.config.rule(0.0, 1).slots();
        for (parameter, slots) in network.parameters().iter().zip(&mut self.slots) {
            let (rows, columns) = parameter.matrix.shape();
            for (name, slot) in names.iter().zip(slots) {
                let array = Array::find(
                    arrays,
                    &format!("{name}.{}", parameter.name),
                    &[rows, columns],
                )?;
                B::Device::write(slot, &array.values);
            }
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
