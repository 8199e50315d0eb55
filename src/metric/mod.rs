//! What we measure.

pub mod baseline;
pub mod embedding;
pub mod music;
pub mod projection;
pub mod unknown;
