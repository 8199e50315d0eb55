//! Products of matrices by cuBLAS.
#![allow(unsafe_code)]

use cudarc::cublas::{result::sgemm, sys::cublasOperation_t};

use super::kernels::Kernels;
use super::span::Span;

/// Whether a factor of a product is read as it lies, or transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Row-major.
    Plain,
    /// Column-major.
    Transposed,
}

impl Kernels {
    /// `c ← a b + keep c` with `c` `(m, n)`; `a` is `(m, k)` or, transposed, `(k, m)`; `b` is `(k, n)` or, transposed, `(n, k)`.
    pub fn product(
        &self,
        (m, k, n): (usize, usize, usize),
        (a, read_a): (Span, Read),
        (b, read_b): (Span, Read),
        keep: f32,
        c: Span,
    ) {
        assert_eq!(
            (a.len(), b.len(), c.len()),
            (m * k, k * n, m * n),
            "the factors of a product of ({m}, {k}) and ({k}, {n})"
        );
        let operation = |read| match read {
            Read::Plain => cublasOperation_t::CUBLAS_OP_N,
            Read::Transposed => cublasOperation_t::CUBLAS_OP_T,
        };
        let stride = |read, plain, transposed| match read {
            Read::Plain => plain as i32,
            Read::Transposed => transposed as i32,
        };
        // cuBLAS is column-major: it computes cᵀ = bᵀ aᵀ.
        // SAFETY: the sizes are those of the spans, by the check above, and they borrow their owners.
        let computed = unsafe {
            sgemm(
                *self.blas.handle(),
                operation(read_b),
                operation(read_a),
                n as i32,
                m as i32,
                k as i32,
                &1.0,
                b.address() as *const f32,
                stride(read_b, n, k),
                a.address() as *const f32,
                stride(read_a, k, m),
                &keep,
                c.address() as *mut f32,
                n as i32,
            )
        };
        computed.expect("cuBLAS multiplies matrices of right sizes");
    }
}
