//! The values of a CPU tensor as a slice, for the fused kernels.
//!
//! dfdx keeps a tensor's storage private. It lends single elements by index, and promises no more; that a contiguous tensor is one
//! `Vec` behind one `Arc` is read from its source, which is why its version is pinned.
#![allow(unsafe_code)]

use crate::model::op::Matrix;
use dfdx::prelude::{Cpu, Gradients};

/// The values of a contiguous matrix, row-major.
///
/// # Panics
/// When the matrix is a view that is not contiguous.
pub fn values<T>(tensor: &Matrix<Cpu, T>) -> &[f32] {
    let Some(length) = contiguous_length(tensor) else {
        return &[];
    };
    // SAFETY: element [0, 0] lies in the tensor's `Vec`, and by the check above the last element is `length - 1` after it, so all
    // `length` values belong to that one live allocation. The slice borrows the tensor, so nothing writes to it meanwhile.
    unsafe { std::slice::from_raw_parts(&raw const tensor[[0, 0]], length) }
}

/// The values of a contiguous matrix, row-major, to be changed. Copies them first where another tensor shares them.
///
/// # Panics
/// When the matrix is a view that is not contiguous.
pub fn values_mut<T>(tensor: &mut Matrix<Cpu, T>) -> &mut [f32] {
    let Some(length) = contiguous_length(tensor) else {
        return &mut [];
    };
    // SAFETY: as above; `IndexMut` has made the allocation this tensor's own, and the slice borrows the tensor mutably.
    unsafe { std::slice::from_raw_parts_mut(&raw mut tensor[[0, 0]], length) }
}

/// How many values a matrix has, after a check that they lie one after the other; none if it is empty.
fn contiguous_length<T>(tensor: &Matrix<Cpu, T>) -> Option<usize> {
    let (rows, columns) = *dfdx::prelude::HasShape::shape(tensor);
    if rows * columns == 0 {
        return None;
    }
    let offset = |index: [usize; 2]| {
        (&raw const tensor[index])
            .addr()
            .wrapping_sub((&raw const tensor[[0, 0]]).addr())
    };
    let expected = |index: [usize; 2]| (index[0] * columns + index[1]) * size_of::<f32>();
    for corner in [[0, columns - 1], [rows - 1, 0], [rows - 1, columns - 1]] {
        assert_eq!(
            offset(corner),
            expected(corner),
            "the fused kernels want a contiguous matrix"
        );
    }
    Some(rows * columns)
}

/// Takes the buffer of a tensor's gradient out of its container, zeros if there was none. One that was only read is put back too: what
/// is dropped outside of its container is lost to the device, which has to get fresh memory at the next step.
pub fn take_gradient(gradients: &mut Gradients<f32, Cpu>, tensor: &Matrix<Cpu>) -> Vec<f32> {
    std::mem::take(
        &mut **gradients
            .get_or_alloc_mut(tensor)
            .expect("a gradient fits in memory"),
    )
}

/// Puts it back.
pub fn put_gradient(gradients: &mut Gradients<f32, Cpu>, tensor: &Matrix<Cpu>, gradient: Vec<f32>) {
    **gradients
        .get_or_alloc_mut(tensor)
        .expect("a gradient fits in memory") = gradient;
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::*;

    #[test]
    fn slices_hold_the_values_and_write_through_without_touching_a_clone() {
        let device = Cpu::default();
        let mut tensor: Matrix<Cpu> =
            device.tensor_from_vec((0..6u8).map(f32::from).collect(), (2, 3));
        let clone = tensor.clone();
        assert_eq!(values(&tensor), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        values_mut(&mut tensor)[4] = 9.0;
        assert_eq!(tensor.as_vec(), [0.0, 1.0, 2.0, 3.0, 9.0, 5.0]);
        assert_eq!(clone.as_vec(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let empty: Matrix<Cpu> = device.zeros_like(&(0, 3));
        assert!(values(&empty).is_empty());
    }

    #[test]
    #[should_panic(expected = "contiguous")]
    fn a_transposed_view_is_refused() {
        let tensor: Matrix<Cpu> = Cpu::default().zeros_like(&(2, 3));
        values(&tensor.permute::<(usize, usize), Axes2<1, 0>>());
    }
}
