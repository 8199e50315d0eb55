//! The kernels alone.
#[path = "../../src/kernel/mod.rs"]
pub mod kernel;
