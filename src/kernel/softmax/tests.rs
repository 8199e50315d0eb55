//! Softmax and cross-entropy against f64, on every path.

use super::super::reference;
use super::super::scratch::SlabLimit;
use super::super::{KernelPath, Precision};
use super::*;

struct Case {
    h: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    targets: Vec<u32>,
    hidden: usize,
    limit: SlabLimit,
}

impl Case {
    fn new(positions: usize, hidden: usize, vocabulary: usize, size: f32) -> Self {
        let mut numbers = reference::Numbers::new(7);
        Self {
            h: numbers.vector(positions * hidden, size),
            w: numbers.vector(vocabulary * hidden, size),
            bias: numbers.vector(vocabulary, size),
            targets: (0..positions)
                .map(|_| numbers.below(vocabulary) as u32)
                .collect(),
            hidden,
            limit: SlabLimit::default(),
        }
    }

    fn projection(&self) -> Linear<'_> {
        Linear {
            weight: &self.w,
            bias: &self.bias,
        }
    }

    fn run(&self, path: KernelPath, precision: Precision, threads: usize) -> (f64, [Vec<f32>; 3]) {
        let mut kernels = Kernels::new(path, threads, precision);
        kernels.softmax.limit = self.limit;
        let mut gradients =
            [&self.h, &self.w, &self.bias].map(|values| vec![f32::NAN; values.len()]);
        let (projection, targets) = (self.projection(), &self.targets);
        let scale = 1.0 / targets.len() as f32;
        let mut total = 0.0;
        for _ in 0..2 {
            // Twice: the second call meets a used workspace.
            let [dh, dw, db] = &mut gradients;
            let gradients = LinearGradients {
                input: dh,
                weight: dw,
                bias: db,
            };
            total = kernels.softmax_loss(&self.h, projection, targets, scale, gradients);
        }
        let mut nll = vec![0.0; targets.len()];
        kernels.softmax_nll(&self.h, projection, targets, &mut nll);
        let sum: f64 = nll.iter().map(|&nll| f64::from(nll)).sum();
        assert!(
            (sum - total).abs() <= 1e-6 * total.abs().max(1.0),
            "forward only {sum}, with gradients {total}"
        );
        (total, gradients)
    }

    fn truth(&self) -> (f64, [Vec<f64>; 3]) {
        let scale = 1.0 / self.targets.len() as f64;
        reference::head(
            &self.h,
            &self.w,
            &self.bias,
            &self.targets,
            self.hidden,
            scale,
        )
    }
}

const SHAPES: [(usize, usize, usize); 8] = [
    (1, 1, 1),
    (1, 128, 50),
    (7, 13, 1),
    (5, 8, 1000),
    (130, 20, 97),
    (50, 33, 145),
    (29, 100, 481),
    (241, 64, 250),
];

#[test]
fn loss_and_gradients_agree_with_f64_on_every_path_and_odd_shape() {
    for (positions, hidden, vocabulary) in SHAPES {
        let case = Case::new(positions, hidden, vocabulary, 0.7);
        let (truth, gradients) = case.truth();
        for path in KernelPath::testable() {
            let (total, found) = case.run(path, Precision::F32, 1);
            let name = format!("{} {positions} x {hidden} x {vocabulary}", path.name());
            assert!(
                (total - truth).abs() <= 2e-6 * truth.abs().max(1.0),
                "{name}: {total} for {truth}"
            );
            for (found, truth) in found.iter().zip(&gradients) {
                reference::assert_close(found, truth, 5e-6, &name);
            }
        }
    }
}

#[test]
fn many_slabs_add_up_to_the_whole() {
    let mut case = Case::new(131, 20, 97, 0.7);
    case.limit = SlabLimit {
        bytes: 0,
        least: 40,
    };
    let (truth, gradients) = case.truth();
    for path in KernelPath::testable() {
        for (precision, tolerance) in [(Precision::F32, 5e-6), (Precision::Bf16, 2e-2)] {
            let (total, found) = case.run(path, precision, 2);
            let name = format!("{} {precision:?}", path.name());
            assert!(
                (total - truth).abs() <= tolerance * truth,
                "{name}: {total} for {truth}"
            );
            for (found, truth) in found.iter().zip(&gradients) {
                reference::assert_close(found, truth, tolerance, &name);
            }
        }
    }
}

