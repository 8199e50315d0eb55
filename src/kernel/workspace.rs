//! Scratch memory that is kept from call to call, and its sharing among threads.

#![allow(unsafe_code)]

use std::marker::PhantomData;

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
    /// `len` floats (zeros when they are new, else whatever was left in them).
    pub fn shared(&mut self, len: usize) -> Shared<'_> {
        let lines = len.div_ceil(16);
        if self.lines.len() < lines {
            // Dropped first: the old contents are not needed, and both at once would double the peak.
            self.lines = Vec::new();
            self.lines = vec![Line([0.0; 16]); lines];
        }
        Shared {
            start: self.lines.as_mut_ptr().cast(),
            len,
            owner: PhantomData,
        }
    }

    /// The same as a slice.
    pub fn slice(&mut self, len: usize) -> &mut [f32] {
        let shared = self.shared(len);
        // SAFETY: the slice borrows the buffer, so nothing else reaches it.
        unsafe { shared.slice(0, len) }
    }
}

/// Numbers of an owner that is mutably borrowed for `'a`, which several threads read and write, each in places of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a, N = f32> {
    start: *mut N,
    len: usize,
    owner: PhantomData<&'a mut [N]>,
}

// SAFETY: an address; whoever follows it promises that no other thread is at the same place.
unsafe impl<N: Send> Send for Shared<'_, N> {}
// SAFETY: as above.
unsafe impl<N: Send> Sync for Shared<'_, N> {}

impl<'a, N> Shared<'a, N> {
    /// The numbers of a slice.
    pub fn of(slice: &'a mut [N]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            owner: PhantomData,
        }
    }

    /// The address of number `offset`, or of the end.
    #[inline(always)]
    pub fn at(self, offset: usize) -> *mut N {
        debug_assert!(offset <= self.len, "number {offset} of {}", self.len);
        self.start.wrapping_add(offset)
    }

    /// `len` numbers from `offset`.
    ///
    /// # Panics
    /// When they reach beyond the end.
    #[inline(always)]
    pub fn part(self, offset: usize, len: usize) -> Self {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "{len} numbers from {offset} of {}",
            self.len
        );
        Self {
            start: self.start.wrapping_add(offset),
            len,
            owner: PhantomData,
        }
    }

    /// `len` numbers from `offset` as a slice.
    ///
    /// # Safety
    /// Nothing else reads or writes these numbers while the slice lives.
    ///
    /// # Panics
    /// When they reach beyond the end.
    #[inline(always)]
    pub unsafe fn slice(self, offset: usize, len: usize) -> &'a mut [N] {
        let part = self.part(offset, len);
        // SAFETY: within what the owner has, which is borrowed for as long; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(part.start, len) }
    }
}

impl<'a> Shared<'a> {
    /// The same floats, to be read.
    #[inline(always)]
    pub fn view(self) -> View<'a> {
        View(self)
    }
}

/// Floats of an owner that is borrowed for `'a`, to be read. Other threads may write some of them, in places that are not looked at here.
#[derive(Clone, Copy)]
pub(super) struct View<'a>(Shared<'a>);

impl<'a> View<'a> {
    /// The floats of a slice.
    pub fn of(slice: &'a [f32]) -> Self {
        Self(Shared {
            start: slice.as_ptr().cast_mut(), // and never written to
            len: slice.len(),
            owner: PhantomData,
        })
    }

    /// The address of float `offset`, or of the end.
    #[inline(always)]
    pub fn at(self, offset: usize) -> *const f32 {
        self.0.at(offset)
    }

    /// `len` floats from `offset`.
    ///
    /// # Panics
    /// When they reach beyond the end.
    #[inline(always)]
    pub fn part(self, offset: usize, len: usize) -> Self {
        Self(self.0.part(offset, len))
    }
}

/// Part `index` of `0..count` cut into `parts` of nearly equal length.
pub(super) fn part(count: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    count * index / parts..count * (index + 1) / parts
}
