//! The LSTM against f64, on every path.

use super::super::keys::keys;
use super::super::reference::{self, Numbers};
use super::super::{KernelPath, Kernels, Precision};
use super::*;

struct Case {
    shape: LstmShape,
    w_ih: Vec<f32>,
    w_hh: Vec<f32>,
    bias: Vec<f32>,
    /// The vectors; of sounding keys the table that their sums are taken from.
    x: Vec<f32>,
    /// The sounding keys, unless vectors are read.
    masks: Option<Vec<u128>>,
    h0: Vec<f32>,
    c0: Vec<f32>,
    dh: Vec<f32>,
}

impl Case {
    fn new((time, batch, input, hidden): (usize, usize, usize, usize)) -> Self {
        let mut numbers = Numbers::new(11);
        let size = 1.0 / (hidden as f32).sqrt();
        Self {
            shape: LstmShape {
                time,
                batch,
                input,
                hidden,
            },
            w_ih: numbers.vector(4 * hidden * input, size),
            w_hh: numbers.vector(4 * hidden * hidden, size),
            bias: numbers.vector(4 * hidden, 0.5),
            x: numbers.vector(time * batch * input, 1.0),
            masks: None,
            h0: numbers.vector(batch * hidden, 0.5),
            c0: numbers.vector(batch * hidden, 1.0),
            dh: numbers.vector(time * batch * hidden, 1.0),
        }
    }

    /// As [`Case::new`], but reading keys: none, one or some at each position.
    fn of_keys(shape: (usize, usize, usize, usize)) -> Self {
        let mut case = Self::new(shape);
        let mut numbers = Numbers::new(12);
        let key = |numbers: &mut Numbers| 1u128 << (21 + numbers.below(KEYS));
        let masks = (0..case.shape.rows())
            .map(|_| (0..numbers.below(5)).fold(0, |mask, _| mask | key(&mut numbers)));
        case.masks = Some(masks.collect());
        case.x = numbers.vector(KEYS * case.shape.input, 0.5);
        case
    }

    fn input(&self) -> LstmInput<'_> {
        match &self.masks {
            Some(masks) => LstmInput::Keys {
                table: &self.x,
                masks,
            },
            None => LstmInput::Vectors(&self.x),
        }
    }

    /// h, final c, dx (of keys that of the table), dw_ih, dw_hh, db.
    fn run(&self, path: KernelPath, precision: Precision, threads: usize) -> [Vec<f32>; 6] {
        let mut kernels = Kernels::new(path, threads);
        let mut tape = LstmTape::default();
        let weights = LstmWeights {
            w_ih: &self.w_ih,
            w_hh: &self.w_hh,
            bias: &self.bias,
        };
        let (from, h0, c0) = (self.input(), &self.h0, &self.c0);
        let lengths = [
            &self.dh, &self.c0, &self.x, &self.w_ih, &self.w_hh, &self.bias,
        ];
        let mut found = lengths.map(|values| vec![f32::NAN; values.len()]);
        let [h, c, dx, dw_ih, dw_hh, db] = &mut found;
        for _ in 0..2 {
            kernels.lstm_forward(
                precision, self.shape, weights, from, h0, c0, &mut tape, h, c,
            );
            kernels.lstm_backward(
                precision, self.shape, weights, from, h0, c0, h, &mut tape, &self.dh, dx, dw_ih,
                dw_hh, db,
            );
        }
        found
    }

    fn truth(&self) -> [Vec<f64>; 6] {
        let LstmShape {
            time,
            batch,
            input,
            hidden,
        } = self.shape;
        let weights = [&self.w_ih[..], &self.w_hh, &self.bias];
        let states = [&self.h0[..], &self.c0];
        let sizes = [time, batch, input, hidden];
        let Some(masks) = &self.masks else {
            return reference::lstm(sizes, weights, &self.x, states, &self.dh);
        };
        let mut sums = vec![0.0; masks.len() * input];
        for (&mask, sum) in masks.iter().zip(sums.chunks_exact_mut(input)) {
            for key in keys(mask) {
                let row = &self.x[key * input..][..input];
                sum.iter_mut().zip(row).for_each(|(sum, row)| *sum += row);
            }
        }
        let mut truth = reference::lstm(sizes, weights, &sums, states, &self.dh);
        let mut dtable = vec![0.0; KEYS * input];
        for (&mask, dx) in masks.iter().zip(truth[2].chunks_exact(input)) {
            for key in keys(mask) {
                let row = &mut dtable[key * input..][..input];
                row.iter_mut().zip(dx).for_each(|(sum, dx)| *sum += dx);
            }
        }
        truth[2] = dtable;
        truth
    }
}

