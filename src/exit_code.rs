//! How the process ends, as a number that scripts can tell apart.

use std::error::Error;
use std::fmt;

/// A gate failed.
pub const GATE: u8 = 1;
/// Usage, configuration, or an unknown run or corpus.
pub const USAGE: u8 = 2;
/// The command failed: the run, its corpus, the disk, or for a reason that nothing more is known of.
pub const FAILED: u8 = 3;
/// A file does not hold what was written to it.
pub const INTEGRITY: u8 = 4;
/// The user interrupted it.
pub const INTERRUPTED: u8 = 130;

/// An error of what was asked for: an argument, a setting, a name. It reads as the error that it holds, and ends the process with
/// [`USAGE`], where an error that is not marked so ends it with [`FAILED`].
#[derive(Debug)]
pub struct Usage(anyhow::Error);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl Error for Usage {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Marks the errors of a result as [`Usage`].
pub trait OrUsage<T> {
    /// The same, any error marked. One that has an exit code of its own is not to be marked.
    ///
    /// # Errors
    /// As before.
    fn or_usage(self) -> anyhow::Result<T>;
}

impl<T> OrUsage<T> for anyhow::Result<T> {
    fn or_usage(self) -> anyhow::Result<T> {
        self.map_err(|error| Usage(error).into())
    }
}

/// As [`anyhow::ensure!`], with an error that is marked as [`Usage`].
#[macro_export]
macro_rules! ensure_usage {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail_usage!($($message)+);
        }
    };
}

/// As [`anyhow::bail!`], with an error that is marked as [`Usage`].
#[macro_export]
macro_rules! bail_usage {
    ($($message:tt)+) => {
        return $crate::exit_code::OrUsage::or_usage(Err(::anyhow::anyhow!($($message)+)))
    };
}
