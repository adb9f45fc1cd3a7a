//! From a message to what it asks.
//!
//! Tensors stay where they are: a raw one is a slice of the message it came in. Everything that is
//! the client's mistake is found here or against the model's signature, and named.

use impetus_engine::{DType, Tensor};

use super::contents;
use super::proto::infer_parameter::ParameterChoice;
use super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::proto::{InferParameter, ModelInferRequest};
use crate::oip::{self, InferRequest, Parameters, Refusal, RequestedOutput, datatype};

/// What stands for a tensor that lies in memory that both sides map.
const SHARED_MEMORY: &str = "shared_memory_region";
/// So many of an output's highest values are wanted.
const CLASSIFICATION: &str = "classification";

/// Reads a request; which model it is for has been read before.
pub(super) fn read(message: ModelInferRequest) -> Result<InferRequest, Refusal> {
    let ModelInferRequest {
        id,
        parameters,
        inputs,
        outputs,
        raw_input_contents: raw,
        ..
    } = message;
    let priority = whole(parameters.get("priority"), "priority")?;
    let timeout = whole(parameters.get("timeout"), "timeout")?;
    let inputs = if raw.is_empty() {
        inputs.into_iter().map(typed).collect::<Result<_, _>>()?
    } else if raw.len() == inputs.len() {
        let both = inputs.into_iter().zip(raw);
        both.map(|(input, data)| tensor(input, data, true))
            .collect::<Result<_, _>>()?
    } else {
        return Err(Refusal::invalid(format!(
            "there are {} inputs and {} raw_input_contents; each input has one, or none has",
            inputs.len(),
            raw.len()
        )));
    };
    Ok(InferRequest {
        id: (!id.is_empty()).then_some(id),
        parameters: Parameters {
            priority: priority.and_then(oip::priority),
            queue_timeout: timeout.and_then(oip::queue_timeout),
            binary_data_output: true,
        },
        inputs,
        outputs: outputs.into_iter().map(output).collect::<Result<_, _>>()?,
    })
}

fn typed(mut input: InferInputTensor) -> Result<Tensor, Refusal> {
    let dtype = element_type(&input)?;
    let contents = input.contents.take().unwrap_or_default();
    let data = contents::bytes(&input.name, dtype, contents)?;
    tensor(input, data.into(), false)
}

/// Makes a tensor of a block of bytes.
fn tensor(input: InferInputTensor, data: bytes::Bytes, raw: bool) -> Result<Tensor, Refusal> {
    let dtype = element_type(&input)?;
    let name = &input.name;
    if raw && input.contents.as_ref().is_some_and(contents::are_given) {
        return Err(Refusal::invalid(format!(
            "input {name:?} has contents, and the request has raw_input_contents; send one of them"
        )));
    }
    if input.parameters.contains_key(SHARED_MEMORY) {
        return Err(Refusal::unsupported(format!(
            "input {name:?} lies in shared memory, which this server does not map; send it in the request"
        )));
    }
    let shape = input.shape.iter().map(|extent| usize::try_from(*extent));
    let shape = shape.collect::<Result<Vec<_>, _>>().map_err(|_| {
        let shape = &input.shape;
        Refusal::invalid(format!(
            "input {name:?} has shape {shape:?}; an extent cannot be negative"
        ))
    })?;
    Tensor::try_new(name.as_str(), dtype, shape, data)
        .map_err(|error| Refusal::malformed(name, &error))
}

fn element_type(input: &InferInputTensor) -> Result<DType, Refusal> {
    let (name, given) = (&input.name, &input.datatype);
    datatype::parse(given).ok_or_else(|| {
        let all = datatype::all();
        Refusal::invalid(format!(
            "input {name:?} has datatype {given:?}; there are {all}"
        ))
    })
}

fn output(wanted: InferRequestedOutputTensor) -> Result<RequestedOutput, Refusal> {
    let InferRequestedOutputTensor { name, parameters } = wanted;
    if parameters.contains_key(SHARED_MEMORY) {
        return Err(Refusal::unsupported(format!(
            "output {name:?} is to lie in shared memory, which this server does not map"
        )));
    }
    let classes = whole(parameters.get(CLASSIFICATION), CLASSIFICATION)?.unwrap_or_default();
    Ok(RequestedOutput {
        name,
        classification: usize::try_from(classes).unwrap_or(usize::MAX),
        binary_data: None,
    })
}

