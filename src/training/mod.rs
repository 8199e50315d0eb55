//! The training loop: windows in, metrics and checkpoints out.
//!
//! What the loop decides depends on the record alone, never on the clock, so that a run which is killed and resumed ends with
//! the same bits as one that was not. Everything that moves between two steps is in a checkpoint.

pub mod baselines;
pub mod config;
pub mod data;
pub mod evaluate;
pub mod optimizer;
pub mod schedule;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Stream, Symbols};
use crate::corpus::split::Split;
use crate::model::backend::Backend;
use crate::model::parameters::Array;
use crate::model::{ModelConfig, Network, State};
use crate::random;
use crate::run::{Checkpoint, NamedArray, Run};
pub use config::{EvaluationConfig, TrainingConfig};
use data::Data;
pub use evaluate::Interrupted;
use evaluate::{SplitScore, evaluate};
use optimizer::Optimizer;

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All epochs were trained, early stopping ended it, or it was to be concluded.
    Complete,
    /// It was asked to stop, and left a checkpoint.
    Interrupted,
}

/// What the loop tells whoever watches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps completed.
    pub step: u64,
    /// Steps in all, if early stopping does not end it sooner.
    pub steps: u64,
    /// The epoch, from 1.
    pub epoch: u32,
    /// Mean loss of the last window, nats per token (per time step for the sigmoid model).
    pub loss: f64,
    /// Tokens (time steps) trained on per second since the loop began, evaluation and records aside.
    pub tokens_per_second: f64,
    /// The held-out score, at the end of an epoch that was scored.
    pub valid: Option<f64>,
}

/// The best held-out score so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Optimizer steps completed.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u32,
    /// The score: nats per time step for chords and keys, nats per token for note messages.
    pub score: f64,
}

/// The part of a checkpoint that is not arrays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    /// Sum of the windows' mean losses in the epoch so far.
    epoch_loss: f64,
    /// The best score so far.
    best: Option<Best>,
    /// Words drawn from the dropout stream.
    dropout_words: u64,
    /// Whether early stopping has ended the training.
    stopped_early: bool,
    /// Whether the score of this step is still to be measured: its evaluation was interrupted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    evaluation_due: bool,
}

/// A network in training.
pub struct Trainer<'a, B: Backend> {
    config: &'a TrainingConfig,
    evaluation: &'a EvaluationConfig,
    data: &'a Data<'a>,
    /// The network.
    pub network: Network<B>,
    optimizer: Optimizer<B>,
    state: State<B::Device>,
    dropout: ChaCha8Rng,
    stream: Stream,
    /// Steps after which training ends, whatever the number of epochs.
    step_limit: u64,
    /// Steps after which it ends though more are planned.
    concluded_at: Option<u64>,
    step: u64,
    position: Position,
}

impl<'a, B: Backend> Trainer<'a, B> {
    /// A trainer at step 0 with a freshly drawn network. Training ends after `step_limit` steps, if that is sooner.
    ///
    /// # Errors
    /// When the training split is too small for one window.
    pub fn new(
        model: &ModelConfig,
        config: &'a TrainingConfig,
        evaluation: &'a EvaluationConfig,
        data: &'a Data<'a>,
        backend: B,
        step_limit: Option<u64>,
    ) -> Result<Self> {
        let network = Network::new(
            model,
            data.alphabet(),
            backend,
            &mut initial_weights(config),
        )?;
        let optimizer = Optimizer::new(&config.optimizer(), &network)?;
        let stream = Stream::new(
            data.train.clone(),
            config.batch_size,
            config.sequence_length,
        )?;
        let state = network.zero_state(config.batch_size);
        let dropout = random::stream(config.seed, "dropout");
        let step_limit = step_limit.unwrap_or(u64::MAX);
        let position = Position::default();
        Ok(Self {
            config,
            evaluation,
            data,
            network,
            optimizer,
            state,
            dropout,
            stream,
            step_limit,
            concluded_at: None,
            step: 0,
            position,
        })
    }

    /// Ends the training after `step` steps, though more are planned; the learning rate falls as it would have.
    pub fn conclude_at(&mut self, step: u64) {
        self.concluded_at = Some(step);
    }

