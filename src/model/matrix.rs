//! A matrix on a device: what parameters, states and activations are.
//!
//! It is a dfdx tensor. The values of a tensor are private in dfdx, which lends one at a time, but fused operations on the CPU need a slice
//! of all. A matrix that is made from a `Vec` therefore remembers the address of its values, which stay in place when the `Vec` moves into
//! the tensor. A tensor that dfdx made has no such address, and fused operations refuse it.
#![allow(unsafe_code)]

use dfdx::prelude::*;
use std::ptr::NonNull;

/// A dfdx tensor of two run-time dimensions.
pub type Tensor2<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;

/// The storage of a tensor's values or gradients on a device.
pub type Buffer<D> = <D as Storage<f32>>::Vec;

/// A row-major matrix on a device; `T` says whether operations on it are taped.
#[derive(Debug, Clone)]
pub struct Matrix<D: Storage<f32>, T = NoneTape> {
    tensor: Tensor2<D, T>,
    /// The address of the values, if the matrix is made from a `Vec`. Only this file uses it.
    host: Option<NonNull<f32>>,
}

impl<D: Storage<f32>, T> From<Tensor2<D, T>> for Matrix<D, T> {
    fn from(tensor: Tensor2<D, T>) -> Self {
        Self { tensor, host: None }
    }
}

impl<D: Storage<f32>, T> Matrix<D, T> {
    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        *self.tensor.shape()
    }

    /// The tensor.
    pub fn tensor(&self) -> &Tensor2<D, T> {
        &self.tensor
    }

    /// The tensor, for dfdx's operations.
    pub fn into_tensor(self) -> Tensor2<D, T> {
        self.tensor
    }

    /// The same values with an empty tape.
    pub fn retaped<New: Tape<f32, D>>(&self) -> Matrix<D, New> {
        Matrix {
            tensor: self.tensor.retaped(),
            host: self.host,
        }
    }

    /// The values and the tape.
    pub fn split_tape(self) -> (Matrix<D>, T) {
        let host = self.host;
        let (tensor, tape) = self.tensor.split_tape();
        (Matrix { tensor, host }, tape)
    }
}

impl<D: Storage<f32>> Matrix<D> {
    /// The values with a tape.
    pub fn put_tape<T>(self, tape: T) -> Matrix<D, T> {
        Matrix {
            tensor: self.tensor.put_tape(tape),
            host: self.host,
        }
    }
}

impl<D: Device<f32>> Matrix<D> {
    /// A copy on the host, row-major.
    pub fn to_vec(&self) -> Vec<f32> {
        let (rows, columns) = self.shape();
        let mut values = vec![0.0; rows * columns];
        self.tensor.copy_into(&mut values);
        values
    }

    /// Lets dfdx change the values. It may move them, so their address is forgotten.
    pub fn change(&mut self, change: impl FnOnce(&mut Tensor2<D>)) {
        self.host = None;
        change(&mut self.tensor);
    }
}

const NO_ADDRESS: &str =
    "fused operations need a contiguous matrix made from a Vec, not a view or a result of dfdx";

impl Matrix<Cpu> {
    /// A matrix of these values.
    ///
    /// # Panics
    /// When they are not `rows * columns`.
    pub fn of_host(device: &Cpu, mut values: Vec<f32>, shape: (usize, usize)) -> Self {
        let start = NonNull::new(values.as_mut_ptr());
        Self {
            tensor: device.tensor_from_vec(values, shape),
            host: start,
        }
    }

    /// The values, row-major, to be changed.
    ///
    /// # Panics
    /// When another tensor shares them, and as [`Matrix::values`] does.
    pub fn values_mut(&mut self) -> &mut [f32] {
        let (rows, columns) = self.shape();
        if rows * columns == 0 {
            return &mut [];
        }
        let start = self.host.take().expect(NO_ADDRESS);
        // If another tensor shares the values, dfdx copies them before it lends one for writing.
        let lent = &raw mut self.tensor[[0, 0]];
        assert_eq!(
            lent.addr(),
            start.addr().get(),
            "a matrix that shares its values cannot be changed in place"
        );
        self.host = Some(start);
        // SAFETY: `start` is the address of the `Vec` of this many values, which the tensor still owns and does not share, by the check
        // above. The slice borrows this matrix mutably.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), rows * columns) }
    }
}

impl<T> Matrix<Cpu, T> {
    /// The values, row-major.
    ///
    /// # Panics
    /// When the matrix is not made from a `Vec`.
    pub fn values(&self) -> &[f32] {
        let (rows, columns) = self.shape();
        let start = self.host.expect(NO_ADDRESS);
        // SAFETY: `start` is the address of the `Vec` of this many values, which the tensor owns. Nothing has moved them: this type
        // lends the tensor only for reading, `change` forgets the address, and `values_mut` checks it.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), rows * columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix<Cpu> {
        let values = (0..6u8).map(f32::from).collect();
        Matrix::of_host(&Cpu::default(), values, (2, 3))
    }

    #[test]
    fn slices_are_the_values_of_the_tensor() {
        let mut matrix = matrix();
        assert_eq!(matrix.values(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        matrix.values_mut()[4] = 9.0;
        assert_eq!(matrix.tensor().as_vec(), [0.0, 1.0, 2.0, 3.0, 9.0, 5.0]);
        let taped = matrix.retaped::<OwnedTape<f32, Cpu>>();
        drop(matrix);
        assert_eq!(taped.split_tape().0.values()[4], 9.0);
        assert!(
            Matrix::of_host(&Cpu::default(), vec![], (0, 3))
                .values()
                .is_empty()
        );
    }

    #[test]
    #[should_panic(expected = "shares its values")]
    fn values_that_are_shared_are_not_changed() {
        let mut matrix = matrix();
        let _shared = matrix.clone();
        matrix.values_mut();
    }

    #[test]
    #[should_panic(expected = "contiguous")]
    fn a_transposed_view_is_refused() {
        let view = matrix()
            .into_tensor()
            .permute::<(usize, usize), Axes2<1, 0>>();
        Matrix::from(view).values();
    }

    #[test]
    #[should_panic(expected = "contiguous")]
    fn values_that_dfdx_has_put_elsewhere_are_refused() {
        let mut matrix = matrix();
        matrix.change(|tensor| tensor.copy_from(&[1.0; 6]));
        assert_eq!(matrix.to_vec(), [1.0; 6]);
        matrix.values();
    }
}
