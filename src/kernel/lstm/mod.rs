//! One LSTM layer over a whole sequence, forward and backward.
//!
//! Gates in PyTorch's order i, f, g, o (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000):
//! i, f, o = σ(…), g = tanh(…), c = f·c₋₁ + i·g, h = o·tanh c.
//!
//! The inputs of all time steps are multiplied at once (of sounding keys the table that they are summed from, instead); then each thread takes some lanes of the batch through all time
//! steps on its own, since lanes never meet, with the recurrent weights packed in its second-level cache. Backward the
//! same in reverse, and one product at the end for the weights.

mod backward;
mod forward;
#[cfg(test)]
mod tests;

pub(super) use forward::cell;

use super::keys::KEYS;
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

/// What a layer reads at each time step of each lane.
#[derive(Debug, Clone, Copy)]
pub enum LstmInput<'a> {
    /// A vector: `(T, B, I)`.
    Vectors(&'a [f32]),
    /// The sum of the rows of a table that belong to the sounding keys. The table is multiplied by the input weights in place of the
    /// sums, which are many more; then its products are summed.
    Keys {
        /// `(88, I)`.
        table: &'a [f32],
        /// `(T, B)`, as for [`multi_hot_forward`](super::Kernels::multi_hot_forward).
        masks: &'a [u128],
    },
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
    projected: Buffer,
}

impl LstmInput<'_> {
    /// The numbers that training moves: the vectors, or the table.
    fn values(&self) -> &[f32] {
        match self {
            Self::Vectors(x) => x,
            Self::Keys { table, .. } => table,
        }
    }
}

impl LstmShape {
    fn rows(self) -> usize {
        self.time * self.batch
    }

    fn check(
        self,
        weights: LstmWeights<'_>,
        from: LstmInput<'_>,
        states: [&[f32]; 2],
        sequence: &[f32],
    ) {
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
        match from {
            LstmInput::Vectors(x) => assert_eq!(x.len(), self.rows() * input, "x is (T, B, I)"),
            LstmInput::Keys { table, masks } => assert_eq!(
                (table.len(), masks.len()),
                (KEYS * input, self.rows()),
                "the table is (88, I), masks are (T, B)"
            ),
        }
        assert_eq!(
            states.map(<[f32]>::len),
            [batch * hidden; 2],
            "states are (B, H)"
        );
        assert_eq!(sequence.len(), self.rows() * hidden, "h is (T, B, H)");
    }
}
