//! Core ML itself, by coreml-rs.
//!
//! The crate makes a URL of a path and ends the process when that fails, so a path with anything in
//! it that a URL would have to escape is refused before.

use std::path::Path;

use coreml_rs::mlarray::MLArray;
use coreml_rs::{ComputePlatform, CoreMLModelOptions, CoreMLModelWithState};
use ndarray::{ArrayD, IxDyn};

use super::super::{ComputeUnits, LoadSpec, Model, RuntimeInfo};
use super::{Array, CoreMlModel, Numbers, Surface};
use crate::error::{EngineError, shortened};

/// A model in Core ML.
struct Native(CoreMLModelWithState);

/// Returns what loads Core ML models.
pub(in crate::runtime) fn info() -> RuntimeInfo {
    RuntimeInfo {
        name: "coreml".into(),
        version: "of the system, by coreml-rs 0.5".into(),
    }
}

/// Loads a model; one that is not compiled is compiled first, which takes its time.
pub(in crate::runtime) fn load(spec: &LoadSpec) -> Result<Box<dyn Model>, EngineError> {
    let path = &spec.path;
    std::fs::metadata(path).map_err(|error| EngineError::ModelMissing {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    if !fits_a_url(path) {
        return Err(EngineError::ModelUnsupported {
            path: path.clone(),
            reason:
                "coreml-rs takes paths of letters, digits, '/', '.', '-' and '_' alone: move the \
                     model folder to one"
                    .into(),
        });
    }
    let options = CoreMLModelOptions {
        compute_platform: match spec.providers.options.compute_units {
            ComputeUnits::CpuOnly => ComputePlatform::Cpu,
            ComputeUnits::CpuAndGpu => ComputePlatform::CpuAndGpu,
            ComputeUnits::CpuAndNeuralEngine => ComputePlatform::CpuAndANE,
        },
        ..CoreMLModelOptions::default()
    };
    let is_compiled = path.extension().is_some_and(|ending| ending == "mlmodelc");
    let model = match is_compiled {
        true => CoreMLModelWithState::new_compiled(path, options),
        false => CoreMLModelWithState::new(path, options),
    };
    let loaded = model.load().map_err(|error| EngineError::ModelCorrupt {
        path: path.clone(),
        reason: shortened(error.to_string()),
    })?;
    Ok(Box::new(CoreMlModel::try_new(path, Native(loaded))?))
}

fn fits_a_url(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    path.as_os_str().as_encoded_bytes().iter().all(plain)
}

impl Native {
    fn described(&self, what: &str) -> Result<Vec<String>, String> {
        let mut all = self.0.description().map_err(|error| error.to_string())?;
        all.remove(what)
            .ok_or_else(|| format!("the model says nothing of its {what}s"))
    }
}

impl Surface for Native {
    fn inputs(&self) -> Result<Vec<String>, String> {
        self.described("input")
    }

    fn outputs(&self) -> Result<Vec<String>, String> {
        self.described("output")
    }

    fn add_input(&mut self, name: &str, array: Array) -> Result<(), String> {
        let shape = IxDyn(&array.shape);
        let bad = |error: ndarray::ShapeError| error.to_string();
        let array: MLArray = match array.numbers {
            Numbers::F32(numbers) => ArrayD::from_shape_vec(shape, numbers).map_err(bad)?.into(),
            Numbers::F16(numbers) => ArrayD::from_shape_vec(shape, numbers).map_err(bad)?.into(),
            Numbers::I32(numbers) => ArrayD::from_shape_vec(shape, numbers).map_err(bad)?.into(),
        };
        self.0
            .add_input(name, array)
            .map_err(|error| error.to_string())
    }

    fn predict(&mut self) -> Result<Vec<(String, Vec<f32>)>, String> {
        let output = self.0.predict().map_err(|error| error.to_string())?;
        let numbers = |array: MLArray| array.extract_to_tensor::<f32>().into_raw_vec();
        Ok(output
            .outputs
            .into_iter()
            .map(|(name, array)| (name, numbers(array)))
            .collect())
    }
}
