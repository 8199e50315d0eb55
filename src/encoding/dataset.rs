//! A corpus as token ids: what models are trained and judged on.
//!
//! Each thread reads and encodes one piece at a time and keeps only its ids, so memory grows with the ids alone (twice as much at the
//! end, when they are put in order). The result does not depend on the number of threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::music::Music;
use super::vocabulary::{Vocabulary, VocabularyConfig, VocabularySource};
use super::{Encode, EncodingConfig, EncodingKind, Symbol};
use crate::corpus::split::Split;
use crate::corpus::{Reading, Remark};
use crate::random;

/// A piece as a corpus gives it.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its name, unique in the corpus. The notes that a polyphony limit leaves out depend on it.
    pub name: String,
    /// Its part of the corpus.
    pub split: Split,
    /// The result of reading it.
    pub reading: Reading,
}

/// A piece in a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedPiece {
    /// Its name.
    pub name: String,
    /// Its part of the corpus.
    pub split: Split,
    /// Where its tokens lie in [`Dataset::tokens`].
    pub range: Range<usize>,
    /// How many notes it has (note-ons that were read).
    pub notes: usize,
    /// What was repaired when it was read.
    pub remarks: Vec<Remark>,
}

/// A piece that could not be read, and so is not in the dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedPiece {
    /// Its name.
    pub name: String,
    /// The part of the corpus that it would belong to.
    pub split: Split,
    /// Why it could not be read.
    pub remarks: Vec<Remark>,
}

/// A corpus as token ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What the ids mean, as far as the model knows them.
    pub vocabulary: Vocabulary,
    /// What the ids from `vocabulary.len()` on mean: symbols of other splits, by falling count, then by symbol.
    pub unknown: Vocabulary,
    /// The pieces, in the order of the corpus.
    pub pieces: Vec<EncodedPiece>,
    /// The pieces that could not be read, in the order of the corpus.
    pub rejected: Vec<RejectedPiece>,
    /// The token ids of all pieces, one after the other.
    pub tokens: Vec<u32>,
    /// Notes and polyphony of each split's scores, in the order of [`Split::ALL`].
    pub music: [Music; 3],
}

impl Dataset {
    /// Reads and encodes the pieces that `read` returns for 0 to `count`, on this many threads (0: one per processor).
    ///
    /// An error of `read` ends the build; a rejected reading does not. The vocabulary of a multi-hot encoding, whose symbols no model chooses
    /// among, is always the whole corpus's.
    pub fn build(
        count: usize,
        read: impl Fn(usize) -> Result<Piece> + Sync,
        encoding: &EncodingConfig,
        vocabulary: &VocabularyConfig,
        threads: usize,
    ) -> Result<Dataset> {
        let encode = encoding.build()?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .context("failed to start threads")?;
        let next = AtomicUsize::new(0);
        let workers = pool.broadcast(|_| {
            let mut worker = Worker::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return worker;
                }
                let piece =
                    read(number).map(|piece| worker.encode(piece, encode.as_ref(), encoding));
                worker.pieces.push((number, piece));
            }
        });
        let from = match encoding.kind {
            EncodingKind::MultiHot => VocabularySource::Corpus,
            _ => vocabulary.from,
        };
        pool.install(|| merge(workers, from))
    }

    /// The symbol of any id in [`Dataset::tokens`], known to the model or not.
    pub fn symbol(&self, id: u32) -> Option<Symbol> {
        let known = self.vocabulary.len() as u32;
        self.vocabulary
            .symbol(id)
            .or_else(|| self.unknown.symbol(id.checked_sub(known)?))
    }

    /// How many different ids there are, known and unknown.
    pub fn symbols(&self) -> usize {
        self.vocabulary.len() + self.unknown.len()
    }

    /// The token ids of a piece.
    pub fn tokens_of(&self, piece: &EncodedPiece) -> &[u32] {
        &self.tokens[piece.range.clone()]
    }

    /// The pieces of a split.
    pub fn pieces_in(&self, split: Split) -> impl Iterator<Item = &EncodedPiece> {
        self.pieces.iter().filter(move |piece| piece.split == split)
    }

    /// The token ids of a split, its pieces end to end: the stream that a model is trained on.
    pub fn stream(&self, split: Split) -> Vec<u32> {
        self.pieces_in(split)
            .flat_map(|piece| self.tokens_of(piece))
            .copied()
            .collect()
    }
}

