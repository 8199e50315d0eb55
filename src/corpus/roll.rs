//! Piano rolls as pieces: the text that identifies one, and the score that it is.

use std::fmt::Write;

use super::mat::Roll;
use super::score::{NoteKind, NoteMessage, Score, Ticks};

/// Ticks in a beat of a roll's score. With one tick a step, the published rolls then move at a plausible speed.
pub const TICKS_PER_BEAT: u16 = 2;

impl Roll {
    /// The text that the roll's SHA-256 is of: one line of JSON, without a line feed.
    ///
    /// `{"split":"train","id":0,"chords":["60-64-67",""]}`: each step's MIDI pitches, ascending.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{{\"split\":\"{}\",\"id\":{},\"chords\":[",
            self.split.name(),
            self.id
        );
        for (index, step) in self.steps.iter().enumerate() {
            text.push_str(if index == 0 { "\"" } else { ",\"" });
            for (index, pitch) in pitches(*step).enumerate() {
                let joint = if index == 0 { "" } else { "-" };
                write!(text, "{joint}{pitch}").expect("a string takes anything");
            }
            text.push('"');
        }
        text.push_str("]}");
        text
    }

    /// The roll as a score of one track, one tick a step: a pitch that goes on sounding is one long note, since a roll does not
    /// say where it was struck anew. At a step's beginning, notes end before others start.
    pub fn to_score(&self) -> Score {
        let mut track = Vec::new();
        let mut last = 0;
        let mut sounding = 0;
        let end = [0_u128];
        for (now, step) in self.steps.iter().chain(&end).enumerate() {
            let changes = [
                (NoteKind::Off, sounding & !step),
                (NoteKind::On, step & !sounding),
            ];
            for (kind, changed) in changes {
                for pitch in pitches(changed) {
                    track.push(NoteMessage {
                        delta: (now - last) as Ticks,
                        kind,
                        pitch,
                    });
                    last = now;
                }
            }
            sounding = *step;
        }
        Score {
            ticks_per_beat: TICKS_PER_BEAT,
            tracks: vec![track],
            duration: self.steps.len() as u64,
        }
    }
}

/// The pitches of a step, ascending.
fn pitches(step: u128) -> impl Iterator<Item = u8> {
    (0..128).filter(move |pitch| step >> pitch & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::split::Split;

    fn roll(steps: &[u128]) -> Roll {
        Roll {
            split: Split::Valid,
            id: 3,
            steps: steps.to_vec(),
        }
    }

    #[test]
    fn a_roll_is_one_line_of_json() {
        let text = roll(&[1 << 60 | 1 << 64 | 1 << 67, 0, 1 << 127]).text();
        assert_eq!(
            text,
            r#"{"split":"valid","id":3,"chords":["60-64-67","","127"]}"#
        );
        assert_eq!(roll(&[]).text(), r#"{"split":"valid","id":3,"chords":[]}"#);
    }

    #[test]
    fn held_pitches_are_one_note_and_trailing_silence_counts() {
        let score = roll(&[0, 1 << 60 | 1 << 64, 1 << 60, 1 << 62, 0, 0]).to_score();
        let message = |delta, kind, pitch| NoteMessage { delta, kind, pitch };
        let expected = vec![
            message(1, NoteKind::On, 60),
            message(0, NoteKind::On, 64),
            message(1, NoteKind::Off, 64),
            message(1, NoteKind::Off, 60),
            message(0, NoteKind::On, 62),
            message(1, NoteKind::Off, 62),
        ];
        assert_eq!(score.tracks, [expected]);
        assert_eq!(score.duration, 6);
    }
}
