//! What we measure.

pub mod embedding;
pub mod projection;
