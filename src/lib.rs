//! harness reproduces "Deep Learning for Music" (Huang & Wu, 2016) end to end.
//!
//! ```text
//! corpus → encoding → batch → model → training → run → report · diff · generate
//! ```

pub mod corpus;
pub mod diff;
pub mod metric;
pub mod random;
pub mod run;
pub mod text_table;