const SHAPES: [(usize, usize, usize, usize); 6] = [
    (1, 1, 1, 1),
    (3, 2, 5, 7),
    (4, 13, 16, 24),
    (7, 5, 33, 18),
    (2, 30, 128, 65),
    (40, 8, 9, 10),
];

#[test]
fn values_and_gradients_agree_with_f64_on_every_path_and_odd_shape() {
    let cases = SHAPES.map(|shape| [Case::new(shape), Case::of_keys(shape)]);
    for case in cases.iter().flatten() {
        let (shape, truth) = (case.shape, case.truth());
        for path in KernelPath::testable() {
            for (precision, tolerance) in [(Precision::F32, 5e-6), (Precision::Bf16, 4e-2)] {
                let name = format!("{} {precision:?} {shape:?}", path.name());
                for (found, truth) in case.run(path, precision, 1).iter().zip(&truth) {
                    reference::assert_close(found, truth, tolerance, &name);
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let cases = [Case::new, Case::of_keys].map(|case| case((6, 17, 20, 40)));
    let pairs = KernelPath::testable()
        .into_iter()
        .flat_map(|path| cases.iter().map(move |case| (path, case)));
    for (path, case) in pairs {
        for precision in [Precision::F32, Precision::Bf16] {
            let one = case.run(path, precision, 1);
            for threads in [2, 3] {
                assert!(
                    one == case.run(path, precision, threads),
                    "{} {precision:?}: {threads} differ",
                    path.name()
                );
            }
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for case in [Case::new, Case::of_keys] {
        finite_differences(|| case((4, 2, 3, 5)));
    }
}

fn finite_differences(new: impl Fn() -> Case) {
    let case = new();
    let [_, _, dx, dw_ih, dw_hh, db] = case.run(KernelPath::detect(), Precision::F32, 1);
    let moved = |which: usize, at: usize| {
        let mut case = new();
        let by = 1.0 / 512.0;
        let mut loss = [0.0; 2];
        for (loss, sign) in loss.iter_mut().zip([1.0, -1.0]) {
            let values = match which {
                0 => &mut case.x,
                1 => &mut case.w_ih,
                2 => &mut case.w_hh,
                _ => &mut case.bias,
            };
            let kept = values[at];
            values[at] += sign * by;
            *loss = case.truth()[0]
                .iter()
                .zip(&case.dh)
                .map(|(h, &dh)| h * f64::from(dh))
                .sum();
            match which {
                0 => case.x[at] = kept,
                1 => case.w_ih[at] = kept,
                2 => case.w_hh[at] = kept,
                _ => case.bias[at] = kept,
            }
        }
        (loss[0] - loss[1]) / (2.0 * f64::from(by))
    };
    for (which, gradient) in [dx, dw_ih, dw_hh, db].iter().enumerate() {
        for at in [0, gradient.len() / 2, gradient.len() - 1] {
            let slope = moved(which, at);
            let error = (slope - f64::from(gradient[at])).abs();
            assert!(
                error < 1e-4 * (1.0 + slope.abs()),
                "{which} {at}: {slope} {}",
                gradient[at]
            );
        }
    }
}

#[test]
#[should_panic(expected = "the tape was filled")]
fn a_tape_serves_one_backward_pass() {
    let case = Case::new((2, 2, 3, 4));
    let weights = LstmWeights {
        w_ih: &case.w_ih,
        w_hh: &case.w_hh,
        bias: &case.bias,
    };
    let (mut dx, mut dw_ih) = (vec![0.0; case.x.len()], vec![0.0; case.w_ih.len()]);
    let (mut dw_hh, mut db) = (vec![0.0; case.w_hh.len()], vec![0.0; case.bias.len()]);
    Kernels::new(KernelPath::detect(), 1).lstm_backward(
        Precision::F32,
        case.shape,
        weights,
        case.input(),
        &case.h0,
        &case.c0,
        &case.dh,
        &mut LstmTape::default(),
        &case.dh,
        &mut dx,
        &mut dw_ih,
        &mut dw_hh,
        &mut db,
    );
}
