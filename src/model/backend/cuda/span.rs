//! Where values lie in a device's memory, for kernels of our own.
//!
//! dfdx lends the buffers of gradients and of optimizer state, but those of tensors are private. The derived `Debug` form of a CUDA tensor
//! begins with the address and the length of its buffer, and a writer can stop there. That is known from the source of dfdx and cudarc,
//! so their versions are pinned. A [`Span`] can only be made from what owns the memory, and borrows it.
#![allow(unsafe_code)]

use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::ops::Range;

use cudarc::driver::{CudaSlice, DevicePtr, DeviceSlice};
use dfdx::prelude::*;

use crate::model::matrix::{Buffer, Matrix};
use crate::model::parameters::Parameters;

/// f32 values of an owner in the memory of the device. Kernels read and write them in the order of dfdx's stream, in which buffers are
/// also freed: so the values outlive the kernels that are launched while the owner is borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    address: u64,
    length: usize,
    owner: PhantomData<&'a f32>,
}

impl<'a> Span<'a> {
    /// # Safety
    /// `length` f32 values lie at this address of the device and stay there for `'a`.
    unsafe fn new(address: u64, length: usize) -> Self {
        Self {
            address,
            length,
            owner: PhantomData,
        }
    }

    /// The values of a matrix, row-major.
    ///
    /// # Panics
    /// When the matrix is not contiguous, as the views that `permute` and `broadcast` give are not.
    pub fn of(matrix: &'a Matrix<Cuda>) -> Self {
        Self::of_tensor(matrix.tensor())
    }

    /// The values of a tensor, row-major.
    ///
    /// # Panics
    /// When the tensor is not contiguous.
    pub fn of_tensor<S: Shape>(tensor: &'a Tensor<S, f32, Cuda>) -> Self {
        let (address, length) = buffer_of(tensor);
        // Of a contiguous tensor this is the same buffer, of any other a copy.
        let contiguous = buffer_of(&tensor.clone().contiguous());
        assert!(
            (address, length) == contiguous && length == tensor.shape().num_elements(),
            "the kernels want a contiguous tensor, not a view with strides of its own"
        );
        // SAFETY: dfdx says that the tensor's buffer lies there, and the tensor keeps it.
        unsafe { Self::new(address, length) }
    }

    /// The values of a buffer.
    pub fn of_slice(buffer: &'a CudaSlice<f32>) -> Self {
        // SAFETY: the buffer's own address and length.
        unsafe { Self::new(*buffer.device_ptr(), buffer.len()) }
    }

    /// The values of dfdx's kind of buffer.
    pub fn of_buffer(buffer: &'a Buffer<Cuda>) -> Self {
        Self::of_slice(buffer)
    }

    /// The gradients of matrices, zeros where there was none.
    pub fn of_gradients<const N: usize>(
        gradients: &'a mut Gradients<f32, Cuda>,
        matrices: [&Matrix<Cuda>; N],
    ) -> [Self; N] {
        // SAFETY: the container is borrowed for `'a`.
        matrices.map(|matrix| unsafe { Self::of_gradient(gradients, matrix) })
    }

    /// The gradients of all parameters, zeros where there was none.
    pub fn of_all_gradients(
        gradients: &'a mut Gradients<f32, Cuda>,
        parameters: &Parameters<Cuda>,
    ) -> Vec<Self> {
        let matrices = parameters.iter().map(|parameter| &parameter.matrix);
        // SAFETY: the container is borrowed for `'a`.
        matrices
            .map(|matrix| unsafe { Self::of_gradient(gradients, matrix) })
            .collect()
    }

    /// # Safety
    /// The container stays borrowed for `'a`: it keeps a buffer where it is while others are put in.
    unsafe fn of_gradient(gradients: &mut Gradients<f32, Cuda>, matrix: &Matrix<Cuda>) -> Self {
        let buffer = gradients.get_or_alloc_mut(matrix.tensor());
        let buffer: &CudaSlice<f32> = buffer.expect("a gradient fits in memory");
        // SAFETY: the buffer's own address and length; the rest is the caller's promise.
        unsafe { Self::new(*buffer.device_ptr(), buffer.len()) }
    }

    /// How many values.
    pub fn len(self) -> usize {
        self.length
    }

    /// The address of the first value.
    pub fn address(self) -> u64 {
        self.address
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
            owner: PhantomData,
        }
    }
}

/// The address and the length of a tensor's buffer, whatever its strides.
fn buffer_of<S: Shape>(tensor: &Tensor<S, f32, Cuda>) -> (u64, usize) {
    let mut beginning = Beginning(String::new());
    // The writer returns an error once it has seen enough, to stop the formatting.
    let _ = write!(beginning, "{tensor:?}");
    let address = beginning.number_after("cu_device_ptr: ");
    let length = beginning.number_after("len: ");
    let (address, length) = address
        .zip(length)
        .expect("a CUDA tensor's debug form begins with its buffer");
    (address, length as usize)
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
