//! The train, valid and test splits of a corpus.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Corpus, Source};
use crate::exit_code::OrUsage;

/// One part of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The pieces that a model is trained on.
    Train,
    /// The pieces that choose the best checkpoint.
    Valid,
    /// The pieces that are scored once, at the end.
    Test,
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Split::ALL.into_iter().find(|split| split.name() == text);
        found.ok_or_else(|| format!("'{text}' is neither train, valid nor test"))
    }
}

impl Split {
    /// Every split, in the order of tables.
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// The name used in files: `train`, `valid` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Valid => "valid",
            Split::Test => "test",
        }
    }
}

/// Where a split comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitKind {
    /// Published with the corpus.
    Published,
    /// From the SHA-256 of each piece's bytes: fixed, the same on every machine, and duplicates stay together.
    Hash,
}

/// How a corpus is split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Where the split comes from.
    pub kind: SplitKind,
    /// The share of pieces of the valid split; for `hash` only.
    pub valid: f64,
    /// The share of pieces of the test split; for `hash` only.
    pub test: f64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        SplitConfig {
            kind: SplitKind::Hash,
            valid: 0.05,
            test: 0.05,
        }
    }
}

impl SplitConfig {
    /// The default split of `corpus`: the published one if there is one, else 90/5/5 by hash.
    pub fn usual(corpus: &Corpus) -> Self {
        let published = !corpus.is_empty() && corpus.sources().all(|source| source.split.is_some());
        let kind = if published {
            SplitKind::Published
        } else {
            SplitKind::Hash
        };
        SplitConfig {
            kind,
            ..SplitConfig::default()
        }
    }

    /// Fails if the shares leave nothing to train on.
    pub fn check(&self) -> Result<()> {
        let shares = [self.valid, self.test];
        ensure!(
            shares.iter().all(|share| (0.0..1.0).contains(share)) && self.valid + self.test < 1.0,
            "split: valid ({}) and test ({}) must be shares from 0 that leave something to train on",
            self.valid,
            self.test
        );
        Ok(())
    }
}

/// The split of each piece of `corpus`, in its order.
pub fn assign(config: &SplitConfig, corpus: &Corpus) -> Result<Vec<Split>> {
    config.check()?;
    corpus
        .sources()
        .map(|source| match config.kind {
            SplitKind::Hash => Ok(by_hash(config, source)),
            SplitKind::Published => source.split.with_context(|| {
                format!(
                    "corpus '{}' has no published split; use split.kind: hash",
                    corpus.name
                )
            }),
        })
        .collect::<Result<_>>()
        .or_usage()
}

/// Uses the end of the digest, since its beginning orders the pieces.
fn by_hash(config: &SplitConfig, source: &Source) -> Split {
    let tail = source
        .sha256
        .get(source.sha256.len().saturating_sub(13)..)
        .unwrap_or_default();
    let draw = u64::from_str_radix(tail, 16).expect("a SHA-256 is written in hexadecimal") as f64
        / (1_u64 << 52) as f64;
    if draw < config.test {
        Split::Test
    } else if draw < config.test + config.valid {
        Split::Valid
    } else {
        Split::Train
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::sha256;

    fn source(sha256: &str) -> Source {
        Source {
            name: "a.mid".into(),
            sha256: sha256.into(),
            split: None,
        }
    }

    #[test]
    fn the_last_digits_of_the_digest_decide() {
        let config = SplitConfig::default();
        let split = |tail: &str| by_hash(&config, &source(&format!("{}{tail}", "0".repeat(51))));
        assert_eq!(split("0000000000000"), Split::Test);
        assert_eq!(split("0cccccccccccc"), Split::Test); // just below 0.05
        assert_eq!(split("0ccccccccccd0"), Split::Valid);
        assert_eq!(split("1999999999999"), Split::Valid); // just below 0.1
        assert_eq!(split("19999999999a0"), Split::Train);
        assert_eq!(split("fffffffffffff"), Split::Train);
    }

    #[test]
    fn about_nine_tenths_train() {
        let mut counts = [0_u32; 3];
        for index in 0..10_000_u32 {
            let digest = sha256(&index.to_le_bytes());
            counts[by_hash(&SplitConfig::default(), &source(&digest)) as usize] += 1;
        }
        assert!(
            counts[0].abs_diff(9000) < 100
                && counts[1].abs_diff(500) < 75
                && counts[2].abs_diff(500) < 75,
            "{counts:?}"
        );
    }

    #[test]
    fn shares_that_leave_nothing_to_train_on_are_errors() {
        for (valid, test) in [(0.5, 0.5), (-0.1, 0.1), (f64::NAN, 0.1), (0.0, 1.0)] {
            assert!(
                SplitConfig {
                    valid,
                    test,
                    ..SplitConfig::default()
                }
                .check()
                .is_err()
            );
        }
        assert!(
            SplitConfig {
                valid: 0.0,
                test: 0.0,
                ..SplitConfig::default()
            }
            .check()
            .is_ok()
        );
    }

    #[test]
    fn rejects_an_unknown_field() {
        let err = serde_yaml::from_str::<SplitConfig>("kind: hash\nvalidd: 0.1").unwrap_err();
        assert!(err.to_string().contains("unknown field `validd`"), "{err}");
    }
}
