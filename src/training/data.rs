//! A data set as a model sees it: the training symbols in order, the held-out pieces, and what to do with unknown chords.

use anyhow::Result;

use crate::batch::Symbols;
use crate::corpus::score::{KEYS, LOWEST_KEY};
use crate::corpus::split::Split;
use crate::encoding::dataset::Dataset;
use crate::encoding::{EncodingKind, Symbol};
use crate::ensure_usage;
use crate::metric::unknown::UnknownRule;
use crate::model::{Alphabet, BitRange, ModelKind};

/// A piece as the model reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Its name in the corpus.
    pub name: String,
    /// Its symbols; token ids at or above the vocabulary's size are unknown.
    pub symbols: Symbols,
}

/// What a model trains on and is judged by.
pub struct Data<'a> {
    dataset: &'a Dataset,
    encoding: EncodingKind,
    /// All training pieces end to end.
    pub train: Symbols,
    /// The pieces that choose the best checkpoint.
    pub valid: Vec<Piece>,
    /// The pieces that are scored once, at the end.
    pub test: Vec<Piece>,
    /// How unknown chords are scored; absent where every token is known or tokens are not chords.
    pub unknown: Option<UnknownRule>,
}

impl<'a> Data<'a> {
    /// Arranges `dataset`; multi-hot symbols become sets of keys, all others stay token ids. Of each held-out piece only the
    /// first `held_out_limit` symbols are taken, if there is a limit.
    ///
    /// # Errors
    /// When there is nothing to train on.
    pub fn new(
        dataset: &'a Dataset,
        encoding: EncodingKind,
        held_out_limit: Option<usize>,
    ) -> Result<Self> {
        let mut data = Self {
            dataset,
            encoding,
            train: Symbols::Tokens(Vec::new()),
            valid: Vec::new(),
            test: Vec::new(),
            unknown: None,
        };
        let train = dataset.stream(Split::Train);
        ensure_usage!(!train.is_empty(), "the train split holds no token");
        data.train = data.symbols(&train);
        data.valid = data.pieces(Split::Valid, held_out_limit);
        data.test = data.pieces(Split::Test, held_out_limit);
        if encoding == EncodingKind::Chord {
            data.unknown = Some(data.fit_unknown_rule());
        }
        Ok(data)
    }

    /// The training pieces, one by one.
    pub fn train_pieces(&self) -> Vec<Piece> {
        self.pieces(Split::Train, None)
    }

    /// The pieces of a split that are not empty.
    fn pieces(&self, split: Split, limit: Option<usize>) -> Vec<Piece> {
        let pieces = self
            .dataset
            .pieces_in(split)
            .filter(|piece| !piece.range.is_empty());
        let piece = |name: &String, tokens: &[u32]| {
            let taken = tokens.len().min(limit.unwrap_or(usize::MAX));
            Piece {
                name: name.clone(),
                symbols: self.symbols(&tokens[..taken]),
            }
        };
        pieces
            .map(|it| piece(&it.name, self.dataset.tokens_of(it)))
            .collect()
    }

    fn symbols(&self, ids: &[u32]) -> Symbols {
        match self.encoding {
            EncodingKind::MultiHot => Symbols::Keys(self.chords(ids)),
            EncodingKind::MidiMessage | EncodingKind::Chord => Symbols::Tokens(ids.to_vec()),
        }
    }

    /// What the symbols of a piece stand for, known or not.
    pub fn symbols_of(&self, piece: &Piece) -> Vec<Symbol> {
        match &piece.symbols {
            Symbols::Tokens(ids) => ids.iter().map(|&id| self.symbol(id)).collect(),
            Symbols::Keys(chords) => chords.iter().copied().map(Symbol).collect(),
        }
    }

    fn symbol(&self, id: u32) -> Symbol {
        let symbol = self.dataset.symbol(id);
        symbol.expect("the data set knows its own ids")
    }

    /// The chord that a token id of the data set stands for, known or not.
    fn chord(&self, id: u32) -> u128 {
        self.symbol(id).0
    }

    /// The chords that token ids stand for, known or not.
    fn chords(&self, ids: &[u32]) -> Vec<u128> {
        ids.iter().map(|&id| self.chord(id)).collect()
    }

    /// The vocabulary's size `V`.
    pub fn vocabulary_size(&self) -> usize {
        self.dataset.vocabulary.len()
    }

    /// The symbols that a model of these data knows.
    pub fn alphabet(&self) -> Alphabet {
        match self.encoding {
            EncodingKind::MultiHot => alphabet(ModelKind::Sigmoid, 0),
            EncodingKind::MidiMessage | EncodingKind::Chord => {
                alphabet(ModelKind::Token, self.vocabulary_size())
            }
        }
    }

    /// Whether the vocabulary holds the token of this id.
    pub fn knows(&self, id: u32) -> bool {
        (id as usize) < self.vocabulary_size()
    }

    /// What a known step costs, given the model's own negative log-likelihood, in nats.
    pub fn known_nll(&self, model_nll: f64) -> f64 {
        self.unknown
            .as_ref()
            .map_or(model_nll, |rule| rule.known(model_nll))
    }

    /// What a step of an unknown token costs, in nats: infinitely much where there is no rule for it.
    pub fn unknown_nll(&self, id: u32) -> f64 {
        self.unknown
            .as_ref()
            .map_or(f64::INFINITY, |rule| rule.unseen(self.chord(id)))
    }

    fn fit_unknown_rule(&self) -> UnknownRule {
        let train = self.train.tokens();
        let known = self.dataset.vocabulary.iter().map(|(symbol, _)| symbol.0);
        let valid = || self.valid.iter().flat_map(|piece| piece.symbols.tokens());
        let unseen = valid().filter(|&&id| !self.knows(id)).count();
        UnknownRule::fit([&self.chords(train)[..]], known, unseen, valid().count())
    }
}

/// The symbols that a model knows: the tokens of a vocabulary, or the keys of a piano.
pub fn alphabet(kind: ModelKind, vocabulary: usize) -> Alphabet {
    match kind {
        ModelKind::Token => Alphabet::Tokens(vocabulary),
        ModelKind::Sigmoid => Alphabet::Keys(BitRange {
            first: LOWEST_KEY.into(),
            rows: KEYS,
        }),
    }
}
