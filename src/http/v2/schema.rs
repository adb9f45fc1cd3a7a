//! What goes over the wire, for those who read about it: bodies of small answers, and the forms of requests and answers
//! to infer, which are read straight into tensors and written straight out of them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::oip::describe::ModelStatistics;

/// Whether the server lives.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = V2Live)]
pub(super) struct Live {
    /// What speaks against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) live: bool,
}

/// Whether the server takes requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = V2Ready)]
pub(super) struct Ready {
    /// What speaks against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) live: bool,
    pub(super) ready: bool,
}

/// A model that takes requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = V2ModelReady)]
pub(super) struct ModelReady {
    #[schema(example = "surface")]
    pub(super) name: String,
    pub(super) ready: bool,
}

/// Statistics, one entry for each version.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = V2Statistics)]
pub(super) struct Statistics {
    pub(super) model_stats: Vec<ModelStatistics>,
}

/// Tensors for a model.
#[derive(ToSchema)]
#[schema(as = InferenceRequest, example = json!({
    "id": "42",
    "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.25, 0.5, 0.75]}],
}))]
#[expect(dead_code, reason = "such a body is read straight into tensors")]
pub(super) struct Request {
    /// Comes back in the answer.
    id: Option<String>,
    /// What is asked beside the tensors.
    parameters: Option<RequestParameters>,
    inputs: Vec<RequestInput>,
    /// The outputs that are wanted; all of them when there is none.
    outputs: Option<Vec<RequestOutput>>,
}

/// Parameters of a request; those that are not known here are ignored.
#[derive(ToSchema)]
#[schema(as = InferenceRequestParameters)]
#[expect(dead_code, reason = "such a body is read straight into tensors")]
struct RequestParameters {
    /// 1 is high and 2 is normal; any other is as the model has it.
    priority: Option<u64>,
    /// How long it may wait for a worker, in microseconds; 0 is as the model has it.
    timeout: Option<u64>,
    /// Whether outputs that say nothing else come back in binary.
    binary_data_output: Option<bool>,
}

/// A tensor for an input.
#[derive(ToSchema)]
#[schema(as = InferenceRequestInput)]
#[expect(dead_code, reason = "such a body is read straight into tensors")]
struct RequestInput {
    #[schema(example = "x")]
    name: String,
    /// The batch's dimension first.
    shape: Vec<u64>,
    datatype: Datatype,
    /// With `binary_data_size`, the data are so many bytes behind the JSON, and `data` is left out.
    parameters: Option<BinarySize>,
    /// The elements, flat or nested, in row-major order.
    data: Option<Vec<Value>>,
}

/// An output that is wanted.
#[derive(ToSchema)]
#[schema(as = InferenceRequestOutput)]
#[expect(dead_code, reason = "such a body is read straight into tensors")]
struct RequestOutput {
    #[schema(example = "y")]
    name: String,
    parameters: Option<OutputParameters>,
}

/// How an output is wanted.
#[derive(ToSchema)]
#[schema(as = InferenceOutputParameters)]
#[expect(dead_code, reason = "such a body is read straight into tensors")]
struct OutputParameters {
    /// So many of its highest values, as `value:index:label`, instead of all of it.
    classification: Option<u64>,
    /// Whether it is to come back in binary.
    binary_data: Option<bool>,
}

/// Where the elements of a tensor are, when they are not in the JSON.
#[derive(ToSchema)]
#[schema(as = BinaryTensor)]
#[expect(dead_code, reason = "such a body is read straight into tensors")]
struct BinarySize {
    /// How many bytes behind the JSON they have, little-endian, tensors in the order in which they are named.
    binary_data_size: Option<u64>,
}

/// The type of a tensor's elements. BF16 has no form in JSON.
#[derive(ToSchema)]
#[expect(
    dead_code,
    clippy::upper_case_acronyms,
    reason = "the protocol's names, for those who read about them"
)]
enum Datatype {
    BOOL,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    INT8,
    INT16,
    INT32,
    INT64,
    FP16,
    FP32,
    FP64,
    BF16,
    BYTES,
}

/// What a model made of them.
#[derive(ToSchema)]
#[schema(as = InferenceResponse)]
#[expect(dead_code, reason = "such a body is written straight out of tensors")]
pub(super) struct Response {
    #[schema(example = "surface")]
    model_name: String,
    #[schema(example = "1")]
    model_version: String,
    /// The request's.
    id: Option<String>,
    parameters: Option<BTreeMap<String, Value>>,
    outputs: Vec<ResponseOutput>,
}

/// A tensor of an output.
#[derive(ToSchema)]
#[schema(as = InferenceResponseOutput)]
#[expect(dead_code, reason = "such a body is written straight out of tensors")]
struct ResponseOutput {
    name: String,
    datatype: Datatype,
    shape: Vec<u64>,
    /// With `binary_data_size`, the elements are so many bytes behind the JSON, and `data` is left out.
    parameters: Option<BinarySize>,
    /// The elements, flat, in row-major order.
    data: Option<Vec<Value>>,
}
