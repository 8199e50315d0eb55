//! Scores ⇄ symbols ⇄ token ids.
//!
//! An [`Encode`] writes a score as [`Symbol`]s and back, a [`vocabulary::Vocabulary`] numbers the symbols, and a
//! [`dataset::Dataset`] holds a whole corpus as numbers. Nothing here knows of tensors.

pub mod cache;
pub mod chord;
pub mod dataset;
pub mod midi_message;
pub mod multi_hot;
pub mod music;
pub mod statistics;
pub mod vocabulary;

use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::corpus::score::{NoteKind, STEPS_PER_BEAT, Score};
use chord::{Chord, PolyphonyLimit};
use midi_message::MidiMessage;
use multi_hot::MultiHot;

/// One symbol of an encoding, as that encoding packs it; for chords, bit p is MIDI pitch p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(pub u128);

/// The one note that a symbol stands for, if it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SingleNote {
    /// MIDI pitch.
    pub pitch: u8,
    /// Whether the note starts or ends; `None` where symbols say what sounds.
    pub kind: Option<NoteKind>,
}

/// A way to write a score as symbols and back. Each encoding documents what it loses.
pub trait Encode: Send + Sync {
    /// The score's symbols; `rng` is drawn from only where an encoding leaves notes out by chance.
    fn encode(&self, score: &Score, rng: &mut ChaCha8Rng) -> Vec<Symbol>;

    /// A score that has these symbols.
    fn decode(&self, symbols: &[Symbol]) -> Score;

    /// The symbol as text without spaces.
    fn text(&self, symbol: Symbol) -> String;

    /// The symbol with this text.
    fn parse(&self, text: &str) -> Result<Symbol>;

    /// The note, if the symbol is about exactly one.
    fn single_note(&self, symbol: Symbol) -> Option<SingleNote>;
}

/// The encodings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncodingKind {
    /// Note messages with their delta times: [`midi_message`].
    #[default]
    MidiMessage,
    /// What sounds in each time step, as one token: [`chord`].
    Chord,
    /// What sounds in each time step, as 88 keys: [`multi_hot`].
    MultiHot,
}

/// How scores become symbols: `encoding` in an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncodingConfig {
    /// Which encoding.
    pub kind: EncodingKind,
    /// Chord: the most notes that may sound in a step; of more, [`polyphony_keep`](Self::polyphony_keep) are drawn. None: no limit.
    pub polyphony_limit: Option<usize>,
    /// Chord: how many notes are kept of a step over the limit. The paper keeps 3 of more than 4.
    pub polyphony_keep: usize,
    /// The seed of the draws. No other random choice depends on it.
    pub seed: u64,
    /// Chord and multi-hot: the steps of a beat. Piano rolls are scores of [`STEPS_PER_BEAT`] steps a beat.
    pub steps_per_beat: u32,
}

impl Default for EncodingConfig {
    fn default() -> Self {
        EncodingConfig {
            kind: EncodingKind::default(),
            polyphony_limit: None,
            polyphony_keep: 3,
            seed: 1,
            steps_per_beat: STEPS_PER_BEAT,
        }
    }
}

impl EncodingConfig {
    /// The encoding, if its settings go together.
    pub fn build(&self) -> Result<Box<dyn Encode>> {
        let most = chord::MAX_STEPS_PER_BEAT;
        ensure!(
            (1..=most).contains(&self.steps_per_beat),
            "encoding.steps_per_beat is {}: it must be from 1 to {most}",
            self.steps_per_beat
        );
        let limit = match self.polyphony_limit {
            None => None,
            Some(limit) => {
                ensure!(
                    self.kind == EncodingKind::Chord,
                    "encoding.polyphony_limit is set, but only kind chord has a limit"
                );
                let keep = self.polyphony_keep;
                ensure!(
                    (1..=limit).contains(&keep),
                    "encoding.polyphony_keep is {keep} with a polyphony_limit of {limit}: it must be from 1 to the limit"
                );
                Some(PolyphonyLimit { limit, keep })
            }
        };
        let steps_per_beat = self.steps_per_beat;
        Ok(match self.kind {
            EncodingKind::MidiMessage => Box::new(MidiMessage),
            EncodingKind::Chord => Box::new(Chord {
                steps_per_beat,
                limit,
            }),
            EncodingKind::MultiHot => Box::new(MultiHot { steps_per_beat }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_yaml(yaml: &str) -> Result<EncodingConfig> {
        Ok(serde_yaml::from_str(yaml)?)
    }

    #[test]
    fn reads_only_what_differs_from_the_defaults() {
        let expected = EncodingConfig {
            kind: EncodingKind::Chord,
            polyphony_limit: Some(4),
            ..EncodingConfig::default()
        };
        assert_eq!(
            from_yaml("kind: chord\npolyphony_limit: 4").unwrap(),
            expected
        );
        assert!(expected.build().is_ok());
        assert!(EncodingConfig::default().build().is_ok());
    }

    #[test]
    fn an_unknown_field_or_kind_is_named_with_its_line() {
        let error = from_yaml("kind: chord\npolyphony: 4")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("unknown field `polyphony`") && error.contains("line 2"),
            "{error}"
        );
        let error = from_yaml("seed: 1\nkind: chords").unwrap_err().to_string();
        assert!(
            error.contains("unknown variant `chords`") && error.contains("line 2"),
            "{error}"
        );
    }

    #[test]
    fn refuses_settings_that_do_not_go_together() {
        let error = |yaml| from_yaml(yaml).unwrap().build().err().unwrap().to_string();
        assert_eq!(
            error("polyphony_limit: 4"),
            "encoding.polyphony_limit is set, but only kind chord has a limit"
        );
        assert_eq!(
            error("kind: chord\npolyphony_limit: 2"),
            "encoding.polyphony_keep is 3 with a polyphony_limit of 2: it must be from 1 to the limit"
        );
        assert_eq!(
            error("steps_per_beat: 0"),
            "encoding.steps_per_beat is 0: it must be from 1 to 273"
        );
    }
}
