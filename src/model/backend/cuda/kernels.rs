//! Kernels of our own on a CUDA device: compiled when the program starts, launched on dfdx's stream, with cuBLAS for the products.
#![allow(unsafe_code)]

use anyhow::{Result, anyhow};
use cudarc::cublas::CudaBlas;
use cudarc::driver::{
    CudaDevice, CudaFunction, CudaSlice, DevicePtr, LaunchAsync, LaunchConfig, result,
};
use cudarc::nvrtc::compile_ptx;
use std::sync::Arc;

use super::span::Span;
use crate::model::op::update::Rule;

/// Threads of a block that works on one row: `THREADS` of `rows.cu`.
const ROW_THREADS: u32 = 256;
/// Threads of a block of which each works on one element.
const ELEMENT_THREADS: u32 = 256;
/// How many values each thread squares and adds up, until there are [`MOST_PARTIAL_SUMS`].
const SQUARES_PER_THREAD: usize = 16;
/// The most blocks, and so partial sums, of a sum of squares.
const MOST_PARTIAL_SUMS: usize = 256;

/// A module: its name, its source, and its kernels.
type Module = (&'static str, &'static str, &'static [&'static str]);

const ELEMENTS: Module = (
    "harness_elements",
    include_str!("elements.cu"),
    &[
        "gather_rows",
        "scatter_rows",
        "lstm_step",
        "lstm_step_backward",
        "adam",
    ],
);
const ROWS: Module = (
    "harness_rows",
    include_str!("rows.cu"),
    &["softmax_rows", "sum_of_squares", "scaled_sum"],
);

/// A device's kernels and what they keep between calls.
#[derive(Debug)]
pub struct Kernels {
    device: Arc<CudaDevice>,
    pub(super) blas: CudaBlas,
    ones: CudaSlice<f32>,
    tile: CudaSlice<f32>,
    /// Buffers of LSTM layers that are not in use.
    pub tapes: Vec<Tape>,
}

/// What a layer keeps from its forward to its backward pass, as far as its buffers have grown.
#[derive(Debug)]
pub struct Tape {
    /// Gates, `(T * B, 4H)`: activated, and after the backward pass their gradient.
    pub gates: CudaSlice<f32>,
    /// Cells, `(T * B, H)`.
    pub cells: CudaSlice<f32>,
}

/// What the gradient of one step of an LSTM layer reads and writes: see `elements.cu`.
#[derive(Clone, Copy)]
pub struct LstmStepBackward<'a> {
    /// Activated, then the gradients of their sums.
    pub gates: Span<'a>,
    /// The cell before the step.
    pub cell_before: Span<'a>,
    /// The cell after it.
    pub cell: Span<'a>,
    /// The gradient of the output.
    pub d_output: Span<'a>,
    /// What the next step hands back to the output.
    pub d_carried: Span<'a>,
    /// What the next step hands back to the cell, then what this one does.
    pub d_cell: Span<'a>,
}

impl Kernels {
    /// Compiles the kernels for `device`.
    ///
    /// # Errors
    /// When NVRTC does not compile them, or the driver does not take what it makes.
    pub fn new(device: Arc<CudaDevice>) -> Result<Self> {
        for (module, source, names) in [ELEMENTS, ROWS] {
            let ptx = compile_ptx(source)
                .map_err(|error| anyhow!("NVRTC failed to compile the kernels: {error:?}"))?;
            device.load_ptx(ptx, module, names).map_err(|error| {
                anyhow!("the driver refused the kernels that NVRTC compiled, whose CUDA version may be newer than its own: {error:?}")
            })?;
        }
        let blas = CudaBlas::new(Arc::clone(&device))
            .map_err(|error| anyhow!("failed to start cuBLAS: {error:?}"))?;
        let empty = || {
            device
                .null()
                .map_err(|error| anyhow!("failed to allocate memory of the device: {error:?}"))
        };
        let (ones, tile) = (empty()?, empty()?);
        Ok(Self {
            device,
            blas,
            ones,
            tile,
            tapes: Vec::new(),
        })
    }

    /// Makes the device's context that of the calling thread.
    pub fn bind(&self) {
        let bound = self.device.bind_to_thread();
        bound.expect("the driver takes a thread of this process");
    }

    /// A copy of `values` on the device.
    pub fn upload(&self, values: &[u32]) -> CudaSlice<u32> {
        // From ordinary host memory the driver has its own copy when this returns, and waits for no kernel.
        let copy = self.device.htod_copy(values.to_vec());
        copy.expect("a window's ids fit in memory")
    }

