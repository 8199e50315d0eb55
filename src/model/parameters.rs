//! The named tensors of a model, in one walk that initialisation, optimizer and checkpoints share.

use super::backend::{Backend, Runtime};
use super::op::Matrix;
use super::op::lstm::Weights;
use super::{ModelConfig, ModelKind};
use crate::corpus::score::KEYS;
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

/// One named tensor of a model.
#[derive(Debug, Clone)]
pub struct Parameter<D: Storage<f32>> {
    /// For example `lstm.0.w_ih`.
    pub name: String,
    /// Its values.
    pub tensor: Matrix<D>,
    /// Whether a window's gradient touches few of its rows: true of the embedding of tokens.
    pub few_rows: bool,
}

impl<D: Storage<f32>> Parameter<D> {
    /// Its rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        *self.tensor.shape()
    }

    /// Values of this parameter's shape, under its name.
    pub(crate) fn array_of(&self, values: Vec<f32>) -> Array {
        let (rows, columns) = *self.tensor.shape();
        Array {
            name: self.name.clone(),
            shape: vec![rows, columns],
            values,
        }
    }
}

/// All tensors of a model, always in the same order: `embedding` `(V, E)`, for each layer `lstm.N.w_ih` `(4H, I)`, `lstm.N.w_hh` `(4H, H)`
/// and `lstm.N.bias` `(1, 4H)`, then `output.weight` `(V, H)` and `output.bias` `(1, V)`. For the sigmoid model `V` is 88.
#[derive(Debug, Clone)]
pub struct Parameters<D: Storage<f32>>(pub(crate) Vec<Parameter<D>>);

impl<D: Backend> Parameters<D> {
    /// Draws initial values: embeddings from N(0, `embedding_deviation`²), all else from U(−1/√H, 1/√H).
    pub fn initial(
        config: &ModelConfig,
        vocabulary: usize,
        runtime: &Runtime<D>,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let symbols = symbols(config, vocabulary);
        let (e, h) = (config.embedding, config.hidden);
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
                "embedding" => initial_embedding(config, vocabulary, rng),
                _ => (0..shape.0 * shape.1)
                    .map(|_| rng.gen_range(-bound..bound))
                    .collect(),
            };
            let few_rows = name == "embedding" && config.kind == ModelKind::Token;
            let tensor = runtime.device.tensor_from_vec(values, shape);
            Parameter {
                name,
                tensor,
                few_rows,
            }
        };
        Self(shapes.into_iter().map(draw).collect())
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter<D>> {
        self.0.iter()
    }

    /// How many numbers they are together.
    pub fn count(&self) -> usize {
        self.iter()
            .map(|parameter| parameter.tensor.shape().0 * parameter.tensor.shape().1)
            .sum()
    }

    /// The embedding table.
    pub fn embedding(&self) -> &Matrix<D> {
        &self.0[0].tensor
    }

    /// The weights of one layer.
    pub fn layer(&self, layer: usize) -> Weights<'_, D> {
        let [w_ih, w_hh, bias] = [1, 2, 3].map(|k| &self.0[3 * layer + k].tensor);
        Weights { w_ih, w_hh, bias }
    }

    /// The output projection and its bias.
    pub fn output(&self) -> (&Matrix<D>, &Matrix<D>) {
        let count = self.0.len();
        (&self.0[count - 2].tensor, &self.0[count - 1].tensor)
    }

    /// All but the output projection and its bias, whose gradients the loss puts in their place itself.
    pub(crate) fn taped(&self) -> &[Parameter<D>] {
        &self.0[..self.0.len() - 2]
    }

    /// A copy on the host.
    pub fn arrays(&self) -> Vec<Array> {
        self.iter()
            .map(|parameter| array(&parameter.name, &parameter.tensor))
            .collect()
    }

    /// Takes the values of `arrays`; those of other names are ignored.
    ///
    /// # Errors
    /// When one is missing or has another shape; the parameters then keep some old values.
    pub fn load(&mut self, arrays: &[Array]) -> Result<()> {
        for parameter in &mut self.0 {
            let (rows, columns) = *parameter.tensor.shape();
            let array = Array::find(arrays, &parameter.name, &[rows, columns])?;
            parameter.tensor.copy_from(&array.values);
        }
        Ok(())
    }
}

/// Rows of the embedding table and of the projection.
fn symbols(config: &ModelConfig, vocabulary: usize) -> usize {
    match config.kind {
        ModelKind::Token => vocabulary,
        ModelKind::Sigmoid => KEYS,
    }
}

/// The embedding table `(V, E)` before training: what [`Parameters::initial`] draws first.
pub fn initial_embedding(
    config: &ModelConfig,
    vocabulary: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let count = symbols(config, vocabulary) * config.embedding;
    (0..count)
        .map(|_| config.embedding_deviation * standard_normal(rng))
        .collect()
}

/// A copy of a contiguous matrix on the host.
pub fn array<D: Backend>(name: &str, tensor: &Matrix<D>) -> Array {
    let (rows, columns) = *tensor.shape();
    let mut values = vec![0.0; rows * columns];
    tensor.copy_into(&mut values);
    Array {
        name: name.to_string(),
        shape: vec![rows, columns],
        values,
    }
}

/// One draw from N(0, 1), by the method of Box and Muller.
fn standard_normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.r#gen::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.r#gen::<f64>()).cos()) as f32
}
