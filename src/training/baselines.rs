//! What models without a network score on the same held-out pieces, under the same rules.

use serde_json::{Map, Value, json};

use super::data::{Data, Piece};
use crate::batch::Symbols;
use crate::corpus::split::Split;
use crate::metric::baseline::{NoteBaseline, PIANO_PITCHES, TokenMarkov, TokenUnigram};

/// Nats per step of the unigram and the first-order Markov baseline: `unigram.valid`, `markov.test` and so on; and
/// `unigram.train_entropy`, what the best constant guess scores on the tokens that it was fitted on.
pub fn baselines(data: &Data) -> Value {
    match &data.train {
        Symbols::Keys(_) => note_baselines(data),
        Symbols::Tokens(tokens) => token_baselines(data, tokens),
    }
}

fn note_baselines(data: &Data) -> Value {
    let pieces = data.train_pieces();
    let train = || pieces.iter().map(|piece| piece.symbols.keys());
    let entry = |remembers: bool| {
        let baseline = NoteBaseline::fit(train(), PIANO_PITCHES, remembers);
        held_out(data, |piece| baseline.nll(piece.symbols.keys()))
    };
    json!({ "unigram": entry(false), "markov": entry(true) })
}

fn token_baselines(data: &Data, train: &[u32]) -> Value {
    let vocabulary = data.vocabulary_size();
    let pieces = data.train_pieces();
    let unigram = TokenUnigram::fit(train.iter().copied(), vocabulary);
    let markov = TokenMarkov::fit(
        pieces.iter().map(|piece| piece.symbols.tokens()),
        vocabulary,
    );
    let mut entries = [
        held_out(data, |piece| {
            piece_nll(data, piece.symbols.tokens(), |_, token| unigram.nll(token))
        }),
        held_out(data, |piece| {
            piece_nll(data, piece.symbols.tokens(), |before, token| {
                markov.nll(before, token)
            })
        }),
    ];
    entries[0].insert("train_entropy".into(), json!(entropy(train, vocabulary)));
    let [unigram, markov] = entries;
    json!({ "unigram": unigram, "markov": markov })
}

/// A token baseline's total on one piece: unknown tokens by their rule, and no memory of them.
fn piece_nll(data: &Data, tokens: &[u32], nll: impl Fn(Option<u32>, u32) -> f64) -> f64 {
    let mut before = None;
    let mut total = 0.0;
    for &token in tokens {
        let known = data.knows(token);
        total += if known {
            data.known_nll(nll(before, token))
        } else {
            data.unknown_nll(token)
        };
        before = known.then_some(token);
    }
    total
}

/// The mean over all steps of each held-out split that has any.
fn held_out(data: &Data, nll: impl Fn(&Piece) -> f64) -> Map<String, Value> {
    let splits = [(Split::Valid, &data.valid), (Split::Test, &data.test)];
    let mean = |pieces: &[Piece]| {
        let steps: usize = pieces.iter().map(|piece| piece.symbols.len()).sum();
        pieces.iter().map(&nll).sum::<f64>() / steps as f64
    };
    let scored = splits.into_iter().filter(|(_, pieces)| !pieces.is_empty());
    scored
        .map(|(split, pieces)| (split.name().to_owned(), json!(mean(pieces))))
        .collect()
}

/// The entropy of the tokens' frequencies, in nats.
fn entropy(tokens: &[u32], vocabulary: usize) -> f64 {
    let mut counts = vec![0u64; vocabulary];
    for &token in tokens {
        counts[token as usize] += 1;
    }
    let total = tokens.len() as f64;
    let shares = counts
        .into_iter()
        .filter(|&count| count > 0)
        .map(|count| count as f64 / total);
    -shares.map(|share| share * share.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equally_frequent_tokens_have_the_entropy_of_their_number() {
        assert!((entropy(&[0, 1, 2, 3, 3, 2, 1, 0], 5) - 4f64.ln()).abs() < 1e-12);
    }
}
