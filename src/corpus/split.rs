//! Which pieces train a model, which choose it, and which judge it.

use serde::{Deserialize, Serialize};

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
