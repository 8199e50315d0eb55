//! The settings of training and evaluation, each default with its reason.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::optimizer::{OptimizerConfig, OptimizerKind};
use super::schedule::Schedule;
use crate::kernel::Precision;

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// The seed that the first weights, dropout and nothing else are drawn from.
    pub seed: u64,
    /// Passes over the training stream.
    pub epochs: u32,
    /// Sequences `B` of the training stream that are read side by side.
    pub batch_size: usize,
    /// Time steps `T` of a window: how far gradients reach back.
    pub sequence_length: usize,
    /// The optimizer; it reads those of the constants below that are its own.
    pub optimizer: OptimizerKind,
    /// The learning rate before the schedule.
    pub learning_rate: f64,
    /// How the learning rate goes on.
    pub schedule: Schedule,
    /// The norm of all gradients together that they are clipped to; `null` for no clipping.
    pub gradient_clip: Option<f64>,
    /// SGD: what is kept of the last step.
    pub momentum: f64,
    /// RMSprop: of the moving average of squares.
    pub decay: f64,
    /// Adam: of the two moving averages.
    pub betas: [f64; 2],
    /// Adam and RMSprop: keeps quotients finite.
    pub epsilon: f64,
    /// The arithmetic of the large products; weights are kept in f32 either way.
    pub precision: Precision,
    /// Stop after this many epochs without a better held-out score; `null` trains all epochs.
    pub early_stopping: Option<u32>,
    /// Steps between checkpoints; an epoch with the best held-out score so far ends with one, too.
    pub checkpoint_every: u64,
    /// Steps between the rows of `batch_loss`, `learning_rate` and `gradient_norm`.
    pub log_every: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 10,
            // The paper's, for all but its largest corpus.
            batch_size: 50,
            sequence_length: 50,
            optimizer: OptimizerKind::Adam,
            learning_rate: 0.002,
            schedule: Schedule::default(),
            gradient_clip: Some(5.0),
            momentum: 0.0,
            decay: 0.9,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            precision: Precision::F32,
            early_stopping: None,
            // Some minutes of a large model; a second of a small one.
            checkpoint_every: 500,
            // Keeps the metrics of a long run under a few MiB.
            log_every: 10,
        }
    }
}

impl TrainingConfig {
    /// What the optimizer reads of it.
    pub fn optimizer(&self) -> OptimizerConfig {
        OptimizerConfig {
            kind: self.optimizer,
            momentum: self.momentum,
            decay: self.decay,
            betas: self.betas,
            epsilon: self.epsilon,
            clip_norm: self.gradient_clip,
        }
    }

    /// Checks every value that its type lets through.
    ///
    /// # Errors
    /// Names the setting, as in an experiment, and its range.
    pub fn validate(&self) -> Result<()> {
        ensure!(self.epochs > 0, "training.epochs must be at least 1");
        ensure!(
            self.batch_size > 0,
            "training.batch_size must be at least 1"
        );
        ensure!(
            self.sequence_length > 0,
            "training.sequence_length must be at least 1"
        );
        let rate = self.learning_rate;
        ensure!(
            rate.is_finite() && rate > 0.0,
            "training.learning_rate must be a positive number"
        );
        ensure!(
            self.early_stopping != Some(0),
            "training.early_stopping must be at least 1, or null"
        );
        ensure!(
            self.checkpoint_every > 0,
            "training.checkpoint_every must be at least 1"
        );
        ensure!(self.log_every > 0, "training.log_every must be at least 1");
        self.schedule.validate()?;
        self.optimizer().validate()
    }
}

/// How a network is scored on held-out pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Epochs between scores on the valid split; the last epoch is always scored.
    pub every: u32,
    /// Pieces that are read side by side. Has no effect on the scores.
    pub batch_size: usize,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every: 1,
            batch_size: 50,
        }
    }
}
