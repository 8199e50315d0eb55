//! harness reproduces "Deep Learning for Music" (Huang & Wu, 2016) end to end.
//!
//! ```text
//! corpus → encoding → batch → model → training → run → report · diff · generate
//! ```

pub mod analysis;
pub mod artifacts;
pub mod batch;
pub mod claim;
pub mod cmd;
pub mod corpus;
pub mod diff;
pub mod encoding;
pub mod metric;
pub mod model;
pub mod random;
pub mod report;
pub mod run;
pub mod sample;
pub mod text_table;
pub mod training;
pub mod tsne;
