//! From an answer to a message.
//!
//! Outputs are raw, whichever way the inputs came, as Triton sends them: its clients read no other,
//! and what a worker delivered is handed on as it is.

use impetus_engine::Tensor;

use super::proto::ModelInferResponse;
use super::proto::model_infer_response::InferOutputTensor;
use crate::oip::{Answer, datatype};

/// Writes an answer.
pub(super) fn write(answer: Answer) -> ModelInferResponse {
    let spec = answer.model.spec();
    let mut message = ModelInferResponse {
        model_name: spec.name.clone(),
        model_version: spec.version.clone(),
        id: answer.id.unwrap_or_default(),
        ..ModelInferResponse::default()
    };
    for output in answer.outputs {
        message.outputs.push(described(&output.tensor));
        message.raw_output_contents.push(output.tensor.into_data());
    }
    message
}

fn described(tensor: &Tensor) -> InferOutputTensor {
    InferOutputTensor {
        name: tensor.name().to_owned(),
        datatype: datatype::name(tensor.dtype()).to_owned(),
        // No tensor in memory has an extent beyond 2^63.
        shape: tensor.shape().iter().map(|extent| *extent as i64).collect(),
        ..InferOutputTensor::default()
    }
}
