//! Fused CPU kernels: slices in, slices out. No tensors, no music, no files.
//!
//! The ops that dominate training have their fast CPU form here; `model` calls them from whole-sequence dfdx ops and
//! holds the composed definitions that they are tested against. Everything hangs on one [`Kernels`] value, made once
//! and kept: it owns the instruction path, the threads and every scratch buffer, so that a training loop allocates
//! nothing large after its first step.
//!
//! | method of [`Kernels`] | computes | file |
//! |---|---|---|
//! | [`embedding`](Kernels::embedding), [`embedding_backward`](Kernels::embedding_backward) | rows of a table, and their sparse gradient | `embedding.rs` |
//! | [`embedding_bag`](Kernels::embedding_bag), [`embedding_bag_backward`](Kernels::embedding_bag_backward) | sums of sets of rows | `embedding_bag.rs` |
//! | [`lstm_forward`](Kernels::lstm_forward), [`lstm_backward`](Kernels::lstm_backward) | one LSTM layer over a whole sequence | `lstm/` |
//! | [`softmax_loss`](Kernels::softmax_loss) | projection + softmax + cross-entropy and all gradients | `softmax/` |
//! | [`softmax_nll`](Kernels::softmax_nll) | the same loss by position, nothing stored | `softmax/` |
//! | [`sigmoid_loss`](Kernels::sigmoid_loss) | independent binary cross-entropies and their gradient | `sigmoid.rs` |
//! | [`linear`](Kernels::linear), [`linear_backward`](Kernels::linear_backward) | `x·Wᵀ + b` | `linear.rs` |
//! | [`update`](Kernels::update) | an optimizer's step in place | `update/` |
//! | [`squared_norm`](Kernels::squared_norm) | sum of squares, for gradient clipping | `update/` |
//! | [`lstm_step`](Kernels::lstm_step), [`logits`](Kernels::logits), [`sample`](Kernels::sample) | one time step, its logits, and a draw from them, for generation | `generation/` |
//! | [`peak_operations`](Kernels::peak_operations) | multiply-adds and nothing else, for benchmarks | `peak.rs` |
//!
//! # Promises
//! - **Same bits for any number of threads.** Work is cut into units by shape alone; which thread takes a unit never
//!   matters, and partial sums are added in a fixed order. Another [`KernelPath`] gives other bits (last places only).
//! - **Paths.** [`KernelPath::detect`] picks what the CPU has; a test or a user can force a lesser one.
//! - **bf16** ([`Precision::Bf16`]): operands of the matrix products are rounded to bfloat16, sums stay in f32, all else
//!   (loss, gates, gradients, parameters) stays f32. Where the CPU has no bf16 dot product the same rounding is done and
//!   the products computed in f32: the same mathematics, at no gain in speed.
//! - **Shapes** are row-major and checked: a slice of the wrong length is a bug of the caller and panics.
//!
//! # Inside
//! One generic body per kernel, over a small SIMD trait (`simd.rs`), instantiated for each path with its own register
//! blocks (`product/`). Threads share memory as `Shared`, which borrows its owner. `unsafe` is what reads and writes
//! through an address; each block says why it may.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod context;
mod dispatch;
mod embedding;
mod embedding_bag;
mod generation;
mod linear;
mod lstm;
mod math;
mod path;
mod peak;
mod pool;
mod precision;
mod product;
#[cfg(test)]
mod reference;
mod scratch;
mod sigmoid;
mod simd;
mod softmax;
mod update;
mod workspace;

pub use context::Kernels;
pub use embedding::SparseGradient;
pub use embedding_bag::{Bags, BitRange};
pub use generation::{WeightRows, to_bf16};
pub use linear::{Linear, LinearGradients};
pub use lstm::layer::{LstmGradients, LstmInput, LstmLayer, LstmShape, LstmTape, LstmWeights};
pub use path::KernelPath;
pub use precision::Precision;
pub use update::{Adam, Gradient, RmsProp, Rule, Sgd};
