//! What a model expects and what its description says about it.
//!
//! Requests are held against the signature before they are queued, so that the client's mistakes
//! are answered at once, name the input, and cost no worker's time.

use impetus_engine::tensor::check_inputs;
use impetus_engine::{Dim, EngineError, Loaded, Tensor, TensorSpec, TensorView};
use serde::{Deserialize, Serialize};

/// The inputs and outputs of a loaded model.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Inputs in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the graph's order.
    pub outputs: Vec<TensorSpec>,
    /// Whether requests may be stacked along the first dimension.
    pub batches: bool,
}

/// The optional description beside a model's file, `model.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Name; the folder's name when absent, and the same when given.
    pub name: Option<String>,
    /// Version; `1` when absent.
    pub version: Option<String>,
    /// What the model does; informative.
    pub task: Option<String>,
    /// Names of the classes, in the order of the output.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Labels that mean "nothing is wrong".
    #[serde(default)]
    pub defect_free_labels: Vec<String>,
    /// How images become tensors; without it the model takes numbers only.
    pub image: Option<ImageInput>,
}

/// How a picture becomes the model's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Order of the colours.
    #[serde(default)]
    pub channels: Channels,
    /// Order of the dimensions.
    #[serde(default)]
    pub layout: Layout,
    /// Each 8-bit sample is multiplied with this first.
    #[serde(default = "one_255th")]
    pub scale: f32,
    /// Then this is subtracted, one number per colour.
    #[serde(default = "zeros")]
    pub mean: [f32; 3],
    /// Then it is divided by this, one number per colour.
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

/// Order of the colours in a tensor made from a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Order of the dimensions in a tensor made from a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Colour, row, column.
    #[default]
    Chw,
    /// Row, column, colour.
    Hwc,
}

fn one_255th() -> f32 {
    1.0 / 255.0
}

fn zeros() -> [f32; 3] {
    [0.0; 3]
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

// === impl Signature ===

impl From<&Loaded> for Signature {
    fn from(loaded: &Loaded) -> Self {
        Self {
            inputs: loaded.inputs.clone(),
            outputs: loaded.outputs.clone(),
            batches: loaded.max_batch_free,
        }
    }
}

impl Signature {
    /// Checks the inputs of a request and returns how many rows it has along the batch dimension
    /// (1 for a model that does not batch).
    ///
    /// # Errors
    /// Names the first input that is unknown, missing, of another type or of another shape.
    pub fn check(&self, inputs: &[Tensor]) -> Result<usize, EngineError> {
        let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
        check_inputs(&self.inputs, &views)?;
        self.rows(inputs)
    }

    fn rows(&self, inputs: &[Tensor]) -> Result<usize, EngineError> {
        if !self.batches {
            return Ok(1);
        }
        let Some(first) = inputs.first().and_then(|t| t.shape().first().copied()) else {
            return Ok(1);
        };
        for given in inputs {
            if given.shape().first() != Some(&first) {
                return Err(EngineError::WrongShape {
                    input: given.name().to_owned(),
                    expected: format!("{first} rows, as the other inputs have"),
                    got: format!("{:?}", given.shape()),
                });
            }
        }
        Ok(first.max(1))
    }

    /// Returns the shape of one row of the only input, its free dimensions being 1, and how many
    /// numbers that is; `None` when the model has more inputs than one.
    #[must_use]
    pub fn single_input(&self) -> Option<(&TensorSpec, Vec<usize>, usize)> {
        let [spec] = self.inputs.as_slice() else {
            return None;
        };
        let shape: Vec<usize> = spec
            .shape
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(size) => *size,
                Dim::Free(_) => 1,
            })
            .collect();
        let numbers = shape.iter().product();
        Some((spec, shape, numbers))
    }
}