#[test]
fn bf16_rounds_operands_only() {
    for (positions, hidden, vocabulary) in SHAPES {
        let case = Case::new(positions, hidden, vocabulary, 0.5);
        let (truth, gradients) = case.truth();
        for path in KernelPath::testable() {
            let (total, found) = case.run(path, Precision::Bf16, 1);
            let name = format!("{} bf16 {positions} x {hidden} x {vocabulary}", path.name());
            assert!(
                (total - truth).abs() <= 1e-2 * truth.abs().max(1.0),
                "{name}: {total} for {truth}"
            );
            for (found, truth) in found.iter().zip(&gradients) {
                reference::assert_close(found, truth, 2e-2, &name);
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let case = Case::new(150, 40, 3000, 0.6);
    for path in KernelPath::testable() {
        for precision in [Precision::F32, Precision::Bf16] {
            let one = case.run(path, precision, 1);
            for threads in [2, 3] {
                let many = case.run(path, precision, threads);
                assert_eq!(one.0.to_bits(), many.0.to_bits());
                assert!(
                    one.1 == many.1,
                    "{} {precision:?}: {threads} threads differ",
                    path.name()
                );
            }
        }
    }
}

#[test]
fn logits_of_any_size_are_safe() {
    // One hidden unit of 1 turns the weights into logits: the target far below, among, and far above the others.
    for (greatest, target) in [
        (1e4, -1e4),
        (100.0, -1e4),
        (1e4, 1e4),
        (-1e4, 50.0),
        (60.0, 0.0),
        (0.0, 0.0),
    ] {
        let mut case = Case::new(3, 1, 70, 0.5);
        case.h.fill(1.0);
        case.w[33] = greatest;
        case.targets = vec![2, 33, 2];
        case.w[2] = target;
        let (truth, gradients) = case.truth();
        for path in KernelPath::testable() {
            let (total, found) = case.run(path, Precision::F32, 2);
            let name = format!("{} {greatest} {target}", path.name());
            // An f32 of size 1e4 is known to 1e-3 at best.
            assert!(
                (total - truth).abs() <= 1e-4 * truth.abs().max(1.0),
                "{name}: {total} for {truth}"
            );
            for (found, truth) in found.iter().zip(&gradients) {
                reference::assert_close_above(found, truth, 2e-3, 1e-3, &name);
            }
        }
    }
}

#[test]
fn bf16_keeps_the_small_gradient_of_a_nearly_certain_target() {
    // A target 8 nats above 40 others: all gradients are about 1 % of what cancels in them.
    let mut case = Case::new(20, 64, 41, 0.02);
    case.targets.fill(7);
    case.bias[7] = 8.0;
    case.h.iter_mut().for_each(|h| *h *= 50.0);
    let (_, gradients) = case.truth();
    for path in KernelPath::testable() {
        let (_, found) = case.run(path, Precision::Bf16, 1);
        for (found, truth) in found.iter().zip(&gradients) {
            reference::assert_close(found, truth, 2e-2, path.name());
        }
    }
}

#[test]
fn a_uniform_guess_costs_the_logarithm_of_the_vocabulary() {
    let (h, w, bias) = (vec![0.0; 6], vec![0.3; 1000 * 3], vec![0.25; 1000]);
    let mut nll = [0.0; 2];
    let projection = Linear {
        weight: &w,
        bias: &bias,
    };
    let mut kernels = Kernels::new(KernelPath::detect(), 1, Precision::F32);
    kernels.softmax_nll(&h, projection, &[0, 999], &mut nll);
    nll.iter()
        .for_each(|nll| assert!((nll - 1000f32.ln()).abs() < 1e-5, "{nll}"));
}

#[test]
fn gradients_agree_with_finite_differences() {
    let case = Case::new(4, 5, 30, 0.8);
    let (_, [_, dw, _]) = case.run(KernelPath::detect(), Precision::F32, 1);
    for at in [0, 7, 149] {
        let moved = |by: f64| {
            let mut w: Vec<f64> = case.w.iter().map(|&w| f64::from(w)).collect();
            w[at] += by;
            reference::head_loss(&case.h, &w, &case.bias, &case.targets, case.hidden) / 4.0
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!(
            (slope - f64::from(dw[at])).abs() < 1e-6,
            "{slope} {}",
            dw[at]
        );
    }
}

#[test]
fn no_positions_cost_nothing_and_move_nothing() {
    let (mut dw, mut db) = ([1.0; 4], [1.0; 2]);
    let mut kernels = Kernels::new(KernelPath::detect(), 1, Precision::F32);
    let projection = Linear {
        weight: &[0.5; 4],
        bias: &[0.5; 2],
    };
    let gradients = LinearGradients {
        input: &mut [],
        weight: &mut dw,
        bias: &mut db,
    };
    let total = kernels.softmax_loss(&[], projection, &[], 1.0, gradients);
    assert_eq!((total, dw, db), (0.0, [0.0; 4], [0.0; 2]));
}

#[test]
#[should_panic(expected = "every target is below V")]
fn a_target_outside_the_vocabulary_is_a_bug() {
    let projection = Linear {
        weight: &[0.0],
        bias: &[0.0],
    };
    let mut kernels = Kernels::new(KernelPath::detect(), 1, Precision::F32);
    kernels.softmax_nll(&[0.0], projection, &[1], &mut [0.0]);
}
