//! The rows that are analysed: one single-note token's embedding each, by kind and pitch.

use serde::{Deserialize, Serialize};

/// What a single-note token says about its note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// The note starts (MIDI messages).
    On,
    /// The note ends (MIDI messages).
    Off,
    /// The note sounds (chords and keys).
    Note,
}

impl TokenKind {
    /// The name in tables: `on`, `off` or `note`.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Note => "note",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::On, Self::Off, Self::Note]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A third of the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Pitches below 48.
    Low,
    /// Pitches from 48 to 71.
    Middle,
    /// Pitches from 72.
    High,
}

impl Register {
    /// The register of a MIDI pitch.
    pub fn of(pitch: u8) -> Self {
        match pitch {
            0..48 => Self::Low,
            48..72 => Self::Middle,
            _ => Self::High,
        }
    }

    /// The name in tables: `low`, `middle` or `high`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Middle => "middle",
            Self::High => "high",
        }
    }
}

/// One single-note token's embedding, or the mean of several tokens of the same kind and pitch.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteRow {
    /// The token, or a name for the mean.
    pub token: String,
    /// What it says about its note.
    pub kind: TokenKind,
    /// MIDI pitch.
    pub pitch: u8,
    /// How often it occurs in the corpus the vocabulary was made from.
    pub count: u64,
    /// The trained embedding.
    pub trained: Vec<f64>,
    /// The same row at initialisation.
    pub untrained: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_split_at_48_and_72() {
        let names = [47, 48, 71, 72].map(|pitch| Register::of(pitch).name());
        assert_eq!(names, ["low", "middle", "middle", "high"]);
    }
}