    /// Steps in an epoch.
    fn steps_per_epoch(&self) -> u64 {
        self.stream.windows() as u64
    }

    /// Steps that are planned.
    pub fn steps(&self) -> u64 {
        (self.steps_per_epoch() * u64::from(self.config.epochs)).min(self.step_limit)
    }

    /// The step after which training ends, if early stopping does not end it sooner.
    pub fn last_step(&self) -> u64 {
        self.concluded_at.unwrap_or(u64::MAX).min(self.steps())
    }

    /// Steps completed.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Epochs begun.
    pub fn epoch(&self) -> u32 {
        (self.step.saturating_sub(1) / self.steps_per_epoch()) as u32 + 1
    }

    /// Epochs trained, the last perhaps in part.
    pub fn epochs_trained(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch() as f64
    }

    /// The best held-out score so far; `None` where nothing is held out.
    pub fn best(&self) -> Option<Best> {
        self.position.best
    }

    /// The step and the epoch of the weights that are judged when training has ended: the best on what is held out, else the last.
    pub fn judged_at(&self) -> (u64, u32) {
        let last = (self.step, self.epoch());
        self.best().map_or(last, |best| (best.step, best.epoch))
    }

    /// Whether early stopping has ended the training.
    pub fn stopped_early(&self) -> bool {
        self.position.stopped_early
    }

    /// Whether there is nothing left to train.
    pub fn is_complete(&self) -> bool {
        self.position.stopped_early || self.step >= self.last_step()
    }

