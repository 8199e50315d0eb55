//! Each operation of a backend with its results and gradients, against the reference on the CPU.

use super::*;
use crate::kernel::Bags;
use crate::model::matrix::{Matrix, Tensor2};
use crate::model::op::lstm::{LayerState, Weights};
use crate::model::op::{Projection, Taped, dropout};
use crate::model::parameters::Parameter;
use dfdx::prelude::*;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Time steps, sequences, input width, hidden width, vocabulary.
const SIZES: (usize, usize, usize, usize, usize) = (5, 3, 7, 6, 11);

/// A result of an operation, under its name.
pub type Named = (&'static str, Vec<f32>);

/// Fails unless each of `found` lies within `tolerance` of `expected`, as a share of the largest of `expected`.
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: another length");
    let size = expected.iter().map(|value| value.abs()).fold(0.0, f32::max);
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * size + 1e-9,
            "{what}[{k}]: {found}, expected {expected}, where the largest is {size}"
        );
    }
}

/// Numbers from −1 to 1.
pub fn uniform(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.gen_range(-1.0..1.0)).collect()
}

/// Sets of up to three keys.
pub fn keys(rng: &mut ChaCha8Rng, count: usize) -> Vec<u128> {
    let mut chord = || (0..3).fold(0, |keys, _| keys | 1 << rng.gen_range(21..=108));
    (0..count).map(|_| chord()).collect()
}

/// The gradient of a matrix.
pub fn of<D: Device<f32>>(gradients: &Gradients<f32, D>, matrix: &Matrix<D>) -> Vec<f32> {
    gradients.get(matrix.tensor()).as_vec()
}

/// All operations with their results and gradients, for inputs that do not depend on the device.
pub fn operations<B: Backend>(backend: &B) -> Vec<Named> {
    let mut found = embeddings(backend);
    found.extend(layers(backend));
    found.extend(softmax(backend));
    found.extend(sigmoid(backend));
    found
}

/// Matrices of numbers that depend on `name` alone.
fn matrices<'a, B: Backend>(
    backend: &'a B,
    name: &str,
) -> impl FnMut(usize, usize) -> Matrix<B::Device> + use<'a, B> {
    let mut rng = random::stream(7, name);
    move |rows, columns| backend.matrix(uniform(&mut rng, rows * columns), (rows, columns))
}

/// A result with its tape, for dfdx's operations.
fn taped<D: Device<f32>>(matrix: Taped<D>) -> Tensor2<D, OwnedTape<f32, D>> {
    matrix.into_tensor()
}

fn embeddings<B: Backend>(backend: &B) -> Vec<Named> {
    let (steps, batch, width, _, vocabulary) = SIZES;
    let rows = steps * batch;
    let mut matrix = matrices(backend, "embeddings");
    let (table, keyboard, weighting) = (
        matrix(vocabulary, width),
        matrix(88, width),
        matrix(rows, width),
    );
    // Repeated rows, and one of no token.
    let ids: Vec<u32> = (0..rows as u32)
        .map(|k| if k == 4 { NO_TOKEN } else { k * k % 11 })
        .collect();
    let rows_read = taped(backend.embedding(&table, &ids));
    let mut found = vec![("embedding", rows_read.as_vec())];
    let weighted = rows_read * weighting.tensor().clone();
    let parameter = Parameter {
        name: "embedding".into(),
        matrix: table,
        sparse: true,
    };
    let d_table = backend.gradient(&parameter, &weighted.sum().backward());
    found.push(("embedding, d table", d_table));

    let masks = keys(&mut random::stream(7, "chords"), rows);
    let bags = Bags {
        masks: &masks,
        bits: PIANO,
    };
    let sums = taped(backend.embedding_bag(&keyboard, bags));
    found.push(("embedding_bag", sums.as_vec()));
    let gradients = (sums * weighting.into_tensor()).sum().backward();
    found.push(("embedding_bag, d table", of(&gradients, &keyboard)));
    found
}

