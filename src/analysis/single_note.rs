//! A vocabulary and its embedding table → the single-note rows that the paper's maps draw.
//!
//! Note messages: for each kind and pitch the most frequent token that occurs often enough, and as a second map the
//! count-weighted mean of all tokens of that kind and pitch. Chords: the one-note chords. Keys: those that occur.

use std::collections::BTreeMap;

use crate::analysis::{NoteRow, TokenKind};
use crate::corpus::score::{KEYS, LOWEST_KEY, NoteKind, pitches_of};
use crate::encoding::vocabulary::Vocabulary;
use crate::encoding::{Encode, EncodingKind};

/// The fewest occurrences of a note message's token in the `most-frequent` map.
const FEWEST_OCCURRENCES: u64 = 20;

/// An embedding table: `width` numbers a row, trained and untrained.
pub struct Tables<'a> {
    /// After training, `(V, E)`.
    pub trained: &'a [f32],
    /// Before training, `(V, E)`.
    pub untrained: &'a [f32],
    /// `E`.
    pub width: usize,
}

impl Tables<'_> {
    fn row(&self, table: &[f32], row: usize) -> Vec<f64> {
        table[row * self.width..(row + 1) * self.width]
            .iter()
            .map(|&value| f64::from(value))
            .collect()
    }

    /// The mean of some rows, each counted as often as it occurs.
    fn mean(&self, table: &[f32], rows: &[(usize, u64)]) -> Vec<f64> {
        let total: u64 = rows.iter().map(|(_, count)| count).sum();
        let mut mean = vec![0.0; self.width];
        for &(row, count) in rows {
            let share = count as f64 / total as f64;
            for (sum, value) in mean.iter_mut().zip(self.row(table, row)) {
                *sum += share * value;
            }
        }
        mean
    }
}

/// The maps of one encoding: each a name and its rows, by kind and pitch.
pub fn single_notes(
    kind: EncodingKind,
    encoding: &dyn Encode,
    vocabulary: &Vocabulary,
    tables: &Tables,
) -> Vec<(String, Vec<NoteRow>)> {
    match kind {
        EncodingKind::MidiMessage => note_messages(encoding, vocabulary, tables),
        EncodingKind::Chord => vec![(
            "one-note-chords".into(),
            one_note_chords(encoding, vocabulary, tables),
        )],
        EncodingKind::MultiHot => vec![(
            "keys".into(),
            keys(&played(kind, encoding, vocabulary), tables),
        )],
    }
}

/// How often each pitch is played: note-ons for note messages, sounding steps for chords and keys.
pub fn played(kind: EncodingKind, encoding: &dyn Encode, vocabulary: &Vocabulary) -> [u64; 128] {
    let mut played = [0; 128];
    for (symbol, count) in vocabulary.iter() {
        match kind {
            EncodingKind::MidiMessage => {
                if let Some(note) = encoding
                    .single_note(symbol)
                    .filter(|note| note.kind == Some(NoteKind::On))
                {
                    played[usize::from(note.pitch)] += count;
                }
            }
            EncodingKind::Chord | EncodingKind::MultiHot => {
                for pitch in pitches_of(symbol.0) {
                    played[usize::from(pitch)] += count;
                }
            }
        }
    }
    played
}

fn note_messages(
    encoding: &dyn Encode,
    vocabulary: &Vocabulary,
    tables: &Tables,
) -> Vec<(String, Vec<NoteRow>)> {
    let mut tokens: BTreeMap<(TokenKind, u8), Vec<(usize, u64)>> = BTreeMap::new();
    for (id, (symbol, count)) in vocabulary.iter().enumerate() {
        if let Some(note) = encoding.single_note(symbol) {
            tokens
                .entry((token_kind(note.kind), note.pitch))
                .or_default()
                .push((id, count));
        }
    }
    let mut most_frequent = Vec::new();
    let mut means = Vec::new();
    for (&(kind, pitch), rows) in &tokens {
        // Ids are given out by falling count: the first is the most frequent.
        let (id, count) = rows[0];
        if count >= FEWEST_OCCURRENCES {
            let symbol = vocabulary
                .symbol(id as u32)
                .expect("the id was just read off the vocabulary");
            most_frequent.push(NoteRow {
                token: encoding.text(symbol),
                kind,
                pitch,
                count,
                trained: tables.row(tables.trained, id),
                untrained: tables.row(tables.untrained, id),
            });
        }
        means.push(NoteRow {
            token: format!("note-{}-{pitch}", kind.name()),
            kind,
            pitch,
            count: rows.iter().map(|(_, count)| count).sum(),
            trained: tables.mean(tables.trained, rows),
            untrained: tables.mean(tables.untrained, rows),
        });
    }
    vec![
        ("most-frequent".into(), most_frequent),
        ("mean".into(), means),
    ]
}

fn token_kind(kind: Option<NoteKind>) -> TokenKind {
    match kind {
        Some(NoteKind::On) => TokenKind::On,
        Some(NoteKind::Off) => TokenKind::Off,
        None => TokenKind::Note,
    }
}

fn one_note_chords(
    encoding: &dyn Encode,
    vocabulary: &Vocabulary,
    tables: &Tables,
) -> Vec<NoteRow> {
    let single = |(id, (symbol, count))| Some((id, encoding.single_note(symbol)?.pitch, count));
    let mut rows: Vec<NoteRow> = vocabulary
        .iter()
        .enumerate()
        .filter_map(single)
        .map(|(id, pitch, count)| note_row(pitch, count, tables, id))
        .collect();
    rows.sort_by_key(|row| row.pitch);
    rows
}

fn keys(played: &[u64; 128], tables: &Tables) -> Vec<NoteRow> {
    let row = |key: usize| {
        let pitch = LOWEST_KEY + key as u8;
        note_row(pitch, played[usize::from(pitch)], tables, key)
    };
    (0..KEYS).map(row).filter(|row| row.count > 0).collect()
}

fn note_row(pitch: u8, count: u64, tables: &Tables, row: usize) -> NoteRow {
    NoteRow {
        token: pitch.to_string(),
        kind: TokenKind::Note,
        pitch,
        count,
        trained: tables.row(tables.trained, row),
        untrained: tables.row(tables.untrained, row),
    }
}
