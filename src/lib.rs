//! harness reproduces "Deep Learning for Music" (Huang & Wu, 2016) end to end.
//!
//! ```text
//! corpus → encoding → batch → model → training → run → report · diff · generate
//! ```

pub mod batch;
pub mod corpus;
pub mod kernel;
pub mod model;
pub mod random;
pub mod training;
