//! What we measure.

pub mod embedding;
pub mod music;
pub mod projection;
