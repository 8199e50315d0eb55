//! Corpora: named collections of pieces, where they come from, and how their files become scores.

pub mod midi;
pub mod score;
pub mod split;

use score::Score;
use serde::{Deserialize, Serialize};

/// How the reading of one file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Read as it stands.
    Ok,
    /// Read after repairs, each of which is stated.
    Repaired,
    /// Not readable as music; why is stated.
    Rejected,
}

/// One thing that a reader changed, or the reason why it gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Byte offset in the file as given.
    pub offset: usize,
    /// What was wrong and what was done about it.
    pub what: String,
}

/// What came of reading one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The score; `None` exactly when the file was rejected.
    pub score: Option<Score>,
    /// Repairs, or the one reason for a rejection; empty exactly when the file was read as it stands.
    pub remarks: Vec<Remark>,
}

impl Reading {
    /// How the reading ended.
    pub fn outcome(&self) -> Outcome {
        match (&self.score, self.remarks.is_empty()) {
            (None, _) => Outcome::Rejected,
            (Some(_), true) => Outcome::Ok,
            (Some(_), false) => Outcome::Repaired,
        }
    }
}
