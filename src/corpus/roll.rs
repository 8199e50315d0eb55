//! Piano rolls as pieces: their text for the checksum, and their score.

use std::fmt::Write;

use super::mat::Roll;
use super::score::{STEPS_PER_BEAT, Score, TICKS_PER_STEP, pitches_of};

impl Roll {
    /// The text that the roll's SHA-256 is computed from: one line of JSON, without a line feed.
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
            for (index, pitch) in pitches_of(*step).enumerate() {
                let joint = if index == 0 { "" } else { "-" };
                write!(text, "{joint}{pitch}").expect("writing to a string cannot fail");
            }
            text.push('"');
        }
        text.push_str("]}");
        text
    }

    /// The roll as a score of one track. Successive steps with the same pitch are one long note: a roll does not record repeated
    /// notes.
    pub fn to_score(&self) -> Score {
        Score::from_chords(
            &self.steps,
            TICKS_PER_STEP,
            (TICKS_PER_STEP * STEPS_PER_BEAT) as u16,
        )
    }
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
    fn the_score_has_the_steps_again() {
        let steps = [0, 1 << 60 | 1 << 64, 1 << 60, 1 << 62, 0, 0];
        assert_eq!(roll(&steps).to_score().chords(STEPS_PER_BEAT), steps);
    }
}
