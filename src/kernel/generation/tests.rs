//! Logits, draws and single steps, on every path.

use super::super::reference::{self, Numbers};
use super::super::simd::bf16_value;
use super::super::{LstmInput, LstmLayer, LstmShape, LstmTape, Precision};
use super::*;

#[test]
fn logits_agree_with_f64_in_both_formats() {
    for (hidden, vocabulary) in [(1, 1), (128, 5000), (33, 70), (15, 1025)] {
        let mut numbers = Numbers::new(6);
        let (h, w) = (
            numbers.vector(hidden, 1.0),
            numbers.vector(vocabulary * hidden, 1.0),
        );
        let bias = numbers.vector(vocabulary, 1.0);
        let rounded = to_bf16(&w);
        let widened: Vec<f32> = rounded.iter().map(|&w| bf16_value(w)).collect();
        for path in KernelPath::testable() {
            for (weights, held) in [
                (WeightRows::F32(&w), &w),
                (WeightRows::Bf16(&rounded), &widened),
            ] {
                let [truth, ..] = reference::linear(&h, held, &bias, &bias);
                let mut logits = vec![0.0; vocabulary];
                let mut kernels = Kernels::new(path, 2, Precision::F32);
                kernels.logits(&h, weights, &bias, &mut logits);
                reference::assert_close(&logits, &truth, 2e-6, path.name());
            }
        }
    }
}

#[test]
fn a_draw_inverts_the_cumulative_probabilities() {
    let mut logits = vec![f32::NEG_INFINITY; 3000];
    for (token, p) in [(5, 0.25f32), (1023, 0.25), (1024, 0.4), (2999, 0.1)] {
        logits[token] = p.ln() + 3.0;
    }
    for path in KernelPath::testable() {
        let mut kernels = Kernels::new(path, 1, Precision::F32);
        let draws = [0.0, 0.24, 0.26, 0.49, 0.51, 0.89, 0.91, 0.999_999_999];
        let found = draws.map(|u| kernels.sample(&logits, 1.0, u));
        assert_eq!(
            found,
            [5, 5, 1023, 1023, 1024, 1024, 2999, 2999],
            "{}",
            path.name()
        );
        // A low temperature leaves the most probable.
        assert_eq!(kernels.sample(&logits, 100.0, 0.001), 1024);
        assert_eq!(kernels.sample(&[], 1.0, 0.5), 0);
        assert_eq!(kernels.sample(&[f32::NEG_INFINITY; 3], 1.0, 0.5), 0);
        assert_eq!(kernels.sample(&[1.0, 2.0, f32::NAN], 1.0, 0.5), 0);
    }
}

#[test]
fn a_step_is_a_sequence_of_length_one() {
    let shape = LstmShape {
        time: 1,
        batch: 1,
        input: 19,
        hidden: 37,
    };
    let mut numbers = Numbers::new(8);
    let (w_ih, w_hh) = (
        numbers.vector(4 * 37 * 19, 0.3),
        numbers.vector(4 * 37 * 37, 0.3),
    );
    let (bias, x) = (numbers.vector(4 * 37, 0.3), numbers.vector(19, 1.0));
    let (mut h, mut c) = (numbers.vector(37, 1.0), numbers.vector(37, 1.0));
    let weights = LstmWeights {
        w_ih: &w_ih,
        w_hh: &w_hh,
        bias: &bias,
    };
    let mut kernels = Kernels::new(KernelPath::detect(), 1, Precision::F32);
    let (mut h_whole, mut c_whole) = (vec![0.0; 37], vec![0.0; 37]);
    let tape = &mut LstmTape::default();
    let layer = LstmLayer {
        shape,
        weights,
        input: LstmInput::Vectors(&x),
        h0: &h,
        c0: &c,
    };
    kernels.lstm_forward(layer, tape, &mut h_whole, &mut c_whole);
    kernels.lstm_step(weights, &x, &mut h, &mut c);
    for (step, whole) in h.iter().chain(&c).zip(h_whole.iter().chain(&c_whole)) {
        assert!((step - whole).abs() < 1e-6, "{step} {whole}");
    }
}

#[test]
fn bf16_rounds_to_nearest_even() {
    let bits = to_bf16(&[1.0, 1.003_906_3, 1.011_718_8, f32::NAN]);
    assert_eq!(bits[..3], [0x3f80, 0x3f80, 0x3f82]);
    assert!(bf16_value(bits[3]).is_nan());
}
