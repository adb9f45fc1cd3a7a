//! Metadata of the server and of a model.

use impetus_actors::serving::{Catalog, ServedModel};
use impetus_engine::{DType, TensorSpec};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{extents, find, find_versions, unknown_yet};
use crate::oip::{Refusal, datatype};

/// What executes the models, as Triton names it.
pub(super) const PLATFORM: &str = "onnxruntime_onnx";

/// The protocol's extensions that are spoken here.
const EXTENSIONS: [&str; 6] = [
    "classification",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "statistics",
];

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServerMetadata {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The extensions of the protocol that it speaks.
    pub extensions: Vec<&'static str>,
}

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelMetadata {
    /// Its name.
    pub name: String,
    /// The versions that stand.
    pub versions: Vec<String>,
    /// What executes it.
    pub platform: &'static str,
    /// What it takes.
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    pub outputs: Vec<TensorMetadata>,
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// Its element type.
    #[serde(serialize_with = "as_datatype")]
    #[schema(value_type = String, example = "FP32")]
    pub datatype: DType,
    /// Its dimensions, the batch's included; -1 where any extent will do.
    pub shape: Vec<i64>,
}

/// Returns what the server says of itself.
#[must_use]
pub fn server() -> ServerMetadata {
    ServerMetadata {
        name: "impetus",
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS.to_vec(),
    }
}

/// Returns what a model says of itself.
///
/// # Errors
/// There is no such model, or it has not been loaded yet.
pub fn metadata(
    catalog: &Catalog,
    name: &str,
    version: Option<&str>,
) -> Result<ModelMetadata, Refusal> {
    let model = find(catalog, name, version)?;
    let versions = find_versions(catalog, name, version)?;
    let versions = versions.iter().map(|model| model.spec().version.clone());
    of(&model, versions.collect())
}

fn of(model: &ServedModel, versions: Vec<String>) -> Result<ModelMetadata, Refusal> {
    let signature = model.signature().ok_or_else(|| unknown_yet(model))?;
    Ok(ModelMetadata {
        name: model.spec().name.clone(),
        versions,
        platform: PLATFORM,
        inputs: signature.inputs.iter().map(TensorMetadata::of).collect(),
        outputs: signature.outputs.iter().map(TensorMetadata::of).collect(),
    })
}

// === impl TensorMetadata ===

impl TensorMetadata {
    fn of(spec: &TensorSpec) -> Self {
        Self {
            name: spec.name.clone(),
            datatype: spec.dtype,
            shape: extents(&spec.shape),
        }
    }
}

fn as_datatype<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(datatype::name(*dtype))
}
