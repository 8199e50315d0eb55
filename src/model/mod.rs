//! Symbols → loss, gradients, probabilities: one recurrent network, generic over dfdx's devices. No music and no files here.
//!
//! There are two kinds, which differ in their first and last layers. The token model reads the embedding of one token a step and gives a
//! softmax over the vocabulary. The sigmoid model reads the sum of the embeddings of a set of keys and gives each key a probability.
//!
//! ```text
//! symbols → embedding → LSTM × layers → projection → cross-entropy
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `network.rs`, `generator.rs` | the network; the same fed one symbol at a time |
//! | `matrix.rs`, `parameters.rs` | a matrix on a device; the named ones that training updates |
//! | `op/` | the reference: each operation composed of dfdx's, for any device |
//! | `backend/mod.rs` | the operations that a backend provides, by default the reference |
//! | `backend/cpu/`, `backend/cuda/` | the fused forms, file by file as in `op/` |

pub mod backend;
mod config;
mod generator;
pub mod matrix;
pub mod memory;
mod network;
pub mod op;
pub mod parameters;
pub mod sampling;
#[cfg(test)]
pub(crate) mod tests;

pub use crate::kernel::BitRange;
pub use config::{Alphabet, ModelConfig, ModelKind};
pub use generator::Generator;
pub use network::{Evaluation, Network, State};
