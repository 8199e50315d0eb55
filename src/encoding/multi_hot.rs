//! A time step as the 88 keys of a piano, each down or up: what the sigmoid model reads and predicts.
//!
//! As [`super::chord`], without any limit, and with pitches outside the piano lost.

use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;

use super::chord::{chord_text, decode_steps, one_pitch, parse_chord};
use super::{Encode, SingleNote, Symbol};
use crate::corpus::score::{PIANO, Score};

/// The encoding of keys.
#[derive(Debug, Clone, Copy)]
pub struct MultiHot {
    /// The grid, as in [`super::chord::Chord`].
    pub steps_per_beat: u32,
}

impl Encode for MultiHot {
    fn encode(&self, score: &Score, _: &mut ChaCha8Rng) -> Vec<Symbol> {
        score
            .chords(self.steps_per_beat)
            .into_iter()
            .map(|chord| Symbol(chord & PIANO))
            .collect()
    }

    fn decode(&self, symbols: &[Symbol]) -> Score {
        decode_steps(symbols, self.steps_per_beat)
    }

    fn text(&self, symbol: Symbol) -> String {
        chord_text(symbol)
    }

    fn parse(&self, text: &str) -> Result<Symbol> {
        let symbol = parse_chord(text)?;
        ensure!(
            symbol.0 & !PIANO == 0,
            "'{text}': the pitches of a piano are from 21 to 108"
        );
        Ok(symbol)
    }

    fn single_note(&self, symbol: Symbol) -> Option<SingleNote> {
        one_pitch(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn keys_go_from_the_lowest_a_to_the_highest_c() {
        let ends = Symbol(1 << 21 | 1 << 108);
        let multi_hot = MultiHot { steps_per_beat: 4 };
        assert_eq!(multi_hot.parse("21-108").unwrap(), ends);
        assert!(multi_hot.parse("20").is_err() && multi_hot.parse("109").is_err());
    }

    #[test]
    fn pitches_outside_the_piano_are_left_out() {
        let multi_hot = MultiHot { steps_per_beat: 4 };
        let score = Score::from_chords(&[1 << 20 | 1 << 60, 1 << 109, 0], 120, 480);
        let symbols = multi_hot.encode(&score, &mut stream(1, "unused"));
        assert_eq!(symbols, [Symbol(1 << 60), Symbol(0), Symbol(0)]);
        assert_eq!(
            multi_hot.encode(&multi_hot.decode(&symbols), &mut stream(1, "unused")),
            symbols
        );
    }
}
