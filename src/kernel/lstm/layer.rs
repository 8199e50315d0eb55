//! A layer's sizes, parameters and inputs, and what it keeps.

use super::super::embedding_bag::Bags;
use super::super::workspace::{Buffer, View};

/// Sizes of a layer and of what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmShape {
    /// Time steps `T`.
    pub time: usize,
    /// Sequences of the batch `B`.
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

/// What a layer reads at each time step of each sequence.
#[derive(Debug, Clone, Copy)]
pub enum LstmInput<'a> {
    /// A vector: `(T, B, I)`.
    Vectors(&'a [f32]),
    /// The sum of a set of a table's rows, as [`embedding_bag`](crate::kernel::Kernels::embedding_bag) gives it. The table is multiplied by the
    /// input weights in place of the sums, which are many more; then its products are summed.
    Bags {
        /// `(rows, I)`.
        table: &'a [f32],
        /// `(T, B)`.
        bags: Bags<'a>,
    },
}

/// A layer, what it reads, and the state that it begins with.
#[derive(Debug, Clone, Copy)]
pub struct LstmLayer<'a> {
    /// All sizes.
    pub shape: LstmShape,
    /// The parameters.
    pub weights: LstmWeights<'a>,
    /// What it reads.
    pub input: LstmInput<'a>,
    /// The hidden state before the first time step, `(B, H)`.
    pub h0: &'a [f32],
    /// The cell before the first time step, `(B, H)`.
    pub c0: &'a [f32],
}

/// Where a layer's gradients go, each shaped like its value and overwritten.
#[derive(Debug)]
pub struct LstmGradients<'a> {
    /// Of the vectors, or of the table.
    pub input: &'a mut [f32],
    /// Of the input weights.
    pub w_ih: &'a mut [f32],
    /// Of the recurrent weights.
    pub w_hh: &'a mut [f32],
    /// Of the bias.
    pub bias: &'a mut [f32],
}

/// What forward leaves for backward: gates and cell states. Keep one per layer and reuse it.
#[derive(Default)]
pub struct LstmTape {
    pub(super) gates: Buffer,
    pub(super) cells: Buffer,
    pub(super) shape: Option<LstmShape>,
}

impl<'a> LstmInput<'a> {
    /// The numbers that training moves: the vectors, or the table.
    pub(super) fn values(&self) -> &'a [f32] {
        match self {
            Self::Vectors(x) => x,
            Self::Bags { table, .. } => table,
        }
    }
}

impl LstmShape {
    pub(super) fn rows(self) -> usize {
        self.time * self.batch
    }
}

impl LstmWeights<'_> {
    pub(in crate::kernel) fn check(self, input: usize, hidden: usize) {
        assert_eq!(self.w_ih.len(), 4 * hidden * input, "w_ih is (4H, I)");
        assert_eq!(self.w_hh.len(), 4 * hidden * hidden, "w_hh is (4H, H)");
        assert_eq!(self.bias.len(), 4 * hidden, "the bias is (4H)");
    }
}

impl LstmLayer<'_> {
    pub(super) fn check(&self, h: &[f32]) {
        let LstmShape {
            batch,
            input,
            hidden,
            ..
        } = self.shape;
        let rows = self.shape.rows();
        assert!(
            rows > 0 && input > 0 && hidden > 0,
            "no size of an LSTM is zero: {:?}",
            self.shape
        );
        self.weights.check(input, hidden);
        match self.input {
            LstmInput::Vectors(x) => assert_eq!(x.len(), rows * input, "x is (T, B, I)"),
            LstmInput::Bags { table, bags } => assert_eq!(
                (table.len(), bags.len()),
                (bags.bits.rows * input, rows),
                "the table is (rows, I), its sets are (T, B)"
            ),
        }
        assert_eq!(
            [self.h0.len(), self.c0.len()],
            [batch * hidden; 2],
            "states are (B, H)"
        );
        assert_eq!(h.len(), rows * hidden, "h is (T, B, H)");
    }
}

/// The state before a time step: rows of `states` `(T, B, H)`, or of `first` `(B, H)` before the first step.
pub(super) fn before<'a>(
    states: View<'a>,
    first: &'a [f32],
    row: usize,
    shape: LstmShape,
) -> View<'a> {
    let LstmShape { batch, hidden, .. } = shape;
    match row < batch {
        true => View::of(&first[row * hidden..]),
        false => states.part((row - batch) * hidden, (shape.rows() - row) * hidden),
    }
}
