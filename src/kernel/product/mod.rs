//! Matrix products: operand formats, packing, and the register kernels that everything large is made of.
//!
//! A *unit* is four bytes along a product's depth: one f32, or a pair of bf16 numbers. The right operand is packed in
//! *panels*: some columns wide, one line of units per step of depth, so that a kernel reads it straight through. A kernel
//! keeps `MR × NV` vectors of sums in registers; each sum is one chain over the depth, so its bits do not depend on how
//! rows and columns are cut.
//!
//! | file | holds |
//! |---|---|
//! | `format.rs` | what a unit is |
//! | `panels.rs` | how columns are cut into panels |
//! | `pack.rs` | operands in the order in which they are read |
//! | `tile.rs` | the register kernels |
//! | `rows.rs` | products by rows of the left operand, on one thread |
//! | `weight_gradient.rs` | products along the positions |
//! | `threaded.rs` | both shared out among the threads |

pub(super) mod format;

mod pack;
mod panels;
mod rows;
mod threaded;
mod tile;
mod weight_gradient;

pub(super) use format::Format;
pub(super) use pack::{Block, pack_columns, pack_lines, pack_row};
pub(super) use panels::Panels;
pub(super) use rows::RowsProduct;
pub(super) use threaded::Products;
pub(super) use tile::{Left, Output, ROWS, Start, accumulate, full_tile};
pub(super) use weight_gradient::Right;
