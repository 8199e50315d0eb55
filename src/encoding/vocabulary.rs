//! The vocabulary: the symbols that a model knows, and their ids.

use anyhow::{Context, Result, ensure};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{Encode, Symbol};

/// Which pieces' symbols make the vocabulary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VocabularySource {
    /// Those of the train split. All others are unknown to the model.
    #[default]
    Train,
    /// Those of all splits, as the paper counts MIDI corpora.
    Corpus,
}

/// What a model knows: `vocabulary` in an experiment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VocabularyConfig {
    /// Which pieces' symbols.
    pub from: VocabularySource,
}

/// Symbols ⇄ ids. Ids go from 0 by falling count, and by symbol where counts are equal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    symbols: Vec<Symbol>,
    counts: Vec<u64>,
    ids: FxHashMap<Symbol, u32>,
}

impl Vocabulary {
    /// Numbers these symbols, which must be distinct, by how often they occur.
    pub fn from_counts(mut counts: Vec<(Symbol, u64)>) -> Vocabulary {
        counts.sort_unstable_by_key(|&(symbol, count)| (std::cmp::Reverse(count), symbol));
        Vocabulary::in_order(counts)
    }

    /// Numbers these symbols in the given order.
    pub(super) fn in_order(counts: Vec<(Symbol, u64)>) -> Vocabulary {
        let ids = counts
            .iter()
            .zip(0..)
            .map(|(&(symbol, _), id)| (symbol, id))
            .collect();
        let (symbols, counts) = counts.into_iter().unzip();
        Vocabulary {
            symbols,
            counts,
            ids,
        }
    }

    /// How many symbols there are; ids from here on are unknown ones.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there is no symbol.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The symbol with this id, if it is known.
    pub fn symbol(&self, id: u32) -> Option<Symbol> {
        self.symbols.get(id as usize).copied()
    }

    /// The id of this symbol, if it is known.
    pub fn id(&self, symbol: Symbol) -> Option<u32> {
        self.ids.get(&symbol).copied()
    }

    /// How often the symbol with this id occurs in the pieces that made the vocabulary; 0 if it is unknown.
    pub fn count(&self, id: u32) -> u64 {
        self.counts.get(id as usize).copied().unwrap_or(0)
    }

    /// The symbols with their counts, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Symbol, u64)> + '_ {
        self.symbols
            .iter()
            .copied()
            .zip(self.counts.iter().copied())
    }

    /// One line a symbol, in the order of ids: its text, a tab, its count.
    pub fn to_text(&self, encoding: &dyn Encode) -> String {
        self.iter()
            .map(|(symbol, count)| format!("{}\t{count}\n", encoding.text(symbol)))
            .collect()
    }

    /// Reads what [`Vocabulary::to_text`] wrote; the ids are the lines' order.
    pub fn from_text(text: &str, encoding: &dyn Encode) -> Result<Vocabulary> {
        let read = |line: &str| -> Result<(Symbol, u64)> {
            let (symbol, count) = line
                .split_once('\t')
                .context("a token, a tab and its count are expected")?;
            let count = count
                .parse()
                .with_context(|| format!("'{count}' is no count"))?;
            Ok((encoding.parse(symbol)?, count))
        };
        let counts = text
            .lines()
            .enumerate()
            .map(|(number, line)| {
                read(line).with_context(|| format!("vocabulary line {}", number + 1))
            })
            .collect::<Result<Vec<_>>>()?;
        let lines = counts.len();
        let vocabulary = Vocabulary::in_order(counts);
        ensure!(
            vocabulary.ids.len() == lines,
            "a token occurs twice in the vocabulary"
        );
        Ok(vocabulary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::chord::Chord;

    const CHORD: Chord = Chord {
        steps_per_beat: 4,
        limit: None,
    };

    #[test]
    fn ids_go_by_falling_count_then_by_symbol() {
        let vocabulary =
            Vocabulary::from_counts(vec![(Symbol(8), 1), (Symbol(2), 1), (Symbol(4), 7)]);
        assert_eq!(vocabulary.to_text(&CHORD), "2\t7\n1\t1\n3\t1\n");
        assert_eq!(vocabulary.id(Symbol(4)), Some(0));
        assert_eq!(
            (vocabulary.symbol(2), vocabulary.count(0)),
            (Some(Symbol(8)), 7)
        );
        assert_eq!(
            (
                vocabulary.id(Symbol(16)),
                vocabulary.symbol(3),
                vocabulary.count(3)
            ),
            (None, None, 0)
        );
    }

    #[test]
    fn a_written_vocabulary_reads_back_as_the_same() {
        let vocabulary = Vocabulary::from_counts(vec![(Symbol(0), 5), (Symbol(6), 9)]);
        assert_eq!(
            Vocabulary::from_text(&vocabulary.to_text(&CHORD), &CHORD).unwrap(),
            vocabulary
        );
        let error = |text| format!("{:#}", Vocabulary::from_text(text, &CHORD).unwrap_err());
        assert_eq!(
            error("rest\t5\n60"),
            "vocabulary line 2: a token, a tab and its count are expected"
        );
        assert_eq!(
            error("60\t5\n60\t5"),
            "a token occurs twice in the vocabulary"
        );
    }
}
