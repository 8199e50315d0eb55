//! One token a note message, `note-on-60-0` or `note-off-60-480`: kind, pitch, and the ticks since the track's last note message.
//!
//! The tracks are written end to end, as in the paper ("flattened"). Lost: where one track ends and the next begins, so that decoding
//! gives one track; how many ticks make a beat, which decoding takes as 480; and silence after the last message.

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha8Rng;

use super::{Encode, SingleNote, Symbol};
use crate::corpus::score::{NoteKind, NoteMessage, Score, Ticks};

/// The ticks of a beat in a decoded score, since tokens do not say.
pub const TICKS_PER_BEAT: u16 = 480;

/// The encoding of note messages.
#[derive(Debug, Clone, Copy)]
pub struct MidiMessage;

impl Encode for MidiMessage {
    fn encode(&self, score: &Score, _: &mut ChaCha8Rng) -> Vec<Symbol> {
        let mut symbols = Vec::with_capacity(score.messages());
        symbols.extend(score.tracks.iter().flatten().map(pack));
        symbols
    }

    fn decode(&self, symbols: &[Symbol]) -> Score {
        let track: Vec<NoteMessage> = symbols.iter().map(|&symbol| unpack(symbol)).collect();
        let duration = track.iter().map(|message| u64::from(message.delta)).sum();
        Score {
            ticks_per_beat: TICKS_PER_BEAT,
            tracks: vec![track],
            duration,
        }
    }

    fn text(&self, symbol: Symbol) -> String {
        let NoteMessage { delta, kind, pitch } = unpack(symbol);
        match kind {
            NoteKind::On => format!("note-on-{pitch}-{delta}"),
            NoteKind::Off => format!("note-off-{pitch}-{delta}"),
        }
    }

    fn parse(&self, text: &str) -> Result<Symbol> {
        let form = || format!("'{text}' is no note message; an example is `note-on-60-0`");
        let (kind, rest) = match (
            text.strip_prefix("note-on-"),
            text.strip_prefix("note-off-"),
        ) {
            (Some(rest), _) => (NoteKind::On, rest),
            (_, Some(rest)) => (NoteKind::Off, rest),
            _ => anyhow::bail!(form()),
        };
        let (pitch, delta) = rest.split_once('-').with_context(form)?;
        let message = NoteMessage {
            delta: delta.parse().with_context(form)?,
            kind,
            pitch: pitch.parse().with_context(form)?,
        };
        ensure!(message.pitch < 128, "'{text}': a pitch is from 0 to 127");
        Ok(pack(&message))
    }

    fn single_note(&self, symbol: Symbol) -> Option<SingleNote> {
        let NoteMessage { kind, pitch, .. } = unpack(symbol);
        Some(SingleNote {
            pitch,
            kind: Some(kind),
        })
    }
}

/// Kind, pitch and delta from the high bits to the low, so that symbols sort in this order.
fn pack(message: &NoteMessage) -> Symbol {
    let off = u64::from(message.kind == NoteKind::Off);
    Symbol(u128::from(
        off << 39 | u64::from(message.pitch & 127) << 32 | u64::from(message.delta),
    ))
}

fn unpack(Symbol(bits): Symbol) -> NoteMessage {
    let kind = if bits >> 39 & 1 == 0 {
        NoteKind::On
    } else {
        NoteKind::Off
    };
    NoteMessage {
        delta: bits as Ticks,
        kind,
        pitch: (bits >> 32) as u8 & 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;
    use proptest::prelude::*;

    #[test]
    fn writes_tracks_end_to_end() {
        let message = |delta, kind, pitch| NoteMessage { delta, kind, pitch };
        let first = vec![
            message(0, NoteKind::On, 60),
            message(480, NoteKind::Off, 60),
        ];
        let second = vec![
            message(7, NoteKind::On, 127),
            message(Ticks::MAX, NoteKind::Off, 0),
        ];
        let score = Score {
            ticks_per_beat: 96,
            tracks: vec![first, vec![], second],
            duration: 1,
        };
        let symbols = MidiMessage.encode(&score, &mut stream(1, "unused"));
        let texts: Vec<String> = symbols
            .iter()
            .map(|&symbol| MidiMessage.text(symbol))
            .collect();
        assert_eq!(
            texts,
            [
                "note-on-60-0",
                "note-off-60-480",
                "note-on-127-7",
                "note-off-0-4294967295"
            ]
        );
        assert_eq!(MidiMessage.decode(&symbols[..2]).duration, 480);
        assert_eq!(
            MidiMessage.single_note(symbols[1]),
            Some(SingleNote {
                pitch: 60,
                kind: Some(NoteKind::Off)
            })
        );
    }

    #[test]
    fn rejects_what_is_no_message() {
        for text in [
            "",
            "note-on-60",
            "note-on-128-0",
            "note-on-60-x",
            "note-60-0",
            "note-on-60-4294967296",
        ] {
            assert!(MidiMessage.parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn symbols_and_texts_come_back(messages in prop::collection::vec((any::<u32>(), any::<bool>(), 0u8..128), 0..50)) {
            let message = |(delta, on, pitch)| NoteMessage { delta, kind: if on { NoteKind::On } else { NoteKind::Off }, pitch };
            let symbols: Vec<Symbol> = messages.into_iter().map(|it| pack(&message(it))).collect();
            prop_assert_eq!(&MidiMessage.encode(&MidiMessage.decode(&symbols), &mut stream(1, "unused")), &symbols);
            for &symbol in &symbols {
                prop_assert_eq!(MidiMessage.parse(&MidiMessage.text(symbol)).unwrap(), symbol);
            }
        }
    }
}
