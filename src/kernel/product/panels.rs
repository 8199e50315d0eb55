//! How the columns of a product are cut into panels.

use super::super::dispatch::Shape;
use super::super::simd::Simd;

/// How `columns` columns are cut into panels.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) struct Panels {
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
