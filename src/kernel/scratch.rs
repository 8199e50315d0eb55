//! The scratch memory of the kernels, kept from call to call.

use super::precision::Precision;
use super::workspace::Buffer;

/// What the products keep from call to call.
#[derive(Default)]
pub(super) struct ProductWorkspace {
    pub units: Buffer,
    pub right: Buffer,
    pub chunk: Buffer,
    pub losses: Buffer,
}

/// What generation keeps from call to call.
#[derive(Default)]
pub(super) struct GenerationWorkspace {
    pub gates: Buffer,
    pub spread: Buffer,
}

/// What the LSTM keeps from call to call.
#[derive(Default)]
pub(super) struct LstmWorkspace {
    pub input: Buffer,
    pub recurrent: Buffer,
    pub units: Buffer,
    pub states: Buffer,
    pub previous: Buffer,
    pub chunk: Buffer,
    pub sums: Buffer,
    pub projected: Buffer,
}

/// How many positions make a slab: each slab reads `W` and writes `dW` once more, and its exponentials take memory.
#[derive(Clone, Copy)]
pub(super) struct SlabLimit {
    /// Bytes that the exponentials may take, unless that would leave fewer than `least` positions.
    pub bytes: usize,
    pub least: usize,
}

impl SlabLimit {
    pub fn positions(self, precision: Precision, vocabulary: usize) -> usize {
        (self.bytes / 4 * precision.pair() / vocabulary).max(self.least)
    }
}

impl Default for SlabLimit {
    fn default() -> Self {
        Self {
            bytes: 96 << 20,
            least: 320,
        }
    }
}

/// What the softmax keeps from call to call.
#[derive(Default)]
pub(super) struct SoftmaxWorkspace {
    pub limit: SlabLimit,
    pub rows: Buffer,
    pub shift: Buffer,
    pub target: Buffer,
    pub inverse: Buffer,
    pub nll: Buffer,
    pub exponentials: Buffer,
    pub parts: Buffer,
    pub sums: Buffer,
    pub maxima: Buffer,
    pub scaled: Buffer,
    pub scratch: Buffer,
}
