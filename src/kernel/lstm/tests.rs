//! The LSTM against f64, on every path.

use super::super::reference::{self, Numbers, PIANO};
use super::super::{Bags, KernelPath, Kernels, Precision};
use super::layer::*;

struct Case {
    shape: LstmShape,
    w_ih: Vec<f32>,
    w_hh: Vec<f32>,
    bias: Vec<f32>,
    /// The vectors, or the table whose rows are summed.
    x: Vec<f32>,
    /// The sets of rows, unless vectors are read.
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

    /// As [`Case::new`], but reading sums of none, one or some rows of a table.
    fn of_bags(shape: (usize, usize, usize, usize)) -> Self {
        let mut case = Self::new(shape);
        let mut numbers = Numbers::new(12);
        case.masks = Some(reference::masks(&mut numbers, case.shape.rows()));
        case.x = numbers.vector(88 * case.shape.input, 0.5);
        case
    }

    fn layer(&self) -> LstmLayer<'_> {
        LstmLayer {
            shape: self.shape,
            weights: LstmWeights {
                w_ih: &self.w_ih,
                w_hh: &self.w_hh,
                bias: &self.bias,
            },
            input: match &self.masks {
                Some(masks) => LstmInput::Bags {
                    table: &self.x,
                    bags: Bags { masks, bits: PIANO },
                },
                None => LstmInput::Vectors(&self.x),
            },
            h0: &self.h0,
            c0: &self.c0,
        }
    }

    /// h, final c, dx (of sums that of the table), dw_ih, dw_hh, db.
    fn run(&self, path: KernelPath, precision: Precision, threads: usize) -> [Vec<f32>; 6] {
        let mut kernels = Kernels::new(path, threads, precision);
        let mut tape = LstmTape::default();
        let lengths = [
            &self.dh, &self.c0, &self.x, &self.w_ih, &self.w_hh, &self.bias,
        ];
        let mut found = lengths.map(|values| vec![f32::NAN; values.len()]);
        let [h, c, dx, dw_ih, dw_hh, db] = &mut found;
        for _ in 0..2 {
            kernels.lstm_forward(self.layer(), &mut tape, h, c);
            let gradients = LstmGradients {
                input: dx,
                w_ih: dw_ih,
                w_hh: dw_hh,
                bias: db,
            };
            kernels.lstm_backward(self.layer(), &mut tape, h, &self.dh, gradients);
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
            for key in PIANO.rows_of(mask) {
                let row = &self.x[key * input..][..input];
                sum.iter_mut().zip(row).for_each(|(sum, row)| *sum += row);
            }
        }
        let mut truth = reference::lstm(sizes, weights, &sums, states, &self.dh);
        let mut dtable = vec![0.0; 88 * input];
        for (&mask, dx) in masks.iter().zip(truth[2].chunks_exact(input)) {
            for key in PIANO.rows_of(mask) {
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
    let cases = SHAPES.map(|shape| [Case::new(shape), Case::of_bags(shape)]);
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
    let cases = [Case::new, Case::of_bags].map(|case| case((6, 17, 20, 40)));
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
    for case in [Case::new, Case::of_bags] {
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
    let lengths = [&case.x, &case.w_ih, &case.w_hh, &case.bias];
    let [mut dx, mut dw_ih, mut dw_hh, mut db] = lengths.map(|values| vec![0.0; values.len()]);
    let gradients = LstmGradients {
        input: &mut dx,
        w_ih: &mut dw_ih,
        w_hh: &mut dw_hh,
        bias: &mut db,
    };
    let mut kernels = Kernels::new(KernelPath::detect(), 1, Precision::F32);
    let tape = &mut LstmTape::default();
    kernels.lstm_backward(case.layer(), tape, &case.dh, &case.dh, gradients);
}
