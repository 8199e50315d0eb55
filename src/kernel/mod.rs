//! Fused CPU kernels: slices in, slices out. No tensors, no music, no files.
//!
//! The ops that dominate training have their fast CPU form here; `model` calls them from whole-sequence dfdx ops and
//! holds the composed definitions that they are tested against. Everything hangs on one [`Kernels`] value, made once
//! and kept: it owns the instruction path, the threads and every scratch buffer, so that a training loop allocates
//! nothing large after its first step.
//!
//! | method of [`Kernels`] | computes | file |
//! |---|---|---|
//! | [`head_forward_backward`](Kernels::head_forward_backward) | projection + softmax + cross-entropy and all gradients | `head/` |
//! | [`head_nll`](Kernels::head_nll) | the same loss by position, nothing stored | `head/` |
//! | [`head_logits`](Kernels::head_logits), [`sample`](Kernels::sample) | one position's logits, and a draw from them | `generation/` |
//! | [`lstm_forward`](Kernels::lstm_forward), [`lstm_backward`](Kernels::lstm_backward) | one LSTM layer over a whole sequence | `lstm/` |
//! | [`lstm_step`](Kernels::lstm_step) | one LSTM layer, one time step, for generation | `generation/` |
//! | [`linear_forward`](Kernels::linear_forward), [`linear_backward`](Kernels::linear_backward) | `x·Wᵀ + b` | `linear.rs` |
//! | [`embedding_gather`](Kernels::embedding_gather), [`embedding_gradient`](Kernels::embedding_gradient) | rows of a table, and their sparse gradient | `embedding.rs` |
//! | [`multi_hot_forward`](Kernels::multi_hot_forward), [`multi_hot_backward`](Kernels::multi_hot_backward) | sums of table rows over sounding keys | `keys.rs` |
//! | [`bce_with_logits`](Kernels::bce_with_logits) | 88 independent cross-entropies and their gradient | `bce.rs` |
//! | [`adam`](Kernels::adam), [`adam_rows`](Kernels::adam_rows), [`rmsprop`](Kernels::rmsprop), [`rmsprop_rows`](Kernels::rmsprop_rows), [`sgd`](Kernels::sgd), [`sgd_rows`](Kernels::sgd_rows) | optimizer updates in place | `optimizer/` |
//! | [`peak_operations`](Kernels::peak_operations) | multiply-adds and nothing else, for benchmarks | `peak.rs` |
//! | [`squared_norm`](Kernels::squared_norm) | sum of squares, for gradient clipping | `optimizer/` |
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
//! blocks (`product.rs`); `unsafe` is confined to this room.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bce;
mod embedding;
mod generation;
mod head;
mod keys;
mod linear;
mod lstm;
mod math;
mod optimizer;
mod path;
mod peak;
mod pool;
mod product;
#[cfg(test)]
mod reference;
mod simd;
mod workspace;

pub use embedding::RowGradient;
pub use generation::WeightRows;
pub use generation::to_bf16;
pub use lstm::{LstmInput, LstmShape, LstmTape, LstmWeights};
pub use optimizer::{Adam, RmsProp, Sgd};
pub use path::KernelPath;

/// In what the operands of matrix products are held; sums are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    F32,
    /// Operands rounded to bfloat16 (8 bits of mantissa), accumulated in f32.
    Bf16,
}

/// The kernels' context: instruction path, threads, and scratch memory kept from call to call.
pub struct Kernels {
    path: KernelPath,
    pool: pool::Pool,
    head: head::HeadWorkspace,
    product: linear::ProductWorkspace,
    lstm: lstm::LstmWorkspace,
    generation: generation::GenerationWorkspace,
}

impl Kernels {
    /// A context with `threads` threads (at least one, the caller's included) on the given path.
    ///
    /// # Panics
    /// If this CPU cannot run `path`; [`KernelPath::parse`] and [`KernelPath::detect`] only give paths that it can.
    pub fn new(path: KernelPath, threads: usize) -> Self {
        assert!(
            path.is_available(),
            "this CPU cannot run kernel path '{}'",
            path.name()
        );
        Self {
            path,
            pool: pool::Pool::new(threads),
            head: Default::default(),
            product: Default::default(),
            lstm: Default::default(),
            generation: Default::default(),
        }
    }

    /// The instruction path in use.
    pub fn path(&self) -> KernelPath {
        self.path
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}
