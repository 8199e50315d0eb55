//! Scratch memory that is kept from call to call, and its sharing among threads.

#![allow(unsafe_code)]

/// Sixteen floats on a cache line of their own.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([f32; 16]);

/// Floats aligned to a cache line; grows to what was asked for and never shrinks.
#[derive(Default)]
pub(super) struct Buffer {
    lines: Vec<Line>,
}

impl Buffer {
    /// At least `len` floats (zeros when they are new, else whatever was left in them).
    pub fn shared(&mut self, len: usize) -> Shared {
        let lines = len.div_ceil(16);
        if self.lines.len() < lines {
            // Dropped first: the old contents are not needed, and both at once would double the peak.
            self.lines = Vec::new();
            self.lines = vec![Line([0.0; 16]); lines];
        }
        Shared(self.lines.as_mut_ptr().cast())
    }
}

/// A pointer to floats that several threads write in places of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared(pub *mut f32);

// SAFETY: a bare address; each task that follows it keeps to the part that its number gives it.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Of a slice that the caller holds for as long as the tasks run.
    pub fn of(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The address `offset` floats on.
    ///
    /// # Safety
    /// `offset` must lie within the memory.
    #[inline(always)]
    pub unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }

    /// `len` floats from `offset` as a slice.
    ///
    /// # Safety
    /// Within the memory, alive, and touched by no other thread meanwhile.
    #[inline(always)]
    pub unsafe fn slice<'a>(self, offset: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), len) }
    }
}

/// Part `index` of `0..count` cut into `parts` of nearly equal length.
pub(super) fn part(count: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    count * index / parts..count * (index + 1) / parts
}