/// What one thread has encoded, with symbols numbered in the order in which they occur.
struct Worker {
    ids: FxHashMap<Symbol, u32>,
    symbols: Vec<Symbol>,
    /// How often each symbol occurs, by split.
    counts: [Vec<u64>; 3],
    /// A direct-mapped cache of recent symbols and their ids: most tokens are found here, without a lookup in `ids`.
    recent: Vec<(Symbol, u32)>,
    pieces: Vec<(usize, Result<WorkerPiece>)>,
    music: [Music; 3],
}

struct WorkerPiece {
    name: String,
    split: Split,
    notes: usize,
    remarks: Vec<Remark>,
    /// Ids as this thread numbers them; `None` for a rejected piece.
    tokens: Option<Vec<u32>>,
}

impl Worker {
    fn new() -> Worker {
        Worker {
            ids: FxHashMap::default(),
            symbols: Vec::new(),
            counts: Default::default(),
            recent: vec![(Symbol(0), NO_ID); 1 << SLOTS],
            pieces: Vec::new(),
            music: Default::default(),
        }
    }

    fn encode(
        &mut self,
        piece: Piece,
        encode: &dyn Encode,
        config: &EncodingConfig,
    ) -> WorkerPiece {
        let Piece {
            name,
            split,
            reading: Reading { score, remarks },
        } = piece;
        let Some(score) = score else {
            return WorkerPiece {
                name,
                split,
                notes: 0,
                remarks,
                tokens: None,
            };
        };
        let mut rng = random::stream(config.seed, &format!("polyphony limit of {name}"));
        let music = &mut self.music[split as usize];
        let notes_before = music.notes;
        music.add(&score, config.steps_per_beat);
        let notes = (music.notes - notes_before) as usize;
        let symbols = encode.encode(&score, &mut rng);
        drop(score);
        let tokens: Vec<u32> = symbols.into_iter().map(|symbol| self.id(symbol)).collect();
        let counts = &mut self.counts[split as usize];
        counts.resize(self.symbols.len(), 0);
        for &token in &tokens {
            counts[token as usize] += 1;
        }
        WorkerPiece {
            name,
            split,
            notes,
            remarks,
            tokens: Some(tokens),
        }
    }

    #[inline]
    fn id(&mut self, symbol: Symbol) -> u32 {
        let recent = &mut self.recent[slot_of(symbol)];
        if recent.0 == symbol && recent.1 != NO_ID {
            return recent.1;
        }
        let next = self.symbols.len() as u32;
        let id = *self.ids.entry(symbol).or_insert(next);
        if id == next {
            self.symbols.push(symbol);
        }
        *recent = (symbol, id);
        id
    }
}

/// Marks an empty slot of [`Worker::recent`].
const NO_ID: u32 = u32::MAX;

/// The number of slots, as a power of two: 256 KiB in all.
const SLOTS: u32 = 13;

/// The slot of a symbol in [`Worker::recent`].
fn slot_of(Symbol(bits): Symbol) -> usize {
    let folded = bits as u64 ^ (bits >> 64) as u64;
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOTS)) as usize
}

