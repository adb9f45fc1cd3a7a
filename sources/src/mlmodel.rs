//! What a model's `MLmodel` file says of it.
//!
//! MLflow puts one into the folder of every model it logs. It tells by which flavours the model can be
//! loaded; this server loads the one named `onnx`. The file comes from whoever registered the model,
//! so its size, its depth and the number of things in it are limited, and the path that it names has
//! to stay in the folder.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::remote::{Listing, RemoteFile};

/// The `MLmodel` file of a model that can be loaded from ONNX.
#[derive(Debug, Clone, PartialEq)]
pub struct MlModel {
    /// The model's file, or the folder that it is in, below the folder of the `MLmodel` file.
    pub file: String,
    /// The release of the `onnx` package that wrote it.
    pub onnx_version: Option<String>,
    /// The execution providers that are wished for, the dearest first, by ONNX Runtime's names.
    pub providers: Vec<String>,
    /// ONNX Runtime's session options that are wished for, as they are written.
    pub session_options: BTreeMap<String, Value>,
    /// What the model takes, where a signature says it.
    pub inputs: Vec<SignatureTensor>,
    /// What the model gives, where a signature says it.
    pub outputs: Vec<SignatureTensor>,
    /// What tells it from every other model.
    pub uuid: Option<String>,
    /// The size of all its files together, in bytes.
    pub size: Option<u64>,
    /// The release of MLflow that wrote it.
    pub mlflow_version: Option<String>,
    /// The names of all its flavours.
    pub flavors: Vec<String>,
}

/// A tensor, or a column of a table, in a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureTensor {
    /// Its name, which a single one need not have.
    pub name: Option<String>,
    /// NumPy's name of its element type (`float32`), or MLflow's of a column's (`double`).
    pub dtype: String,
    /// Its dimensions, the undetermined ones (-1) being `None`; a column has none.
    pub shape: Option<Vec<Option<u64>>>,
}

/// Why an `MLmodel` file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MlModelError {
    /// It is longer than any that MLflow writes.
    #[error("the file MLmodel has {0} bytes, and no more than {MAX_BYTES} are read")]
    TooLong(usize),
    /// It is not YAML of the right form.
    #[error("the file MLmodel cannot be read: {0}")]
    Unreadable(String),
    /// The model cannot be loaded from ONNX.
    #[error(
        "the model has no onnx flavour, only {flavors}; log it as ONNX, with mlflow.onnx.log_model(onnx_model, name=\"model\") (artifact_path=\"model\" before MLflow 3)"
    )]
    NoOnnx {
        /// The flavours that there are.
        flavors: String,
    },
    /// The flavour does not name a file in the folder.
    #[error("the onnx flavour names no file that can be in the model's folder: {0:?}")]
    NoFile(String),
    /// The signature is not what MLflow writes.
    #[error("the signature's {part} cannot be read: {why}")]
    Signature {
        /// `inputs` or `outputs`.
        part: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    flavors: BTreeMap<String, Value>,
    #[serde(default)]
    signature: Option<Signature>,
    #[serde(default)]
    model_uuid: Option<String>,
    #[serde(default)]
    model_size_bytes: Option<u64>,
    #[serde(default)]
    mlflow_version: Option<String>,
}

/// Each is JSON in a text.
#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    inputs: Option<String>,
    #[serde(default)]
    outputs: Option<String>,
}

#[derive(Deserialize)]
struct Onnx {
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    onnx_version: Option<String>,
    #[serde(default)]
    providers: Option<Vec<Value>>,
    #[serde(default)]
    onnx_session_options: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    name: Option<Value>,
    r#type: String,
    #[serde(default, rename = "tensor-spec")]
    tensor: Option<TensorSpec>,
}

#[derive(Deserialize)]
struct TensorSpec {
    dtype: String,
    shape: Vec<i64>,
}

/// The longest file that is read: signatures of tables with thousands of columns stay below it.
const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 24;
const MAX_EVENTS: usize = 50_000;
const MAX_ALIASES: usize = 100;
const MAX_DIMENSIONS: usize = 32;

// === impl MlModel ===

impl MlModel {
    /// The file's name in a model's folder.
    pub const FILE: &str = "MLmodel";

