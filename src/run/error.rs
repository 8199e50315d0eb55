//! The failures that a caller chooses by: everything else in this room is plain `anyhow`.

use std::fmt;
use std::path::PathBuf;

use crate::exit_code::{FAILED, INTEGRITY, USAGE};

/// A refusal or a loss that commands answer with an exit code of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunError {
    /// No run has this name.
    Unknown {
        /// What was asked for.
        name: String,
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// More than one run answers to this name.
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The runs that it could mean, as `experiment/id`.
        candidates: Vec<String>,
    },
    /// Another process holds the run.
    Locked {
        /// The run's id.
        id: String,
    },
    /// The run has ended and is not to be touched again.
    Finished {
        /// The run's id.
        id: String,
    },
    /// A file does not hold what was written to it.
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what can be done.
        reason: String,
    },
}

impl RunError {
    /// The process exit code for this failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unknown { .. } | Self::Ambiguous { .. } => USAGE,
            Self::Locked { .. } | Self::Finished { .. } => FAILED,
            Self::Corrupt { .. } => INTEGRITY,
        }
    }

    /// The exit code of the first such failure in the chain of `error`, if there is one.
    pub fn exit_code_of(error: &anyhow::Error) -> Option<u8> {
        error.downcast_ref::<RunError>().map(RunError::exit_code)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, searched } => {
                let folders: Vec<String> = searched
                    .iter()
                    .map(|it| format!("'{}'", it.display()))
                    .collect();
                write!(
                    formatter,
                    "no run '{name}' in {}: `harness list --all` shows the runs there are (a run is named by its id, \
                     the beginning of one, `latest` or EXPERIMENT@N)",
                    folders.join(" or ")
                )
            }
            Self::Ambiguous { name, candidates } => {
                write!(
                    formatter,
                    "'{name}' could be any of {}: give more of the id",
                    candidates.join(", ")
                )
            }
            Self::Locked { id } => write!(
                formatter,
                "run {id} is in use by another process: wait for it to end, or stop it and try again"
            ),
            Self::Finished { id } => write!(
                formatter,
                "run {id} is finished: there is nothing left to do"
            ),
            Self::Corrupt { file, reason } => {
                write!(formatter, "'{}' is damaged: {reason}", file.display())
            }
        }
    }
}

impl std::error::Error for RunError {}
