//! What all kernels share. Each kernel is a method of [`Kernels`], in a file of its own.

use super::path::KernelPath;
use super::pool::Pool;
use super::precision::Precision;
use super::scratch::{GenerationWorkspace, LstmWorkspace, ProductWorkspace, SoftmaxWorkspace};

/// The kernels' context: instruction path, precision, threads, and scratch memory kept from call to call.
pub struct Kernels {
    pub(super) path: KernelPath,
    pub(super) precision: Precision,
    pub(super) pool: Pool,
    pub(super) softmax: SoftmaxWorkspace,
    pub(super) product: ProductWorkspace,
    pub(super) lstm: LstmWorkspace,
    pub(super) generation: GenerationWorkspace,
}

impl Kernels {
    /// A context with `threads` threads (at least one, the caller's included) on the given path, whose products are of that precision.
    ///
    /// # Panics
    /// If this CPU cannot run `path`; [`KernelPath::parse`] and [`KernelPath::detect`] only give paths that it can.
    pub fn new(path: KernelPath, threads: usize, precision: Precision) -> Self {
        assert!(
            path.is_available(),
            "this CPU cannot run kernel path '{}'",
            path.name()
        );
        Self {
            path,
            precision,
            pool: Pool::new(threads),
            softmax: Default::default(),
            product: Default::default(),
            lstm: Default::default(),
            generation: Default::default(),
        }
    }

    /// The instruction path in use.
    pub fn path(&self) -> KernelPath {
        self.path
    }

    /// The precision of the products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}