fn layers<B: Backend>(backend: &B) -> Vec<Named> {
    let (steps, batch, input, hidden, _) = SIZES;
    let rows = steps * batch;
    let mut matrix = matrices(backend, "layers");
    let x = matrix(rows, input);
    let mask = dropout::mask(x.shape(), 0.3, &mut random::stream(7, "mask"));
    let dropped = taped(backend.dropout(x.retaped(), mask));
    let mut found = vec![("dropout", dropped.as_vec())];
    found.push(("dropout, d x", of(&dropped.square().sum().backward(), &x)));

    let (w_ih, w_hh, bias) = (
        matrix(4 * hidden, input),
        matrix(4 * hidden, hidden),
        matrix(1, 4 * hidden),
    );
    let (weights, state) = (
        Weights {
            w_ih: &w_ih,
            w_hh: &w_hh,
            bias: &bias,
        },
        LayerState {
            h: matrix(batch, hidden),
            c: matrix(batch, hidden),
        },
    );
    let (outputs, next) = backend.lstm(x.retaped(), &weights, &state);
    let outputs = taped(outputs);
    found.push(("lstm", outputs.as_vec()));
    found.push(("lstm, next h", next.h.to_vec()));
    found.push(("lstm, next c", next.c.to_vec()));
    let weighting = matrix(rows, hidden).into_tensor();
    let gradients = (outputs * weighting).sum().backward();
    for (name, matrix) in [
        ("lstm, d x", &x),
        ("lstm, d w_ih", &w_ih),
        ("lstm, d w_hh", &w_hh),
        ("lstm, d bias", &bias),
    ] {
        found.push((name, of(&gradients, matrix)));
    }
    found
}

fn softmax<B: Backend>(backend: &B) -> Vec<Named> {
    let (steps, batch, _, hidden, vocabulary) = SIZES;
    let mut matrix = matrices(backend, "softmax");
    let h = matrix(steps * batch, hidden);
    let (weight, bias) = (matrix(vocabulary, hidden), matrix(1, vocabulary));
    let projection = Projection {
        weight: &weight,
        bias: &bias,
    };
    let targets: Vec<u32> = (0..(steps * batch) as u32).map(|k| k * 3 % 11).collect();
    let others: Vec<u32> = targets.iter().map(|id| id % 5).collect();
    // Twice into the same container: the gradients of the weights are replaced, not added to.
    let mut gradients = Gradients::leaky();
    backend.softmax_loss(h.retaped(), projection, &others, &mut gradients);
    let loss = backend.softmax_loss(h.retaped(), projection, &targets, &mut gradients);
    // Their exponentials are beyond f32.
    let large = weight.to_vec().iter().map(|value| value * 100.0).collect();
    let large = Projection {
        weight: &backend.matrix(large, weight.shape()),
        bias: &bias,
    };
    let (chosen, wanted) = ([14, 2, 3], [1, 0, 10]);
    vec![
        ("softmax_loss", loss.as_vec()),
        ("softmax_loss, d weight", of(&gradients, &weight)),
        ("softmax_loss, d bias", of(&gradients, &bias)),
        ("softmax_loss, d h", of(&loss.backward(), &h)),
        (
            "softmax_nll of large logits",
            backend.softmax_nll(&h, &chosen, large, &wanted),
        ),
        (
            "softmax_nll",
            backend.softmax_nll(&h, &chosen, projection, &wanted),
        ),
        ("logits", backend.logits(&h, projection)),
    ]
}

fn sigmoid<B: Backend>(backend: &B) -> Vec<Named> {
    let (steps, batch, _, hidden, _) = SIZES;
    let mut matrix = matrices(backend, "sigmoid");
    let h = matrix(steps * batch, hidden);
    let (weight, bias) = (matrix(88, hidden), matrix(1, 88));
    let projection = Projection {
        weight: &weight,
        bias: &bias,
    };
    let masks = keys(&mut random::stream(7, "targets"), steps * batch);
    let targets = Bags {
        masks: &masks,
        bits: PIANO,
    };
    let mut gradients = Gradients::leaky();
    let loss = backend.sigmoid_loss(h.retaped(), projection, targets, &mut gradients);
    vec![
        ("sigmoid_loss", loss.as_vec()),
        ("sigmoid_loss, d weight", of(&gradients, &weight)),
        ("sigmoid_loss, d bias", of(&gradients, &bias)),
        ("sigmoid_loss, d h", of(&loss.backward(), &h)),
    ]
}

#[test]
fn every_fused_operation_has_the_results_and_gradients_of_the_reference() {
    let expected = operations(&reference());
    for threads in [1, 2] {
        for ((name, found), (_, expected)) in operations(&fused(threads)).iter().zip(&expected) {
            assert_close(name, found, expected, 2e-6);
        }
    }
}
