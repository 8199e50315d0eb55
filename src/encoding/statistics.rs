//! Statistics of a corpus: the counts of its tables, and the points of its figures.

use serde::Serialize;

use super::dataset::Dataset;
pub use super::music::{Music, duration_of_bin};
use crate::corpus::split::Split;

/// Statistics of a corpus, or of one of its splits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Pieces that could be read.
    pub pieces: usize,
    /// Tokens; in piano rolls time steps.
    pub tokens: u64,
    /// Different tokens.
    pub unique_tokens: usize,
    /// The same for each split.
    pub splits: Vec<SplitStatistics>,
    /// Token counts by rank: Zipf's plot, at points evenly spaced in the logarithm.
    pub rank_frequency: Vec<RankFrequency>,
    /// How the number of different tokens grows with the tokens read, in the order of the pieces: Heaps' plot, spaced as above.
    pub vocabulary_growth: Vec<VocabularyGrowth>,
    /// The notes of the scores, before an encoding changes or truncates anything.
    pub music: Music,
}

/// Statistics of one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitStatistics {
    /// Which one.
    pub split: Split,
    /// Pieces that could be read.
    pub pieces: usize,
    /// Tokens.
    pub tokens: u64,
    /// Different tokens.
    pub unique_tokens: usize,
    /// Tokens that do not occur in the train split.
    pub unseen_tokens: u64,
}

/// How often the token of a rank occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RankFrequency {
    /// 1 for the most frequent token.
    pub rank: usize,
    /// Its count.
    pub count: u64,
}

/// How many different tokens the first tokens of a corpus hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VocabularyGrowth {
    /// Tokens read.
    pub tokens: u64,
    /// Different ones among them.
    pub unique_tokens: usize,
}

/// The statistics of a dataset, or of one of its splits.
pub fn statistics(dataset: &Dataset, only: Option<Split>) -> Statistics {
    let splits = || {
        Split::ALL
            .into_iter()
            .filter(move |split| only.is_none_or(|only| only == *split))
    };
    let mut counts = vec![[0u64; 3]; dataset.symbols()];
    let mut growth = Vec::new();
    let (mut tokens, mut unique_tokens, mut next_point) = (0, 0, 1);
    for piece in &dataset.pieces {
        let counted = only.is_none_or(|only| only == piece.split);
        if !counted && piece.split != Split::Train {
            continue;
        }
        for &token in dataset.tokens_of(piece) {
            let counts = &mut counts[token as usize];
            if counted {
                unique_tokens += usize::from(splits().all(|split| counts[split as usize] == 0));
                tokens += 1;
                if tokens == next_point {
                    growth.push(VocabularyGrowth {
                        tokens,
                        unique_tokens,
                    });
                    next_point = next_log_spaced(tokens);
                }
            }
            counts[piece.split as usize] += 1;
        }
    }
    if growth.last().is_none_or(|last| last.tokens != tokens) && tokens > 0 {
        growth.push(VocabularyGrowth {
            tokens,
            unique_tokens,
        });
    }
    let of_split = |split: Split| {
        let of_split = || counts.iter().filter(|counts| counts[split as usize] > 0);
        let unseen = of_split().filter(|counts| counts[Split::Train as usize] == 0);
        SplitStatistics {
            split,
            pieces: dataset.pieces_in(split).count(),
            tokens: of_split().map(|counts| counts[split as usize]).sum(),
            unique_tokens: of_split().count(),
            unseen_tokens: unseen.map(|counts| counts[split as usize]).sum(),
        }
    };
    let by_split: Vec<SplitStatistics> = splits().map(of_split).collect();
    let mut music = Music::default();
    for split in splits() {
        music.merge(&dataset.music[split as usize]);
    }
    Statistics {
        pieces: by_split.iter().map(|it| it.pieces).sum(),
        tokens,
        unique_tokens,
        rank_frequency: rank_frequency(
            counts
                .iter()
                .map(|counts| splits().map(|split| counts[split as usize]).sum()),
        ),
        splits: by_split,
        vocabulary_growth: growth,
        music,
    }
}

fn rank_frequency(counts: impl Iterator<Item = u64>) -> Vec<RankFrequency> {
    let mut counts: Vec<u64> = counts.filter(|&count| count > 0).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let mut points = Vec::new();
    let mut rank = 1;
    while rank <= counts.len() {
        points.push(RankFrequency {
            rank,
            count: counts[rank - 1],
        });
        let next = next_log_spaced(rank as u64) as usize;
        // The last rank is always a point.
        rank = if rank < counts.len() {
            next.min(counts.len())
        } else {
            next
        };
    }
    points
}

/// The point after this one: every number up to 10, then about 20 a decade.
fn next_log_spaced(point: u64) -> u64 {
    point + (point / 8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::dataset::tests::small;
    use crate::encoding::vocabulary::VocabularySource;

    #[test]
    fn counts_pieces_tokens_and_unique_tokens() {
        for from in [VocabularySource::Train, VocabularySource::Corpus] {
            let all = statistics(&small(from, 1), None);
            assert_eq!((all.pieces, all.tokens, all.unique_tokens), (4, 8, 4));
            let growth: Vec<_> = all
                .vocabulary_growth
                .iter()
                .map(|it| it.unique_tokens)
                .collect();
            assert_eq!(growth, [1, 2, 2, 3, 4, 4, 4, 4]);
            let ranks: Vec<_> = all
                .rank_frequency
                .iter()
                .map(|it| (it.rank, it.count))
                .collect();
            assert_eq!(ranks, [(1, 4), (2, 2), (3, 1), (4, 1)]);
            let test = SplitStatistics {
                split: Split::Test,
                pieces: 1,
                tokens: 3,
                unique_tokens: 2,
                unseen_tokens: 2,
            };
            assert_eq!(all.splits[2], test);
            let only_test = statistics(&small(from, 1), Some(Split::Test));
            assert_eq!(
                (only_test.pieces, only_test.tokens, only_test.unique_tokens),
                (1, 3, 2)
            );
            assert_eq!(only_test.splits, [test]);
            assert_eq!(only_test.music.polyphony[..3], [0, 3, 0]);
        }
    }

    #[test]
    fn an_empty_split_has_no_points() {
        let valid = statistics(&small(VocabularySource::Train, 1), Some(Split::Valid));
        assert_eq!((valid.pieces, valid.tokens, valid.unique_tokens), (0, 0, 0));
        assert!(valid.rank_frequency.is_empty() && valid.vocabulary_growth.is_empty());
    }

    #[test]
    fn points_are_spaced_by_the_logarithm_and_end_with_the_last() {
        let points = rank_frequency((1..=100_000).rev());
        assert!(points.len() < 120, "{} points", points.len());
        assert_eq!(
            points.last(),
            Some(&RankFrequency {
                rank: 100_000,
                count: 1
            })
        );
    }
}
