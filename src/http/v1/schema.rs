//! What goes over the wire: the documents of models, and the form of a prediction, which is read straight into tensors
//! and written straight out of them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The models there are, for OpenAI's clients in `data` and for KServe's in `models`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = V1Models)]
pub(in crate::http) struct Models {
    pub(in crate::http) data: Vec<Model>,
    pub(in crate::http) models: Vec<String>,
    #[schema(example = "list")]
    pub(in crate::http) object: &'static str,
}

/// A model as OpenAI's clients know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = V1Model)]
pub(in crate::http) struct Model {
    /// When this server began, in seconds since 1970.
    pub(in crate::http) created: u64,
    #[schema(example = "surface")]
    pub(in crate::http) id: String,
    /// Most tokens of a prompt and its answer together, of a model that generates text and has been loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) max_model_len: Option<usize>,
    /// With one model alone: its name again, as KServe's clients know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) name: Option<String>,
    #[schema(example = "model")]
    pub(in crate::http) object: &'static str,
    #[schema(example = "impetus")]
    pub(in crate::http) owned_by: &'static str,
    /// With one model alone: that it takes requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) ready: Option<bool>,
}

/// Whether the server lives.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = V1Alive)]
pub(super) struct Alive {
    /// What speaks against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[schema(example = "alive")]
    pub(super) status: &'static str,
}

/// Inputs for a model: either by rows or by columns.
#[derive(ToSchema)]
#[schema(as = V1PredictRequest, example = json!({"instances": [[0.25, 0.5, 0.75]]}))]
#[expect(dead_code, reason = "such a body is read straight into tensors")]
pub(super) struct Request {
    /// Rows: each what the model's only input takes, or an object with one such for each input.
    instances: Option<Vec<Value>>,
    /// What the model's only input takes, as a whole, or an object with that for each input.
    inputs: Option<Value>,
}

/// Outputs by rows.
#[derive(ToSchema)]
#[schema(as = V1PredictResponse, example = json!({"predictions": [[0.9, 0.1]]}))]
#[expect(dead_code, reason = "such a body is written straight out of tensors")]
pub(super) struct Response {
    /// Each row of the only output, or an object with a row of each output by its name.
    predictions: Vec<Value>,
}