/// Reads a parameter that is a whole number; clients send it signed and unsigned.
fn whole(parameter: Option<&InferParameter>, name: &str) -> Result<Option<u64>, Refusal> {
    let number = match parameter.map(|parameter| &parameter.parameter_choice) {
        None => return Ok(None),
        Some(Some(ParameterChoice::Uint64Param(number))) => Some(*number),
        Some(Some(ParameterChoice::Int64Param(number))) => u64::try_from(*number).ok(),
        Some(_) => None,
    };
    let wrong = || {
        Refusal::invalid(format!(
            "parameter {name:?} must be a whole number, 0 or more"
        ))
    };
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;

    use super::super::proto::InferTensorContents;
    use super::*;
    use crate::oip::Kind;

    fn input(datatype: &str, shape: &[i64]) -> InferInputTensor {
        InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            ..InferInputTensor::default()
        }
    }

    fn raw(datatype: &str, shape: &[i64], data: &'static [u8]) -> ModelInferRequest {
        ModelInferRequest {
            inputs: vec![input(datatype, shape)],
            raw_input_contents: vec![Bytes::from_static(data)],
            ..ModelInferRequest::default()
        }
    }

    fn refusal(message: ModelInferRequest) -> String {
        let refusal = read(message).unwrap_err();
        assert_eq!(refusal.kind(), Kind::Invalid, "{refusal}");
        refusal.to_string()
    }

    fn parameter(name: &str, choice: ParameterChoice) -> HashMap<String, InferParameter> {
        let parameter_choice = Some(choice);
        HashMap::from([(name.to_owned(), InferParameter { parameter_choice })])
    }

    #[test]
    fn a_raw_tensor_is_not_copied() {
        let data = Bytes::from(vec![1u8; 64]);
        let message = ModelInferRequest {
            raw_input_contents: vec![data.clone()],
            ..raw("UINT8", &[64], b"")
        };
        let request = read(message).unwrap();
        assert_eq!(request.inputs[0].data().as_ptr(), data.as_ptr());
        assert_eq!((request.id, request.parameters.priority), (None, None));
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let mut both = raw("FP32", &[1], &[0; 4]);
        both.inputs[0].contents = Some(InferTensorContents {
            fp32_contents: vec![1.0],
            ..InferTensorContents::default()
        });
        assert!(refusal(both).contains("send one of them"));
        let mut two = raw("FP32", &[1], &[0; 4]);
        two.inputs.push(input("FP32", &[1]));
        assert!(refusal(two).contains("2 inputs and 1 raw_input_contents"));
        assert!(refusal(raw("FP32", &[2, 2], &[0; 4])).contains("takes 16 bytes, got 4"));
        assert!(refusal(raw("FP32", &[-1], &[0; 4])).contains("cannot be negative"));
        assert!(refusal(raw("FLOAT", &[1], &[0; 4])).contains("there are BOOL, UINT8"));
        assert!(refusal(raw("BOOL", &[1], &[7])).contains("a bool is 0 or 1"));
    }

    #[test]
    fn parameters_are_read_signed_and_unsigned_and_anything_else_is_refused() {
        let with = |choice| {
            let parameters = parameter("priority", choice);
            let message = raw("UINT8", &[1], b"1");
            read(ModelInferRequest {
                parameters,
                ..message
            })
        };
        for choice in [
            ParameterChoice::Int64Param(1),
            ParameterChoice::Uint64Param(1),
        ] {
            let request = with(choice).unwrap();
            assert_eq!(request.parameters.priority, oip::priority(1));
            assert!(request.parameters.priority.is_some());
        }
        for choice in [
            ParameterChoice::Int64Param(-1),
            ParameterChoice::StringParam("1".to_owned()),
            ParameterChoice::BoolParam(true),
        ] {
            assert!(with(choice).is_err());
        }
    }

    #[test]
    fn tensors_in_shared_memory_are_refused_as_something_that_is_not_offered() {
        let mut message = raw("UINT8", &[1], b"1");
        message.inputs[0].parameters = parameter(
            SHARED_MEMORY,
            ParameterChoice::StringParam("region".to_owned()),
        );
        assert_eq!(read(message).unwrap_err().kind(), Kind::Unsupported);
    }
}
