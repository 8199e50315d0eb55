//! CUDA device 0 against the CPU: every operation, and the networks of the five experiments. Where there is no GPU, device 0 is an
//! emulated one (see `.ci/run`).
//!
//! Both forms of the device's operations, composed and own, are compared with the CPU's. Products and sums are taken in another order
//! there, so that numbers agree to about six digits, and losses after dozens of steps to about four.

mod training;

use super::span::Span;
use super::*;
use crate::kernel::{KernelPath, Kernels, Precision};
use crate::model::backend::Reference;
use crate::model::backend::cpu::FusedCpu;
use crate::model::memory::tile_rows;
use crate::model::tests::operations::{assert_close, of, operations, uniform};
use crate::random;
use rand::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};

/// The device with kernels of our own and without, for one test at a time: an emulated device computes one thing at a time.
struct Device {
    own: FusedCuda,
    composed: Reference<Cuda>,
    _alone: MutexGuard<'static, ()>,
}

impl Device {
    fn open() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let device = super::device(0).expect("these tests need a CUDA device");
        Self {
            own: FusedCuda::new(device.clone()).unwrap(),
            composed: Reference(device),
            _alone: alone,
        }
    }
}

fn cpu() -> FusedCpu {
    FusedCpu::new(Kernels::new(KernelPath::detect(), 1, Precision::F32))
}

#[test]
fn every_operation_has_the_results_and_gradients_of_the_cpu() {
    let device = Device::open();
    let expected = operations(&Reference(Cpu::default()));
    for (form, found) in [
        ("own", operations(&device.own)),
        ("composed", operations(&device.composed)),
    ] {
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            assert_close(&format!("{name} ({form})"), found, expected, 2e-6);
        }
    }
}

#[test]
fn the_head_of_truncated_classical_agrees_in_tiles() {
    let device = Device::open();
    let (vocabulary, hidden) = (132_437, 4);
    let positions = tile_rows(vocabulary) + 3; // a whole tile, and another
    let mut rng = random::stream(7, "head");
    let values =
        [positions * hidden, vocabulary * hidden, vocabulary].map(|n| uniform(&mut rng, n));
    let target = |_| rng.gen_range(0..vocabulary as u32);
    let targets: Vec<u32> = (0..positions).map(target).collect();
    let found = head(&device.own, hidden, &values, &targets);
    let expected = head(&cpu(), hidden, &values, &targets);
    for ((name, found), expected) in ["loss", "d weight", "d bias", "d h", "nll"]
        .iter()
        .zip(&found)
        .zip(&expected)
    {
        assert_close(name, found, expected, 1e-5);
    }
}

/// Loss, gradients and likelihoods of a head.
fn head<B: Backend>(
    backend: &B,
    hidden: usize,
    [h, weight, bias]: &[Vec<f32>; 3],
    targets: &[u32],
) -> Vec<Vec<f32>> {
    let (positions, vocabulary) = (targets.len(), bias.len());
    let h = backend.matrix(h.clone(), (positions, hidden));
    let weight = backend.matrix(weight.clone(), (vocabulary, hidden));
    let bias = backend.matrix(bias.clone(), (1, vocabulary));
    let projection = Projection {
        weight: &weight,
        bias: &bias,
    };
    let mut gradients = Gradients::leaky();
    let loss = backend.softmax_loss(h.retaped(), projection, targets, &mut gradients);
    let value = loss.as_vec();
    let dh = of(&loss.backward(), &h);
    let rows: Vec<u32> = (0..positions as u32).collect();
    let nll = backend.softmax_nll(&h, &rows, projection, targets);
    vec![
        value,
        of(&gradients, &weight),
        of(&gradients, &bias),
        dh,
        nll,
    ]
}

#[test]
fn a_span_is_the_memory_of_its_matrix_and_ends_with_it() {
    let device = Device::open();
    let matrix = device
        .own
        .matrix(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2, 3));
    let copy = device.own.zeros((2, 2));
    let whole = Span::of(&matrix);
    device
        .own
        .with(|kernels| kernels.copy(whole.part(1..5), Span::of(&copy)));
    assert_eq!(copy.to_vec(), [2.0, 3.0, 4.0, 5.0]);
    let short = catch_unwind(|| whole.part(3..7));
    assert!(short.is_err(), "a part beyond the end");
    let scalar: Tensor<Rank0, f32, Cuda> = device.own.device.zeros();
    for view in [
        matrix
            .into_tensor()
            .permute::<(usize, usize), Axes2<1, 0>>(),
        scalar.broadcast_like(&(2, 3)),
    ] {
        let view = Matrix::from(view);
        let span = catch_unwind(AssertUnwindSafe(|| Span::of(&view)));
        assert!(span.is_err(), "a view that is not contiguous");
    }
}