    /// Trains to the end, or until `interrupted` is set. `watch` hears of every step.
    ///
    /// # Errors
    /// When a loss or gradient is not a number any more, and when the record cannot be written; [`Interrupted`] where that
    /// happens in an evaluation, which is done again by whoever goes on.
    pub fn train(
        &mut self,
        run: &mut Run,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Ending> {
        let stream = self.stream.clone();
        let (per_epoch, first, steps) = (self.steps_per_epoch(), self.step, self.last_step());
        std::thread::scope(|scope| {
            // Batches are prepared on a thread of their own, two ahead.
            let (send, batches) = sync_channel(2);
            scope.spawn(move || {
                for step in first..steps {
                    if send
                        .send(stream.window((step % per_epoch) as usize))
                        .is_err()
                    {
                        break;
                    }
                }
            });
            if self.position.evaluation_due {
                self.score_valid(run, interrupted)?;
                run.save_checkpoint(&self.checkpoint()?)?;
            } else if self.concluded_at == Some(self.step) {
                // If the checkpoint was of an epoch's end, this gives what is there already.
                self.end_epoch(run, None, interrupted)?;
                run.save_checkpoint(&self.checkpoint()?)?;
            }
            let mut seconds = 0.0;
            while !self.is_complete() {
                let batch = batches
                    .recv()
                    .context("the thread that prepares batches has died")?;
                let started = Instant::now();
                let loss = self.train_step(&batch, run)?;
                seconds += started.elapsed().as_secs_f64();
                let tokens = (self.step - first) * self.stream.window_size() as u64;
                let tokens_per_second = tokens as f64 / seconds;
                let valid = match self.step.is_multiple_of(per_epoch) || self.step == steps {
                    true => self.end_epoch(run, Some(tokens_per_second), interrupted)?,
                    false => None,
                };
                watch(Progress {
                    step: self.step,
                    steps,
                    epoch: self.epoch(),
                    loss,
                    tokens_per_second,
                    valid,
                });
                let is_best = self
                    .position
                    .best
                    .is_some_and(|best| best.step == self.step);
                let stop = interrupted.load(Ordering::Relaxed);
                if is_best
                    || stop
                    || self.is_complete()
                    || self.step.is_multiple_of(self.config.checkpoint_every)
                {
                    run.save_checkpoint(&self.checkpoint()?)?;
                }
                if stop && !self.is_complete() {
                    return Ok(Ending::Interrupted);
                }
                run.tick()?;
            }
            Ok(Ending::Complete)
        })
    }

    /// One window: loss, gradients, update.
    fn train_step(&mut self, batch: &Batch, run: &mut Run) -> Result<f64> {
        if self.step.is_multiple_of(self.steps_per_epoch()) {
            self.state = self.network.zero_state(self.config.batch_size);
            self.position.epoch_loss = 0.0;
        }
        let rate =
            self.config.learning_rate * self.config.schedule.factor_at(self.step, self.steps());
        let loss = f64::from(self.network.loss_and_gradients(
            batch,
            &mut self.state,
            &mut self.dropout,
        )?);
        let step = self.step + 1;
        ensure!(
            loss.is_finite(),
            "the loss is {loss} at step {step}: a lower learning_rate or gradient_clip may help"
        );
        let norm = self
            .optimizer
            .update(&mut self.network, rate)
            .with_context(|| format!("at step {step}"))?;
        self.step = step;
        self.position.epoch_loss += loss;
        if step.is_multiple_of(self.config.log_every) {
            let epoch = self.epoch();
            run.log(step, epoch, Split::Train.name(), "batch_loss", loss);
            run.log(step, epoch, Split::Train.name(), "learning_rate", rate);
            run.log(step, epoch, Split::Train.name(), "gradient_norm", norm);
        }
        Ok(loss)
    }

    /// Logs the epoch's mean loss, if it is whole or the first, and, where it is due, the score on the valid split, which is returned.
    fn end_epoch(
        &mut self,
        run: &mut Run,
        tokens_per_second: Option<f64>,
        interrupted: &AtomicBool,
    ) -> Result<Option<f64>> {
        let (step, epoch) = (self.step, self.epoch());
        let steps_done = (step - 1) % self.steps_per_epoch() + 1;
        // The mean of a few steps says little beside those of whole epochs.
        if steps_done == self.steps_per_epoch() || epoch == 1 {
            log_loss(
                run,
                step,
                epoch,
                Split::Train,
                self.position.epoch_loss / steps_done as f64,
                &self.data.train,
            );
        }
        if let Some(tokens_per_second) = tokens_per_second {
            run.log_timing(step, epoch, "tokens_per_second", tokens_per_second);
        }
        if let Some(mebibytes) = peak_memory() {
            run.log_timing(step, epoch, "memory", mebibytes);
        }
        let due = epoch.is_multiple_of(self.evaluation.every) || step == self.last_step();
        if !due || self.data.valid.is_empty() {
            return Ok(None);
        }
        self.score_valid(run, interrupted).map(Some)
    }

    /// Logs the score on the valid split, and returns it. An interruption leaves a checkpoint which says that it is still due.
    fn score_valid(&mut self, run: &mut Run, interrupted: &AtomicBool) -> Result<f64> {
        let (step, epoch) = (self.step, self.epoch());
        let started = Instant::now();
        let scores = evaluate(
            &self.network,
            self.data,
            &self.data.valid,
            self.evaluation.batch_size,
            interrupted,
            &mut |_| {},
        );
        self.position.evaluation_due = scores
            .as_ref()
            .is_err_and(|error| error.is::<Interrupted>());
        if self.position.evaluation_due {
            run.save_checkpoint(&self.checkpoint()?)?;
        }
        let scores = scores?;
        let score = log_score(run, step, epoch, Split::Valid, &scores, self.data);
        let seconds = started.elapsed().as_secs_f64();
        run.log_timing(step, epoch, "evaluation_seconds", seconds);
        ensure!(
            score.is_finite(),
            "the score on the valid split is {score} at step {step}"
        );
        match self.position.best {
            Some(best) if score >= best.score => {
                let patience = self.config.early_stopping;
                self.position.stopped_early = self.concluded_at != Some(step)
                    && patience.is_some_and(|patience| epoch - best.epoch >= patience);
            }
            _ => self.position.best = Some(Best { step, epoch, score }),
        }
        Ok(score)
    }

    /// All that moves between steps.
    fn checkpoint(&self) -> Result<Checkpoint> {
        let mut arrays = self.network.parameters().arrays();
        arrays.extend(self.optimizer.arrays(&self.network));
        arrays.extend(self.state.arrays());
        let dropout_words = u64::try_from(self.dropout.get_word_pos())
            .context("the dropout stream is exhausted")?;
        let position = Position {
            dropout_words,
            ..self.position.clone()
        };
        Ok(Checkpoint {
            step: self.step,
            epoch: self.epoch(),
            best_step: self.position.best.map(|best| best.step),
            arrays: arrays.into_iter().map(named).collect(),
            state: serde_json::to_value(position)?,
        })
    }

    /// Goes on from `checkpoint` as if training had never stopped.
    ///
    /// # Errors
    /// When the checkpoint is of another model or optimizer.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let arrays = host_arrays(&checkpoint.arrays)?;
        self.network.load(&arrays)?;
        self.optimizer
            .load(&self.network, &arrays, checkpoint.step)?;
        self.network.load_state(&mut self.state, &arrays)?;
        self.position = serde_json::from_value(checkpoint.state)
            .context("the checkpoint's state is not one of training")?;
        self.dropout
            .set_word_pos(u128::from(self.position.dropout_words));
        self.step = checkpoint.step;
        Ok(())
    }

