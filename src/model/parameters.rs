//! The named matrices of a model, in one walk that initialisation, optimizer and checkpoints share.

use super::config::{Alphabet, ModelConfig};
use super::matrix::Matrix;
use super::op::Projection;
use super::op::lstm::Weights;
use anyhow::{Result, ensure};
use dfdx::prelude::*;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A named array of numbers on the host: what a checkpoint holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Unique among the arrays it is kept with.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

impl Array {
    /// The one of `arrays` with this name and shape.
    ///
    /// # Errors
    /// When there is none.
    pub fn find<'a>(arrays: &'a [Array], name: &str, shape: &[usize]) -> Result<&'a Array> {
        let array = arrays.iter().find(|array| array.name == name);
        let array = array.ok_or_else(|| anyhow::anyhow!("there is no array '{name}'"))?;
        ensure!(
            array.shape == shape && array.values.len() == shape.iter().product::<usize>(),
            "array '{name}' has shape {:?} and {} values, expected shape {shape:?}",
            array.shape,
            array.values.len()
        );
        Ok(array)
    }
}

/// One named matrix of a model.
#[derive(Debug, Clone)]
pub struct Parameter<D: Storage<f32>> {
    /// For example `lstm.0.w_ih`.
    pub name: String,
    /// Its values.
    pub matrix: Matrix<D>,
    /// Whether its gradient is sparse, in that a window reads few of its rows: true of the embedding of tokens.
    pub sparse: bool,
}

impl<D: Storage<f32>> Parameter<D> {
    /// Values of this parameter's shape, under its name.
    pub fn array_of(&self, values: Vec<f32>) -> Array {
        let (rows, columns) = self.matrix.shape();
        Array {
            name: self.name.clone(),
            shape: vec![rows, columns],
            values,
        }
    }
}

/// All matrices of a model, always in the same order: `embedding` `(V, E)`, for each layer `lstm.N.w_ih` `(4H, I)`, `lstm.N.w_hh` `(4H, H)`
/// and `lstm.N.bias` `(1, 4H)`, then `output.weight` `(V, H)` and `output.bias` `(1, V)`. `V` is the size of the alphabet.
#[derive(Debug, Clone)]
pub struct Parameters<D: Storage<f32>>(Vec<Parameter<D>>);

impl<D: Device<f32>> Parameters<D> {
    /// Draws initial values: embeddings from N(0, `embedding_deviation`²), all else from U(−1/√H, 1/√H). `matrix` puts them on the
    /// device.
    pub fn initial(
        config: &ModelConfig,
        alphabet: Alphabet,
        rng: &mut ChaCha8Rng,
        matrix: impl Fn(Vec<f32>, (usize, usize)) -> Matrix<D>,
    ) -> Self {
        let (symbols, e, h) = (alphabet.size(), config.embedding, config.hidden);
        let mut shapes = vec![("embedding".to_string(), (symbols, e))];
        for layer in 0..config.layers {
            let width = if layer == 0 { e } else { h };
            shapes.push((format!("lstm.{layer}.w_ih"), (4 * h, width)));
            shapes.push((format!("lstm.{layer}.w_hh"), (4 * h, h)));
            shapes.push((format!("lstm.{layer}.bias"), (1, 4 * h)));
        }
        shapes.push(("output.weight".to_string(), (symbols, h)));
        shapes.push(("output.bias".to_string(), (1, symbols)));
        let bound = 1.0 / (h as f32).sqrt();
        let draw = |(name, shape): (String, (usize, usize))| {
            let values = match name.as_str() {
                "embedding" => initial_embedding(config, alphabet, rng),
                _ => (0..shape.0 * shape.1)
                    .map(|_| rng.gen_range(-bound..bound))
                    .collect(),
            };
            Parameter {
                sparse: name == "embedding" && matches!(alphabet, Alphabet::Tokens(_)),
                name,
                matrix: matrix(values, shape),
            }
        };
        Self(shapes.into_iter().map(draw).collect())
    }

    /// The parameters in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Parameter<D>> {
        self.0.iter()
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Parameter<D>> {
        self.0.iter_mut()
    }

    /// How many numbers they are together.
    pub fn count(&self) -> usize {
        let count = |parameter: &Parameter<D>| {
            let (rows, columns) = parameter.matrix.shape();
            rows * columns
        };
        self.iter().map(count).sum()
    }

    /// The embedding table.
    pub fn embedding(&self) -> &Matrix<D> {
        &self.0[0].matrix
    }

    /// The weights of one layer.
    pub fn layer(&self, layer: usize) -> Weights<'_, D> {
        let [w_ih, w_hh, bias] = [1, 2, 3].map(|k| &self.0[3 * layer + k].matrix);
        Weights { w_ih, w_hh, bias }
    }

    /// The output projection.
    pub fn projection(&self) -> Projection<'_, D> {
        let [.., weight, bias] = &self.0[..] else {
            unreachable!("a model has a projection")
        };
        Projection {
            weight: &weight.matrix,
            bias: &bias.matrix,
        }
    }

    /// All but the output projection, whose gradient the loss puts in its place itself.
    pub(super) fn taped(&self) -> &[Parameter<D>] {
        &self.0[..self.0.len() - 2]
    }

    /// A copy on the host.
    pub fn arrays(&self) -> Vec<Array> {
        self.iter()
            .map(|parameter| parameter.array_of(parameter.matrix.to_vec()))
            .collect()
    }
}

/// The embedding table `(V, E)` before training: what [`Parameters::initial`] draws first.
pub fn initial_embedding(
    config: &ModelConfig,
    alphabet: Alphabet,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let count = alphabet.size() * config.embedding;
    (0..count)
        .map(|_| config.embedding_deviation * standard_normal(rng))
        .collect()
}

/// One draw from N(0, 1), by the method of Box and Muller.
fn standard_normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.r#gen::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.r#gen::<f64>()).cos()) as f32
}
