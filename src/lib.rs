//! harness reproduces "Deep Learning for Music" (Huang & Wu, 2016) end to end.
//!
//! ```text
//! corpus → encoding → batch → model → training → run → report · diff · generate
//! ```

// Standard error is written to in `terminal` alone, which cannot panic.
#![cfg_attr(not(test), deny(clippy::print_stderr))]

pub mod analysis;
pub mod artifacts;
pub mod batch;
pub mod checksum;
pub mod claim;
pub mod cmd;
pub mod corpus;
pub mod device;
pub mod diff;
pub mod encoding;
pub mod execute;
pub mod exit_code;
pub mod experiment;
pub mod export;
pub mod generate;
pub mod kernel;
pub mod measurable;
pub mod metric;
#[cfg(test)]
mod mirror;
pub mod model;
pub mod number;
pub mod random;
pub mod report;
pub mod run;
pub mod sample;
#[cfg(test)]
mod skip;
pub mod statistics;
pub mod terminal;
pub mod text_table;
pub mod tolerance;
pub mod training;
