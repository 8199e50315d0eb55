//! Where values lie in a device's memory, for kernels of our own.
//!
//! dfdx lends the buffers of gradients and of optimizer state, but keeps those of tensors private. The derived `Debug` form of a CUDA
//! tensor begins with the address and the length of its buffer, though, and a writer that has seen them can stop there. This is read
//! from dfdx's and cudarc's source, which is why their versions are pinned; a length that does not fit the tensor's shape is refused.

use std::fmt::{self, Write};
use std::ops::Range;

use cudarc::driver::{CudaSlice, DevicePtr, DeviceSlice};
use dfdx::prelude::*;

use crate::model::op::{Buffer, Matrix};

/// So many f32 at an address of the device.
///
/// Nothing is borrowed: whoever makes one keeps the buffer until the kernels that it is for have been enqueued. Buffers are freed in
/// the order of the same stream, so that they outlive the kernels themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The address of the first value.
    pub address: u64,
    /// How many values.
    pub length: usize,
}

impl Span {
    /// The values of a tensor, row-major.
    ///
    /// # Panics
    /// When the tensor is not contiguous, as the views that `permute` and `broadcast` give are not.
    pub fn of<S: Shape, T: Tape<f32, Cuda>>(tensor: &Tensor<S, f32, Cuda, T>) -> Self {
        let untaped: Tensor<S, f32, Cuda> = tensor.retaped();
        let span = Self::of_buffer_behind(&untaped);
        // Of a contiguous tensor this is the same buffer, of any other a copy.
        let contiguous = Self::of_buffer_behind(&untaped.contiguous());
        assert!(
            span == contiguous && span.length == tensor.shape().num_elements(),
            "the kernels want a contiguous tensor, not a view with strides of its own"
        );
        span
    }

    /// The buffer of a tensor, whatever its strides.
    fn of_buffer_behind<S: Shape>(tensor: &Tensor<S, f32, Cuda>) -> Self {
        let mut beginning = Beginning(String::new());
        // The writer reports an error when it has seen enough: that is what is wanted.
        let _ = write!(beginning, "{tensor:?}");
        let span = beginning
            .number_after("cu_device_ptr: ")
            .zip(beginning.number_after("len: "))
            .map(|(address, length)| Self {
                address,
                length: length as usize,
            });
        span.expect("a CUDA tensor's debug form begins with its buffer")
    }

    /// The values of a buffer.
    pub fn of_slice(buffer: &CudaSlice<f32>) -> Self {
        Self {
            address: *buffer.device_ptr(),
            length: buffer.len(),
        }
    }

    /// The values of dfdx's kind of buffer.
    pub fn of_buffer(buffer: &Buffer<Cuda>) -> Self {
        Self::of_slice(buffer)
    }

    /// The gradient of a tensor, zeros if there was none.
    pub fn of_gradient(gradients: &mut Gradients<f32, Cuda>, tensor: &Matrix<Cuda>) -> Self {
        let buffer = gradients.get_or_alloc_mut(tensor);
        Self::of_buffer(buffer.expect("a gradient fits in memory"))
    }

    /// The values in `range`.
    ///
    /// # Panics
    /// When it reaches beyond the end.
    pub fn part(self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.length,
            "values {range:?} of {}",
            self.length
        );
        Self {
            address: self.address + (range.start * size_of::<f32>()) as u64,
            length: range.len(),
        }
    }
}

/// The first characters of a text, as many as hold an address and a length.
struct Beginning(String);

impl Beginning {
    /// The number that follows the first occurrence of `label`, if another character follows it.
    fn number_after(&self, label: &str) -> Option<u64> {
        let (_, rest) = self.0.split_once(label)?;
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        rest[..digits].parse().ok()
    }
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        match self.number_after("len: ") {
            Some(_) => Err(fmt::Error),
            None => Ok(()),
        }
    }
}
