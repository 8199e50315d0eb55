//! Symbols in order become (inputs, targets): the training stream, its sequences and its windows.
//!
//! The stream is every training piece end to end. It is cut into `B` sequences of equal length, and a window is the next `T` steps of
//! each, so that sequence `b` of one window goes on where sequence `b` of the window before it stopped: the state of the recurrent
//! network can be carried. Targets are the inputs one step later.

use std::ops::Range;

use anyhow::{Result, ensure};

use crate::ensure_usage;

/// The input that stands for "nothing yet": its embedding is the zero vector. It is never a target.
pub const NO_TOKEN: u32 = u32::MAX;

/// A run of symbols, one a time step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symbols {
    /// Token ids of a vocabulary.
    Tokens(Vec<u32>),
    /// Sounding keys: bit `p` is MIDI pitch `p`.
    Keys(Vec<u128>),
}

impl Symbols {
    /// How many time steps.
    pub fn len(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len(),
            Self::Keys(keys) => keys.len(),
        }
    }

    /// Whether there is no time step at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token ids; none if these are keys.
    pub fn tokens(&self) -> &[u32] {
        match self {
            Self::Tokens(tokens) => tokens,
            Self::Keys(_) => &[],
        }
    }

    /// The sets of sounding keys; none if these are tokens.
    pub fn keys(&self) -> &[u128] {
        match self {
            Self::Tokens(_) => &[],
            Self::Keys(keys) => keys,
        }
    }

    /// The steps in `range`.
    pub fn slice(&self, range: Range<usize>) -> Self {
        self.pick(range)
    }

    /// Puts the steps of `more` after these.
    ///
    /// # Panics
    /// When one holds tokens and the other keys.
    pub fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Tokens(tokens), Self::Tokens(more)) => tokens.extend(more),
            (Self::Keys(keys), Self::Keys(more)) => keys.extend(more),
            (Self::Tokens(_), Self::Keys(_)) | (Self::Keys(_), Self::Tokens(_)) => {
                panic!("tokens and keys do not mix")
            }
        }
    }

    /// The symbols at `indices`, in that order.
    fn pick(&self, indices: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Tokens(tokens) => Self::Tokens(indices.map(|i| tokens[i]).collect()),
            Self::Keys(keys) => Self::Keys(indices.map(|i| keys[i]).collect()),
        }
    }
}

/// One window of training or evaluation: `(T, B)` row-major, so step `t` of sequence `b` is at `t * B + b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What the model reads, `(T, B)`.
    pub inputs: Symbols,
    /// What it should predict from that, `(T, B)`.
    pub targets: Symbols,
    /// Sequences `B`.
    pub batch_size: usize,
    /// Time steps `T`.
    pub length: usize,
}

/// All training symbols in order, as `B` sequences read in windows of `T`.
#[derive(Debug, Clone)]
pub struct Stream {
    symbols: Symbols,
    batch_size: usize,
    length: usize,
    windows: usize,
}

impl Stream {
    /// Cuts `symbols` into `batch_size` sequences of whole windows of `length` steps; what is left at the end is not used.
    ///
    /// # Errors
    /// When there are too few symbols for one window.
    pub fn new(symbols: Symbols, batch_size: usize, length: usize) -> Result<Self> {
        let windows = Self::windows_in(symbols.len(), batch_size, length)?;
        Ok(Self {
            symbols,
            batch_size,
            length,
            windows,
        })
    }

    /// Windows in one pass over a stream of so many steps.
    ///
    /// # Errors
    /// When there is none.
    pub fn windows_in(steps: usize, batch_size: usize, length: usize) -> Result<usize> {
        ensure!(
            batch_size > 0 && length > 0,
            "batch size and sequence length must be at least 1"
        );
        let windows = steps.saturating_sub(1) / (batch_size * length);
        ensure_usage!(
            windows > 0,
            "the training stream has {steps} steps, too few for one batch of {batch_size} x {length}: at least {} are needed",
            batch_size * length + 1
        );
        Ok(windows)
    }

    /// Windows in one pass over the stream.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Predictions in one window, `T * B`.
    pub fn window_size(&self) -> usize {
        self.batch_size * self.length
    }

    /// Window `k` of the pass.
    ///
    /// # Panics
    /// When `k` is not below [`Stream::windows`].
    pub fn window(&self, k: usize) -> Batch {
        assert!(k < self.windows, "window {k} of {}", self.windows);
        let sequence_length = self.windows * self.length;
        let first = k * self.length;
        let indices = |shift: usize| {
            (0..self.length).flat_map(move |t| {
                (0..self.batch_size).map(move |b| b * sequence_length + first + t + shift)
            })
        };
        Batch {
            inputs: self.symbols.pick(indices(0)),
            targets: self.symbols.pick(indices(1)),
            batch_size: self.batch_size,
            length: self.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_carry_each_sequence_on_and_targets_are_one_step_later() {
        let stream = Stream::new(Symbols::Tokens((0..14).collect()), 2, 3).unwrap();
        assert_eq!(stream.windows(), 2);
        let first = stream.window(0);
        assert_eq!(first.inputs, Symbols::Tokens(vec![0, 6, 1, 7, 2, 8]));
        assert_eq!(first.targets, Symbols::Tokens(vec![1, 7, 2, 8, 3, 9]));
        assert_eq!(
            stream.window(1).inputs,
            Symbols::Tokens(vec![3, 9, 4, 10, 5, 11])
        );
    }

    #[test]
    fn the_last_target_of_an_exact_fit_is_the_last_symbol() {
        let stream = Stream::new(Symbols::Keys((0..7).collect()), 2, 3).unwrap();
        assert_eq!(stream.windows(), 1);
        assert_eq!(
            stream.window(0).targets,
            Symbols::Keys(vec![1, 4, 2, 5, 3, 6])
        );
    }

    #[test]
    fn too_short_a_stream_says_how_much_is_needed() {
        let error = Stream::new(Symbols::Tokens(vec![0; 6]), 2, 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the training stream has 6 steps, too few for one batch of 2 x 3: at least 7 are needed"
        );
    }
}