    /// A buffer of `length` values that nothing has been written to.
    pub fn uninitialized(&self, length: usize) -> CudaSlice<f32> {
        // SAFETY: any bits are an f32; kernels write them before others read them.
        unsafe { self.device.alloc(length) }.expect("a buffer fits in memory")
    }

    /// Makes room for `ones` ones and for a tile of `tile` values.
    pub fn reserve(&mut self, ones: usize, tile: usize) {
        if Span::of_slice(&self.ones).len() < ones {
            let values = self.device.htod_sync_copy(&vec![1.0; ones]);
            self.ones = values.expect("a column of ones fits in memory");
        }
        if Span::of_slice(&self.tile).len() < tile {
            self.tile = self.uninitialized(tile);
        }
    }

    /// A column of ones; [`reserve`](Self::reserve) comes first.
    pub fn ones(&self, length: usize) -> Span<'_> {
        Span::of_slice(&self.ones).part(0..length)
    }

    /// Memory for a tile of logits and for their inputs; [`reserve`](Self::reserve) comes first.
    pub fn tile(&self, logits: usize, inputs: usize) -> (Span<'_>, Span<'_>) {
        let tile = Span::of_slice(&self.tile);
        (tile.part(0..logits), tile.part(logits..logits + inputs))
    }

    /// Copies values on the device.
    pub fn copy(&self, from: Span, to: Span) {
        assert_eq!(from.len(), to.len(), "a copy is as long as what it is of");
        let bytes = from.len() * size_of::<f32>();
        // SAFETY: both spans are so long and borrow their owners; dfdx computes on the same, the default, stream.
        let copied = unsafe {
            result::memcpy_dtod_async(to.address(), from.address(), bytes, std::ptr::null_mut())
        };
        copied.expect("the driver copies within its memory");
    }

    /// Fills with zeros.
    pub fn clear(&self, values: Span) {
        let bytes = values.len() * size_of::<f32>();
        // SAFETY: the span is so long and borrows its owner; a float of zero bits is 0.
        let cleared =
            unsafe { result::memset_d8_async(values.address(), 0, bytes, std::ptr::null_mut()) };
        cleared.expect("the driver fills its memory");
    }

    /// The rows `ids` of `table`, each `width` wide, to `out`; zeros for [`crate::batch::NO_TOKEN`].
    pub fn gather_rows(&self, table: Span, ids: &CudaSlice<u32>, out: Span, width: usize) {
        let rows = out.len() / width;
        let parameters = (
            table.address(),
            *ids.device_ptr(),
            out.address(),
            rows as u32,
            width as u32,
        );
        self.each_element(out.len(), "gather_rows", parameters);
    }

    /// Adds the rows of `values` to the rows `ids` of `table`.
    pub fn scatter_rows(&self, table: Span, ids: &CudaSlice<u32>, values: Span, width: usize) {
        let rows = values.len() / width;
        let parameters = (
            table.address(),
            *ids.device_ptr(),
            values.address(),
            rows as u32,
            width as u32,
        );
        self.each_element(values.len(), "scatter_rows", parameters);
    }

    /// One step of an LSTM layer of `hidden` values: see `elements.cu`.
    pub fn lstm_step(
        &self,
        gates: Span,
        cell_before: Span,
        cell: Span,
        output: Span,
        hidden: usize,
    ) {
        assert_eq!(
            (gates.len(), cell_before.len(), output.len()),
            (4 * cell.len(), cell.len(), cell.len())
        );
        let parameters = (
            gates.address(),
            cell_before.address(),
            cell.address(),
            output.address(),
            (cell.len() / hidden) as u32,
            hidden as u32,
        );
        self.each_element(cell.len(), "lstm_step", parameters);
    }

    /// Its gradient: see `elements.cu`.
    pub fn lstm_step_backward(&self, step: LstmStepBackward, hidden: usize) {
        let LstmStepBackward {
            gates,
            cell_before,
            cell,
            d_output,
            d_carried,
            d_cell,
        } = step;
        let count = cell.len();
        assert_eq!(gates.len(), 4 * count);
        for span in [cell_before, d_output, d_carried, d_cell] {
            assert_eq!(span.len(), count);
        }
        let parameters = (
            gates.address(),
            cell_before.address(),
            cell.address(),
            d_output.address(),
            d_carried.address(),
            d_cell.address(),
            (count / hidden) as u32,
            hidden as u32,
        );
        self.each_element(count, "lstm_step_backward", parameters);
    }

    /// Adam's step for one parameter.
    ///
    /// # Panics
    /// For another rule.
    pub fn adam(
        &self,
        rule: &Rule,
        scale: f32,
        parameter: Span,
        [first, second]: [Span; 2],
        gradient: Span,
    ) {
        let Rule::Adam {
            rate,
            betas,
            epsilon,
            step,
        } = *rule
        else {
            panic!("{rule:?} is not Adam's");
        };
        for span in [first, second, gradient] {
            assert_eq!(span.len(), parameter.len());
        }
        let [correction1, correction2] = betas.map(|beta| (1.0 / (1.0 - beta.powi(step))) as f32);
        let parameters = (
            parameter.address(),
            first.address(),
            second.address(),
            gradient.address(),
            parameter.len(),
            scale,
            rate as f32,
            betas[0] as f32,
            betas[1] as f32,
            correction1,
            correction2,
            epsilon as f32,
        );
        self.each_element(parameter.len(), "adam", parameters);
    }

    /// The likelihoods of `targets` and the gradient in place: see `rows.cu`. `targets` are those of all positions, of which the
    /// tile's are `positions`.
    pub fn softmax_rows(
        &self,
        logits: Span,
        bias: Span,
        targets: &CudaSlice<u32>,
        first: usize,
        nll: Span,
        scale: f32,
    ) {
        assert_eq!(logits.len(), nll.len() * bias.len());
        let parameters = (
            logits.address(),
            bias.address(),
            *targets.device_ptr() + (first * size_of::<u32>()) as u64,
            nll.address(),
            bias.len() as u32,
            scale,
        );
        self.each_row(nll.len(), "softmax_rows", parameters);
    }

    /// The sum of the squares of all values of all `spans`. Waits for it.
    pub fn sum_of_squares(&self, spans: &[Span]) -> f64 {
        let blocks = |span: &Span| {
            let blocks = span
                .len()
                .div_ceil(ROW_THREADS as usize * SQUARES_PER_THREAD);
            blocks.clamp(1, MOST_PARTIAL_SUMS)
        };
        let sums = self.uninitialized(spans.iter().map(blocks).sum());
        let mut first = 0;
        for span in spans {
            let last = first + blocks(span);
            let partial = Span::of_slice(&sums).part(first..last);
            self.each_row(
                partial.len(),
                "sum_of_squares",
                (span.address(), span.len(), partial.address()),
            );
            first = last;
        }
        let sums = self.device.dtoh_sync_copy(&sums);
        sums.expect("a copy from the device to the host succeeds")
            .into_iter()
            .map(f64::from)
            .sum()
    }

    /// `scale` times the sum of `values`, to `out`.
    pub fn scaled_sum(&self, values: Span, scale: f32, out: Span) {
        assert_eq!(out.len(), 1);
        self.each_row(
            1,
            "scaled_sum",
            (values.address(), values.len(), scale, out.address()),
        );
    }

    /// Launches a kernel of `elements.cu`.
    fn each_element<P>(&self, count: usize, name: &'static str, parameters: P)
    where
        CudaFunction: LaunchAsync<P>,
    {
        let blocks = count.div_ceil(ELEMENT_THREADS as usize);
        self.launch(ELEMENTS.0, name, blocks, ELEMENT_THREADS, parameters);
    }

    /// Launches a kernel of `rows.cu`.
    fn each_row<P>(&self, rows: usize, name: &'static str, parameters: P)
    where
        CudaFunction: LaunchAsync<P>,
    {
        self.launch(ROWS.0, name, rows, ROW_THREADS, parameters);
    }

    fn launch<P>(
        &self,
        module: &str,
        name: &'static str,
        blocks: usize,
        threads: u32,
        parameters: P,
    ) where
        CudaFunction: LaunchAsync<P>,
    {
        if blocks == 0 {
            return;
        }
        let kernel = self.device.get_func(module, name);
        let kernel = kernel.expect("every kernel was loaded when the device was opened");
        let config = LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: each caller passes what its kernel declares, with lengths that it has checked, of spans that borrow their owners.
        unsafe { kernel.launch(config, parameters) }.expect("the driver takes a kernel of ours");
    }
}
