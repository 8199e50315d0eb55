//! One LSTM layer over a whole sequence, forward and backward.
//!
//! Gates in PyTorch's order i, f, g, o (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000):
//! i, f, o = σ(…), g = tanh(…), c = f·c₋₁ + i·g, h = o·tanh c.
//!
//! The inputs of all time steps are multiplied at once (where sums of a table's rows are read, the table is, and its products are
//! summed); then each thread takes some sequences of the batch through all time steps on its own, since sequences never meet, with the
//! recurrent weights packed in its second-level cache. Backward the same in reverse, and one product at the end for the weights.

mod backward;
pub(super) mod forward;
pub(super) mod layer;
#[cfg(test)]
mod tests;