    /// Takes the weights with the best held-out score; the last ones where nothing is held out.
    pub fn take_best(&mut self, run: &Run) -> Result<()> {
        if let Some(best) = self.position.best.filter(|best| best.step != self.step) {
            let checkpoint = run
                .checkpoint(best.step)
                .context("failed to read the best checkpoint")?;
            self.network.load(&host_arrays(&checkpoint.arrays)?)?;
        }
        Ok(())
    }
}

/// The stream that the weights before training are drawn from.
pub fn initial_weights(config: &TrainingConfig) -> ChaCha8Rng {
    random::stream(config.seed, "initial weights")
}

/// Logs a mean loss under its name: per token for tokens, per time step for keys.
fn log_loss(run: &mut Run, step: u64, epoch: u32, split: Split, loss: f64, symbols: &Symbols) {
    match symbols {
        Symbols::Tokens(_) => {
            run.log(step, epoch, split.name(), "loss", loss);
            run.log(step, epoch, split.name(), "perplexity", loss.exp());
        }
        Symbols::Keys(_) => {
            run.log(step, epoch, split.name(), "loss", loss);
            run.log(step, epoch, split.name(), "nll_per_step", loss);
        }
    }
}

/// Logs what `scores` come to and returns what checkpoints are chosen by: nats per step, unknown chords by their rule.
pub fn log_score(
    run: &mut Run,
    step: u64,
    epoch: u32,
    split: Split,
    scores: &[evaluate::PieceScore],
    data: &Data,
) -> f64 {
    let score = SplitScore::of(scores);
    log_loss(run, step, epoch, split, score.loss, &data.train);
    match (&data.train, &data.unknown) {
        (Symbols::Keys(_), _) => run.log(
            step,
            epoch,
            split.name(),
            "frame_accuracy",
            score.frame_accuracy,
        ),
        (Symbols::Tokens(_), Some(_)) => {
            run.log(
                step,
                epoch,
                split.name(),
                "nll_per_step",
                score.nll_per_step,
            );
            run.log(
                step,
                epoch,
                split.name(),
                "unknown_share",
                score.unknown_share,
            );
        }
        (Symbols::Tokens(_), None) => {}
    }
    score.nll_per_step
}

fn named(array: Array) -> NamedArray {
    NamedArray::f32(array.name, array.shape, array.values)
}

/// The weights of `network` as they are stored.
pub fn weights<B: Backend>(network: &Network<B>) -> Vec<NamedArray> {
    network
        .parameters()
        .arrays()
        .into_iter()
        .map(named)
        .collect()
}

/// Stored arrays as a network loads them.
pub fn host_arrays(arrays: &[NamedArray]) -> Result<Vec<Array>> {
    let array = |array: &NamedArray| {
        Ok(Array {
            name: array.name.clone(),
            shape: array.shape.clone(),
            values: array.as_f32()?.to_vec(),
        })
    };
    arrays.iter().map(array).collect()
}

/// The most memory that this process ever held, in MiB, where the system says it.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<f64>()
        .ok()
        .map(|kibibytes| kibibytes / 1024.0)
}