/// Numbers the symbols of all threads together, and puts the pieces in order.
fn merge(workers: Vec<Worker>, from: VocabularySource) -> Result<Dataset> {
    let (vocabulary, unknown) = number(&workers, from);
    let known = vocabulary.len() as u32;
    let mut music = <[Music; 3]>::default();
    let mut pieces = Vec::new();
    let mut finals = Vec::new();
    for (thread, worker) in workers.into_iter().enumerate() {
        let id = |&symbol: &Symbol| {
            vocabulary
                .id(symbol)
                .or(unknown.id(symbol).map(|id| id + known))
        };
        let final_ids: Option<Vec<u32>> = worker.symbols.iter().map(id).collect();
        finals.push(final_ids.expect("every symbol was numbered"));
        for (sum, part) in music.iter_mut().zip(&worker.music) {
            sum.merge(part);
        }
        pieces.extend(
            worker
                .pieces
                .into_iter()
                .map(|(number, piece)| (number, thread, piece)),
        );
    }
    pieces.sort_unstable_by_key(|&(number, ..)| number);

    let mut dataset = Dataset {
        vocabulary,
        unknown,
        pieces: vec![],
        rejected: vec![],
        tokens: vec![],
        music,
    };
    let mut local = Vec::new();
    let mut length = 0;
    for (_, thread, piece) in pieces {
        let WorkerPiece {
            name,
            split,
            notes,
            remarks,
            tokens,
        } = piece?;
        match tokens {
            None => dataset.rejected.push(RejectedPiece {
                name,
                split,
                remarks,
            }),
            Some(tokens) => {
                let range = length..length + tokens.len();
                length = range.end;
                dataset.pieces.push(EncodedPiece {
                    name,
                    split,
                    range,
                    notes,
                    remarks,
                });
                local.push((thread, tokens));
            }
        }
    }
    ensure!(
        dataset.symbols() < u32::MAX as usize,
        "too many different tokens for 32-bit ids"
    );
    dataset.tokens = renumber(local, &finals, length);
    Ok(dataset)
}

/// The tokens of all pieces, `length` in all, one after the other. Each piece has the number of its thread, whose own ids
/// `finals` translates.
fn renumber(pieces: Vec<(usize, Vec<u32>)>, finals: &[Vec<u32>], length: usize) -> Vec<u32> {
    let mut all = vec![0; length];
    let mut rest = &mut all[..];
    let mut places = Vec::with_capacity(pieces.len());
    for (thread, tokens) in pieces {
        let (place, after) = rest.split_at_mut(tokens.len());
        rest = after;
        places.push((place, thread, tokens));
    }
    places.into_par_iter().for_each(|(place, thread, tokens)| {
        for (place, token) in place.iter_mut().zip(tokens) {
            *place = finals[thread][token as usize];
        }
    });
    all
}

/// The symbols that the model knows, and the others.
fn number(workers: &[Worker], from: VocabularySource) -> (Vocabulary, Vocabulary) {
    let mut counts: FxHashMap<Symbol, [u64; 3]> = FxHashMap::default();
    for worker in workers {
        for (id, &symbol) in worker.symbols.iter().enumerate() {
            let sums = counts.entry(symbol).or_default();
            for (sum, part) in sums.iter_mut().zip(&worker.counts) {
                // The counts of a split end with the last symbol that was new in its last piece.
                *sum += part.get(id).copied().unwrap_or(0);
            }
        }
    }
    let known_count = |counts: &[u64; 3]| match from {
        VocabularySource::Train => counts[Split::Train as usize],
        VocabularySource::Corpus => counts.iter().sum(),
    };
    let (known, unknown): (Vec<_>, Vec<_>) = counts
        .into_iter()
        .partition(|(_, counts)| known_count(counts) > 0);
    let known = known
        .into_iter()
        .map(|(symbol, counts)| (symbol, known_count(&counts)))
        .collect();
    let unknown = unknown
        .into_iter()
        .map(|(symbol, counts)| (symbol, counts.iter().sum()))
        .collect();
    (
        Vocabulary::from_counts(known),
        Vocabulary::from_counts(unknown),
    )
}

#[cfg(test)]
pub(super) mod tests;
