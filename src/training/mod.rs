//! Training: how a network's parameters change.

pub mod optimizer;
pub mod schedule;
