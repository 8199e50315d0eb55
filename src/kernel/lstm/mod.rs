//! One LSTM layer over a whole sequence, forward and backward.
//!
//! Gates in PyTorch's order i, f, g, o (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000):
//! i, f, o = σ(…), g = tanh(…), c = f·c₋₁ + i·g, h = o·tanh c.
//!
//! The inputs of all time steps are multiplied at once; then each thread takes some lanes of the batch through all time
//! steps on its own, since lanes never meet, with the recurrent weights packed in its second-level cache. Backward the
//! same in reverse, and one product at the end for the weights.

mod backward;
mod forward;
#[cfg(test)]
mod tests;

pub(super) use forward::cell;

use super::workspace::Buffer;

/// Sizes of a layer and of what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmShape {
    /// Time steps `T`.
    pub time: usize,
    /// Lanes of the batch `B`.
    pub batch: usize,
    /// Input width `I`.
    pub input: usize,
    /// Hidden units `H`.
    pub hidden: usize,
}

/// A layer's parameters.
#[derive(Debug, Clone, Copy)]
pub struct LstmWeights<'a> {
    /// `(4H, I)`
    pub w_ih: &'a [f32],
    /// `(4H, H)`
    pub w_hh: &'a [f32],
    /// `(4H)`
    pub bias: &'a [f32],
}

/// What forward leaves for backward: gates and cell states. Keep one per layer and reuse it.
#[derive(Default)]
pub struct LstmTape {
    gates: Buffer,
    cells: Buffer,
    shape: Option<LstmShape>,
}

/// What the op keeps from call to call.
#[derive(Default)]
pub(super) struct LstmWorkspace {
    input: Buffer,
    recurrent: Buffer,
    units: Buffer,
    states: Buffer,
    previous: Buffer,
    chunk: Buffer,
    sums: Buffer,
}

impl LstmShape {
    fn rows(self) -> usize {
        self.time * self.batch
    }

    fn check(self, weights: LstmWeights<'_>, x: &[f32], states: [&[f32]; 2], sequence: &[f32]) {
        let Self {
            batch,
            input,
            hidden,
            ..
        } = self;
        assert!(
            self.rows() > 0 && input > 0 && hidden > 0,
            "no size of an LSTM is zero: {self:?}"
        );
        assert_eq!(weights.w_ih.len(), 4 * hidden * input, "w_ih is (4H, I)");
        assert_eq!(weights.w_hh.len(), 4 * hidden * hidden, "w_hh is (4H, H)");
        assert_eq!(weights.bias.len(), 4 * hidden, "the bias is (4H)");
        assert_eq!(x.len(), self.rows() * input, "x is (T, B, I)");
        assert_eq!(
            states.map(<[f32]>::len),
            [batch * hidden; 2],
            "states are (B, H)"
        );
        assert_eq!(sequence.len(), self.rows() * hidden, "h is (T, B, H)");
    }
}
