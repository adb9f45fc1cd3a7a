//! One session, opened with the settings of Impetus's workers.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use serde::Deserialize;

/// What of `model.toml` is needed to answer.
#[derive(Debug, Deserialize)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) labels: Vec<String>,
}

/// A model and the words for its output.
pub(super) struct Model {
    session: Session,
    pub(super) input: String,
    pub(super) output: String,
    shape: Vec<i64>,
    pub(super) description: Description,
}

/// Loads the library and starts the runtime.
pub(super) fn start_runtime(library: &Path) -> anyhow::Result<Environment> {
    Ok(ort::init_from(library)?
        .with_name("bare")
        .with_telemetry(false)
        .build()?)
}

// === impl Model ===

impl Model {
    pub(super) fn open(environment: &Environment, folder: &Path) -> anyhow::Result<Self> {
        let session = open_session(environment, &folder.join("model.onnx"))?;
        let input = session.inputs().first().context("the model has no input")?;
        let shape = input
            .dtype()
            .tensor_shape()
            .context("the input is no tensor")?;
        // A free dimension is the batch: one picture.
        let shape = shape.iter().map(|extent| (*extent).max(1)).collect();
        let input = input.name().to_owned();
        let output = session.outputs().first();
        let output = output.context("the model has no output")?.name().to_owned();
        let description = std::fs::read_to_string(folder.join("model.toml"))?;
        Ok(Self {
            session,
            input,
            output,
            shape,
            description: toml::from_str(&description)?,
        })
    }

    /// Returns how many numbers one picture is.
    pub(super) fn numbers(&self) -> usize {
        self.shape
            .iter()
            .map(|extent| usize::try_from(*extent).unwrap_or(1))
            .product()
    }

    /// Runs the model; returns its first output and the microseconds that took.
    pub(super) fn run(&mut self, data: &[f32]) -> ort::Result<(Vec<f32>, u64)> {
        let began = Instant::now();
        let input = TensorRef::from_array_view((self.shape.clone(), data))?;
        let outputs = self
            .session
            .run(ort::inputs![self.input.as_str() => input])?;
        let (_, scores) = outputs[0].try_extract_tensor::<f32>()?;
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok((scores.to_vec(), micros))
    }

    /// Runs the model on a tensor of this shape; returns shape and numbers of its first output.
    pub(super) fn run_shaped(
        &mut self,
        shape: Vec<i64>,
        data: &[f32],
    ) -> ort::Result<(Vec<i64>, Vec<f32>)> {
        let input = TensorRef::from_array_view((shape, data))?;
        let outputs = self
            .session
            .run(ort::inputs![self.input.as_str() => input])?;
        let (shape, numbers) = outputs[0].try_extract_tensor::<f32>()?;
        Ok((shape.to_vec(), numbers.to_vec()))
    }

    /// Returns the shape of so many rows.
    pub(super) fn shape_of(&self, rows: usize) -> Vec<i64> {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows as i64;
        }
        shape
    }
}

/// Opens a session with the settings of Impetus's workers.
fn open_session(environment: &Environment, path: &Path) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_memory_pattern(true)?
        .with_config_entry("session.intra_op.allow_spinning", "0")?
        .with_config_entry("session.inter_op.allow_spinning", "0")?
        .commit_from_file(path)
}
