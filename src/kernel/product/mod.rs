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
//! | `pack.rs` | operands in the order in which they are read |
//! | `tile.rs` | the register kernels |
//! | `rows.rs` | products by rows of the left operand, on one thread |
//! | `weight_gradient.rs` | products along the positions |
//! | `threaded.rs` | both shared out among the threads |

mod format;
mod pack;
mod rows;
mod threaded;
mod tile;
mod weight_gradient;

pub(super) use format::{Bf16, F32, Format};
pub(super) use pack::{pack_columns, pack_lines, pack_row};
pub(super) use rows::RowsProduct;
pub(super) use threaded::Products;
pub(super) use tile::{Left, Output, ROWS, Start, accumulate, full_tile};
pub(super) use weight_gradient::Right;

use super::path::Shape;
use super::simd::Simd;

/// How `columns` columns are cut into panels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels {
    pub columns: usize,
    lanes: usize,
    /// Columns of every panel but the last.
    pub panel: usize,
}

impl Panels {
    /// For a path's shape.
    #[inline(always)]
    pub fn new(columns: usize, shape: Shape) -> Self {
        Self {
            columns,
            lanes: shape.lanes,
            panel: shape.panel(),
        }
    }

    /// For a SIMD type.
    #[inline(always)]
    pub fn of<S: Simd>(columns: usize) -> Self {
        Self::new(
            columns,
            Shape {
                lanes: S::LANES,
                wide: S::WIDE,
            },
        )
    }

    /// Number of panels.
    #[inline(always)]
    pub fn count(self) -> usize {
        self.columns.div_ceil(self.panel)
    }

    /// Real columns of panel `index`.
    #[inline(always)]
    pub fn valid(self, index: usize) -> usize {
        (self.columns - index * self.panel).min(self.panel)
    }

    /// Columns of panel `index` in whole vectors.
    #[inline(always)]
    pub fn width(self, index: usize) -> usize {
        self.valid(index).next_multiple_of(self.lanes)
    }

    /// Columns of all panels together.
    #[inline(always)]
    pub fn padded(self) -> usize {
        self.columns.next_multiple_of(self.lanes)
    }
}
