//! Samples as a run records them: which seed and temperature made each, and its notes in seconds, so that a page can draw and play them.
//!
//! `samples.json` holds a list of these; the MIDI file of each lies in `samples/`.

use serde::{Deserialize, Serialize};

use crate::corpus::score::{BEATS_PER_MINUTE, Note, Score};

/// Where a sample's music is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A model wrote it.
    Generated,
    /// It is an excerpt of a corpus's piece, for comparison.
    Real,
}

/// One piece of music that a run keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The MIDI file's name in `samples/`.
    pub file: String,
    /// Where it is from.
    pub origin: Origin,
    /// What a reader should know: the model and checkpoint, or the piece an excerpt is from.
    pub description: String,
    /// The seed it was drawn with; absent for an excerpt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The temperature it was drawn at; absent for an excerpt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// How many of the likeliest tokens were drawn from; absent if all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Notes that had no end and end with the piece.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub notes_closed_at_end: usize,
    /// Notes that were left out of the file, since they ended where they started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub notes_without_duration: usize,
    /// The notes of the file in order of onset, then pitch.
    pub notes: Vec<SampleNote>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One note: when it starts and how long it lasts, in seconds at [`BEATS_PER_MINUTE`], and its MIDI pitch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleNote(pub f64, pub f64, pub u8);

impl SampleNote {
    /// Seconds from the beginning.
    pub fn onset(self) -> f64 {
        self.0
    }

    /// Seconds it sounds.
    pub fn duration(self) -> f64 {
        self.1
    }

    /// MIDI pitch.
    pub fn pitch(self) -> u8 {
        self.2
    }
}

/// The notes of a score in seconds, to the millisecond; what a note is, [`Score::each_note`] says.
pub fn notes(score: &Score) -> Vec<SampleNote> {
    let seconds = |ticks: u64| {
        let beats = ticks as f64 / f64::from(score.ticks_per_beat.max(1));
        (beats * 60.0 / BEATS_PER_MINUTE * 1000.0).round() / 1000.0
    };
    let note = |note: Note| SampleNote(seconds(note.onset), seconds(note.duration), note.pitch);
    score.notes().into_iter().map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::score::{NoteKind, NoteMessage};

    #[test]
    fn notes_are_timed_in_seconds_and_open_ones_last_to_the_end() {
        let message = |delta, kind, pitch| NoteMessage { delta, kind, pitch };
        let score = Score {
            ticks_per_beat: 480,
            tracks: vec![
                vec![
                    message(0, NoteKind::On, 60),
                    message(480, NoteKind::Off, 60),
                    message(0, NoteKind::Off, 61),
                ],
                vec![message(240, NoteKind::On, 48)],
            ],
            duration: 960,
        };
        assert_eq!(
            notes(&score),
            [SampleNote(0.0, 0.5, 60), SampleNote(0.25, 0.75, 48)]
        );
    }
}
