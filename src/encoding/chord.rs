//! One token a time step, `60-64-67`: the pitches that sound, ascending; `rest` where none does.
//!
//! The steps are those of a grid, see [`Score::chords`]. Lost: what is finer than the grid, whether a pitch is held or struck again,
//! and which track has it. A piano roll on the same grid loses nothing.

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Encode, SingleNote, Symbol};
use crate::corpus::score::{Score, TICKS_PER_STEP, pitches_of};

/// The text of silence.
pub const REST: &str = "rest";

/// The finest grid whose beat a MIDI file can still count in ticks.
pub const MAX_STEPS_PER_BEAT: u32 = 0x7FFF / TICKS_PER_STEP;

/// The encoding of chords.
#[derive(Debug, Clone, Copy)]
pub struct Chord {
    /// The grid, at most [`MAX_STEPS_PER_BEAT`].
    pub steps_per_beat: u32,
    /// The limit on the notes of a step, if there is one.
    pub limit: Option<PolyphonyLimit>,
}

/// "Where polyphony exceeds 4, 3 notes are chosen at random": anew at every step, without replacement.
#[derive(Debug, Clone, Copy)]
pub struct PolyphonyLimit {
    /// Steps of at most this many notes are not changed.
    pub limit: usize,
    /// How many notes are kept of the others; at most `limit`.
    pub keep: usize,
}

impl PolyphonyLimit {
    /// The chord, or as many of its notes as are kept.
    pub fn apply(self, chord: u128, rng: &mut ChaCha8Rng) -> u128 {
        if chord.count_ones() as usize <= self.limit {
            return chord;
        }
        let mut pitches: Vec<u8> = pitches_of(chord).collect();
        let mut kept = 0;
        for place in 0..self.keep {
            // Not `usize`: the draws must be the same on every machine.
            let drawn = rng.gen_range(place as u32..pitches.len() as u32);
            pitches.swap(place, drawn as usize);
            kept |= 1 << pitches[place];
        }
        kept
    }
}

impl Encode for Chord {
    fn encode(&self, score: &Score, rng: &mut ChaCha8Rng) -> Vec<Symbol> {
        let limited = |chord| self.limit.map_or(chord, |limit| limit.apply(chord, rng));
        score
            .chords(self.steps_per_beat)
            .into_iter()
            .map(limited)
            .map(Symbol)
            .collect()
    }

    fn decode(&self, symbols: &[Symbol]) -> Score {
        decode_steps(symbols, self.steps_per_beat)
    }

    fn text(&self, symbol: Symbol) -> String {
        chord_text(symbol)
    }

    fn parse(&self, text: &str) -> Result<Symbol> {
        parse_chord(text)
    }

    fn single_note(&self, symbol: Symbol) -> Option<SingleNote> {
        one_pitch(symbol)
    }
}

/// A score that holds runs of equal pitch.
pub(super) fn decode_steps(symbols: &[Symbol], steps_per_beat: u32) -> Score {
    let chords: Vec<u128> = symbols.iter().map(|symbol| symbol.0).collect();
    let ticks_per_beat = TICKS_PER_STEP * steps_per_beat.clamp(1, MAX_STEPS_PER_BEAT);
    Score::from_chords(&chords, TICKS_PER_STEP, ticks_per_beat as u16)
}

pub(super) fn chord_text(symbol: Symbol) -> String {
    if symbol.0 == 0 {
        return REST.to_owned();
    }
    pitches_of(symbol.0)
        .map(|pitch| pitch.to_string())
        .collect::<Vec<_>>()
        .join("-")
}

pub(super) fn parse_chord(text: &str) -> Result<Symbol> {
    if text == REST {
        return Ok(Symbol(0));
    }
    let mut chord = 0u128;
    for pitch in text.split('-') {
        let pitch: u8 = pitch.parse().with_context(|| {
            format!("'{text}' is no chord; examples are `60-64-67` and `{REST}`")
        })?;
        ensure!(pitch < 128, "'{text}': a pitch is from 0 to 127");
        ensure!(
            chord >> pitch == 0,
            "'{text}': the pitches of a chord ascend"
        );
        chord |= 1 << pitch;
    }
    Ok(Symbol(chord))
}

pub(super) fn one_pitch(Symbol(chord): Symbol) -> Option<SingleNote> {
    (chord.count_ones() == 1).then(|| SingleNote {
        pitch: chord.trailing_zeros() as u8,
        kind: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;
    use proptest::prelude::*;

    const PLAIN: Chord = Chord {
        steps_per_beat: 4,
        limit: None,
    };

    #[test]
    fn chords_are_written_as_in_the_paper() {
        let c_major = Symbol(1 << 60 | 1 << 64 | 1 << 67);
        assert_eq!(PLAIN.text(c_major), "60-64-67");
        assert_eq!(PLAIN.text(Symbol(0)), "rest");
        assert_eq!(PLAIN.single_note(c_major), None);
        assert_eq!(
            PLAIN.single_note(Symbol(1 << 60)),
            Some(SingleNote {
                pitch: 60,
                kind: None
            })
        );
        for text in ["", "60-", "64-60", "60-60", "128", "a", "60 64"] {
            assert!(PLAIN.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_keeps_three_of_more_than_four() {
        let limit = PolyphonyLimit { limit: 4, keep: 3 };
        let mut rng = stream(1, "test");
        let five = 0b11111 << 60;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..500 {
            let kept = limit.apply(five, &mut rng);
            assert_eq!((kept & !five, kept.count_ones()), (0, 3));
            seen.insert(kept);
        }
        assert_eq!(
            seen.len(),
            10,
            "each of the 10 ways to keep 3 of 5 is drawn"
        );
        assert_eq!(limit.apply(0b1111, &mut rng), 0b1111);
    }

    proptest! {
        #[test]
        fn steps_and_texts_come_back(steps in prop::collection::vec(any::<u128>(), 0..30), steps_per_beat in 1..=MAX_STEPS_PER_BEAT) {
            let encoding = Chord { steps_per_beat, limit: None };
            let symbols: Vec<Symbol> = steps.into_iter().map(Symbol).collect();
            prop_assert_eq!(&encoding.encode(&encoding.decode(&symbols), &mut stream(1, "unused")), &symbols);
            for &symbol in &symbols {
                prop_assert_eq!(encoding.parse(&encoding.text(symbol)).unwrap(), symbol);
            }
        }
    }
}
