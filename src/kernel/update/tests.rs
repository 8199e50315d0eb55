//! Updates against their formulas, on every path.

use super::super::reference::{self, Numbers, widen};
use super::super::{KernelPath, Precision};
use super::*;

const LEN: usize = 40_003;
const SCALE: f32 = 0.5;

/// Runs three steps of the rule that `at` gives for a step on every path and thread count; the states start at `initial`, and
/// `rule(step, param, gradient, states)` is the same by number.
fn check(
    initial: f32,
    at: impl Fn(u64) -> Rule,
    rule: impl Fn(i32, f64, f64, &mut [f64; 2]) -> f64,
) {
    let mut numbers = Numbers::new(1);
    let start = numbers.vector(LEN, 1.0);
    let grads: Vec<_> = (0..3).map(|_| numbers.vector(LEN, 2.0)).collect();
    let mut truth = widen(&start);
    for (at, param) in truth.iter_mut().enumerate() {
        let mut states = [f64::from(initial), 0.0];
        for (step, grad) in grads.iter().enumerate() {
            *param = rule(
                step as i32 + 1,
                *param,
                f64::from(grad[at] * SCALE),
                &mut states,
            );
        }
    }
    for path in KernelPath::testable() {
        let run = |threads| {
            let mut kernels = Kernels::new(path, threads, Precision::F32);
            let (mut param, mut states) = (start.clone(), [vec![initial; LEN], vec![0.0; LEN]]);
            for (step, grad) in grads.iter().enumerate() {
                let (rule, grad) = (at(step as u64 + 1), Gradient::Dense(grad));
                let states = states.each_mut().map(|state| &mut state[..]);
                kernels.update(&rule, &mut param, grad, SCALE, states);
            }
            param
        };
        let one = run(1);
        reference::assert_close(&one, &truth, 2e-6, path.name());
        assert!(
            one == run(2) && one == run(3),
            "{}: threads change the bits",
            path.name()
        );
    }
}

fn adam(step: u64) -> Rule {
    Rule::Adam(Adam {
        step,
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    })
}

#[test]
fn adam_follows_its_formula() {
    let (b1, b2) = (f64::from(0.9f32), f64::from(0.999f32));
    check(0.0, adam, |t, p, g, s| {
        s[0] = b1 * s[0] + (1.0 - b1) * g;
        s[1] = b2 * s[1] + (1.0 - b2) * g * g;
        p - 1e-2 * (s[0] / (1.0 - b1.powi(t))) / ((s[1] / (1.0 - b2.powi(t))).sqrt() + 1e-8)
    });
}

#[test]
fn rmsprop_follows_its_formula() {
    for momentum in [0.0, 0.9f32] {
        let rmsprop = |_| {
            Rule::RmsProp(RmsProp {
                learning_rate: 1e-2,
                alpha: 0.9,
                epsilon: 1e-8,
                momentum,
            })
        };
        check(1.0, rmsprop, |_, p, g, s| {
            s[0] += (1.0 - f64::from(0.9f32)) * (g * g - s[0]);
            s[1] = f64::from(momentum) * s[1] + g / (s[0] + 1e-8).sqrt();
            p - 1e-2 * s[1]
        });
    }
}

#[test]
fn sgd_follows_its_formula() {
    for momentum in [0.0, 0.9f32] {
        let sgd = |_| {
            Rule::Sgd(Sgd {
                learning_rate: 0.1,
                momentum,
            })
        };
        check(0.0, sgd, |_, p, g, s| {
            s[0] = f64::from(momentum) * s[0] + g;
            p - 0.1 * s[0]
        });
    }
}

#[test]
fn a_state_that_a_rule_does_not_keep_may_be_empty() {
    let sgd = Rule::Sgd(Sgd {
        learning_rate: 0.5,
        momentum: 0.0,
    });
    let mut param = [1.0, 2.0, 3.0];
    let gradient = Gradient::Dense(&[2.0, 2.0, 4.0]);
    let mut kernels = Kernels::new(KernelPath::detect(), 1, Precision::F32);
    kernels.update(&sgd, &mut param, gradient, 0.5, [&mut [], &mut []]);
    assert_eq!(param, [0.5, 1.5, 2.0]);
}

#[test]
fn a_sparse_gradient_updates_every_row_as_the_dense_one_does() {
    let (width, rows) = (19, 5000);
    let mut numbers = Numbers::new(4);
    let ids: Vec<u32> = (0..40)
        .map(|_| numbers.below(rows) as u32)
        .chain([0, rows as u32 - 1])
        .collect();
    let dout = numbers.vector(ids.len() * width, 1.0);
    let start = numbers.vector(rows * width, 1.0);
    for path in KernelPath::testable() {
        let mut kernels = Kernels::new(path, 2, Precision::F32);
        let (mut dense, mut sparse) = (start.clone(), start.clone());
        let mut states = [0.0; 4].map(|zero| vec![zero; start.len()]);
        let [m1, v1, m2, v2] = &mut states;
        let mut gradient = SparseGradient::default();
        for step in 1..=3 {
            // The last step touches nothing.
            let used = if step < 3 { ids.len() } else { 0 };
            kernels.embedding_backward(&ids[..used], &dout[..used * width], width, &mut gradient);
            let grad = gradient.to_dense(rows, width);
            let (rule, grad) = (adam(step), Gradient::Dense(&grad));
            kernels.update(&rule, &mut dense, grad, SCALE, [m1, v1]);
            let grad = Gradient::Sparse(&gradient);
            kernels.update(&rule, &mut sparse, grad, SCALE, [m2, v2]);
        }
        assert!(
            dense == sparse && states[0] == states[2] && states[1] == states[3],
            "{}",
            path.name()
        );
    }
}

#[test]
fn the_squared_norm_is_exact_to_f32_and_independent_of_threads() {
    let values = Numbers::new(9).vector(100_001, 3.0);
    let truth: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    for path in KernelPath::testable() {
        let norm = Kernels::new(path, 1, Precision::F32).squared_norm(&values);
        assert!((norm - truth).abs() < 1e-6 * truth);
        for threads in [2, 3] {
            assert_eq!(
                norm.to_bits(),
                Kernels::new(path, threads, Precision::F32)
                    .squared_norm(&values)
                    .to_bits()
            );
        }
    }
    assert_eq!(
        Kernels::new(KernelPath::detect(), 2, Precision::F32).squared_norm(&[]),
        0.0
    );
}