    /// Reads the file's content.
    ///
    /// # Errors
    ///
    /// Any [`MlModelError`].
    pub fn read(content: &[u8]) -> Result<Self, MlModelError> {
        if content.len() > MAX_BYTES {
            return Err(MlModelError::TooLong(content.len()));
        }
        let file: File = serde_saphyr::from_slice_with_options(content, options())
            .map_err(|error| MlModelError::Unreadable(first_line(&error.to_string())))?;
        let flavors: Vec<String> = file.flavors.keys().cloned().collect();
        let Some(onnx) = file.flavors.get("onnx") else {
            return Err(MlModelError::NoOnnx {
                flavors: match flavors.is_empty() {
                    true => "none at all".to_owned(),
                    false => first_line(&flavors.join(", ")),
                },
            });
        };
        let onnx = Onnx::deserialize(onnx)
            .map_err(|error| MlModelError::Unreadable(format!("in its onnx flavour, {error}")))?;
        let data = onnx.data.unwrap_or_default();
        let path = data.trim_start_matches("./").trim_end_matches('/');
        if !RemoteFile::is_safe(path) {
            return Err(MlModelError::NoFile(first_line(&data)));
        }
        let signature = file.signature.unwrap_or(Signature {
            inputs: None,
            outputs: None,
        });
        Ok(Self {
            file: path.to_owned(),
            onnx_version: onnx.onnx_version,
            providers: onnx
                .providers
                .unwrap_or_default()
                .iter()
                .filter_map(provider)
                .collect(),
            session_options: onnx.onnx_session_options.unwrap_or_default(),
            inputs: tensors("inputs", signature.inputs)?,
            outputs: tensors("outputs", signature.outputs)?,
            uuid: file.model_uuid,
            size: file.model_size_bytes,
            mlflow_version: file.mlflow_version,
            flavors,
        })
    }

    /// Returns the path of the model's file among those in its folder. Where a folder is named, it is
    /// the only file in that whose name ends in `.onnx`; the others are tensors that it refers to.
    #[must_use]
    pub fn graph<'a>(&self, listing: &'a Listing) -> Option<&'a str> {
        let paths = || listing.files.iter().map(|file| file.path.as_str());
        if let Some(path) = paths().find(|path| *path == self.file) {
            return Some(path);
        }
        let inside = |path: &&str| {
            let rest = path
                .strip_prefix(&self.file)
                .and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| !rest.contains('/') && rest.ends_with(".onnx"))
        };
        let mut graphs = paths().filter(inside);
        graphs.next().filter(|_| graphs.next().is_none())
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_BYTES),
            max_events: MAX_EVENTS,
            max_nodes: MAX_EVENTS,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_total_scalar_bytes: MAX_BYTES,
        },
    }
}

/// A provider may stand with options of its own: `[NAME, {…}]`.
fn provider(value: &Value) -> Option<String> {
    let name = value.as_str().or_else(|| value.get(0)?.as_str());
    name.map(str::to_owned)
}

fn tensors(part: &'static str, text: Option<String>) -> Result<Vec<SignatureTensor>, MlModelError> {
    let wrong = |why: String| MlModelError::Signature { part, why };
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let specs: Vec<Spec> = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let read = |spec: Spec| {
        let name = match spec.name {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name),
            // The columns of a table without names have their numbers.
            Some(other) => Some(other.to_string()),
        };
        let Some(tensor) = spec.tensor else {
            return Ok(SignatureTensor {
                name,
                dtype: spec.r#type,
                shape: None,
            });
        };
        if tensor.shape.len() > MAX_DIMENSIONS {
            return Err(wrong(format!(
                "a tensor has {} dimensions",
                tensor.shape.len()
            )));
        }
        let dimension = |size: i64| match size {
            -1 => Ok(None),
            size => u64::try_from(size)
                .map(Some)
                .map_err(|_| wrong(format!("a tensor has a dimension of {size}"))),
        };
        let shape: Result<_, _> = tensor.shape.into_iter().map(dimension).collect();
        Ok(SignatureTensor {
            name,
            dtype: tensor.dtype,
            shape: Some(shape?),
        })
    };
    specs.into_iter().map(read).collect()
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests;
