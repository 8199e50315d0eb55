//! How the process ends, as a number that scripts can tell apart.

/// A gate failed.
pub const GATE: u8 = 1;
/// Usage, configuration, or an unknown run or corpus.
pub const USAGE: u8 = 2;
/// The command failed: the run, its corpus, the disk.
pub const FAILED: u8 = 3;
/// A file does not hold what was written to it.
pub const INTEGRITY: u8 = 4;
/// The user interrupted it.
pub const INTERRUPTED: u8 = 130;
