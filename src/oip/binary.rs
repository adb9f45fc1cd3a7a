//! The bodies of requests and answers: JSON, and behind it the tensors that are sent in binary.
//!
//! The binary tensor data extension. The header `Inference-Header-Content-Length` says how long the
//! JSON is; without it all of the body is JSON. Behind it lie the bytes of those tensors that say
//! `binary_data_size`, in the order in which they are named. A header of 0 says that there is no JSON
//! at all: the body is the one input of the model, and the outputs come back in binary.
//!
//! **Invariant:** the bytes of a binary tensor are never copied here. Those of a request are windows
//! into its body, those of an answer are handed on as they are. Sizes are checked before anything is
//! cut: what does not fit exactly is refused.

use bytes::Bytes;
use impetus_actors::serving::signature::Signature;
use impetus_engine::{DType, Dim, Tensor, TensorSpec};

use super::json::{self, Data, Input};
use super::{Answer, InferRequest, Parameters, Refusal, datatype};

/// The header that says how long the JSON is, in requests and in answers.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// An answer as it goes on the wire.
#[derive(Debug)]
pub struct Encoded {
    /// The JSON.
    pub json: Vec<u8>,
    /// The tensors behind it; when there are none, the JSON is all of the body.
    pub tensors: Vec<Bytes>,
}

/// Reads a request whose JSON is as long as a header says, or all of it when none does.
///
/// # Errors
/// It is none: says what is wrong and where.
pub fn decode(body: &Bytes, header: Option<usize>) -> Result<InferRequest, Refusal> {
    let length = header.unwrap_or(body.len());
    let Some(text) = body.get(..length) else {
        return Err(Refusal::invalid(format!(
            "Inference-Header-Content-Length is {length}, the body has {} bytes",
            body.len()
        )));
    };
    let head = json::read(text)?;
    let mut behind = Behind {
        rest: body.slice(length..),
        announced: header.is_some(),
    };
    let inputs = head.inputs.into_iter();
    let inputs = inputs
        .map(|input| behind.complete(input))
        .collect::<Result<Vec<Tensor>, Refusal>>()?;
    if !behind.rest.is_empty() {
        return Err(Refusal::invalid(format!(
            "{} bytes are left behind the JSON and the inputs in binary",
            behind.rest.len()
        )));
    }
    Ok(InferRequest {
        id: head.id,
        parameters: head.parameters,
        inputs,
        outputs: head.outputs,
    })
}

/// Takes a body without any JSON for the one input of a model. Free dimensions are 1, but for one,
/// which is as long as the body makes it.
///
/// # Errors
/// The model has other inputs than one, or the body is none.
pub fn decode_raw(body: &Bytes, signature: &Signature) -> Result<InferRequest, Refusal> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(Refusal::invalid(format!(
            "a request without JSON is for models with one input, this one has {}",
            signature.inputs.len()
        )));
    };
    let data = match spec.dtype {
        // All of the body is the only element.
        DType::Bytes => impetus_engine::tensor::encode_strings([&body[..]])
            .map_err(|error| Refusal::malformed(&spec.name, &error))?
            .into(),
        _ => body.clone(),
    };
    let shape = raw_shape(spec, data.len())?;
    let input = Tensor::try_new(spec.name.clone(), spec.dtype, shape, data)
        .map_err(|error| Refusal::malformed(&spec.name, &error))?;
    Ok(InferRequest {
        parameters: Parameters {
            binary_data_output: true,
            ..Parameters::default()
        },
        inputs: vec![input],
        ..InferRequest::default()
    })
}

/// Writes an answer; outputs that say nothing else go in binary if `in_binary`.
///
/// # Errors
/// An output that is to be JSON cannot be.
pub fn encode(answer: &Answer, in_binary: bool) -> Result<Encoded, Refusal> {
    let mut json = Vec::with_capacity(256);
    let mut tensors = Vec::new();
    let spec = answer.model.spec();
    json.extend_from_slice(b"{\"model_name\":");
    json::write_string(&spec.name, &mut json);
    json.extend_from_slice(b",\"model_version\":");
    json::write_string(&spec.version, &mut json);
    if let Some(id) = &answer.id {
        json.extend_from_slice(b",\"id\":");
        json::write_string(id, &mut json);
    }
    json.extend_from_slice(b",\"outputs\":[");
    for (index, output) in answer.outputs.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_head(&output.tensor, &mut json);
        if output.binary_data.unwrap_or(in_binary) {
            let size = output.tensor.data().len();
            json.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            json.extend_from_slice(size.to_string().as_bytes());
            json.extend_from_slice(b"}}");
            tensors.push(output.tensor.bytes().clone());
        } else {
            json.extend_from_slice(b",\"data\":");
            json::write_data(&output.tensor, &mut json)?;
            json.push(b'}');
        }
    }
    json.extend_from_slice(b"]}");
    Ok(Encoded { json, tensors })
}

/// The bytes behind the JSON that no tensor has taken yet.
struct Behind {
    rest: Bytes,
    /// Whether the header has said that there may be any.
    announced: bool,
}

// === impl Encoded ===

impl Encoded {
    /// Returns how many bytes it has together.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always some JSON")]
    pub fn len(&self) -> usize {
        self.json.len() + self.tensors.iter().map(Bytes::len).sum::<usize>()
    }

    /// Returns whether there is anything but JSON.
    #[must_use]
    pub fn has_binary(&self) -> bool {
        !self.tensors.is_empty()
    }
}

// === impl Behind ===

impl Behind {
    fn complete(&mut self, input: Input) -> Result<Tensor, Refusal> {
        let data = match input.data {
            Data::Here(data) => data.into(),
            Data::Binary(size) => self.take(&input.name, size)?,
        };
        Tensor::try_new(&*input.name, input.dtype, input.shape, data)
            .map_err(|error| Refusal::malformed(&input.name, &error))
    }

    fn take(&mut self, name: &str, size: usize) -> Result<Bytes, Refusal> {
        if size == 0 {
            // Nothing follows, so it need not be said where.
            return Ok(Bytes::new());
        }
        if !self.announced {
            return Err(Refusal::invalid(format!(
                "input {name:?} has binary_data_size, but no header Inference-Header-Content-Length \
                 says where the JSON ends"
            )));
        }
        if size > self.rest.len() {
            return Err(Refusal::invalid(format!(
                "input {name:?} has binary_data_size {size}, {} bytes are left behind the JSON",
                self.rest.len()
            )));
        }
        Ok(self.rest.split_to(size))
    }
}

fn write_head(tensor: &Tensor, json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"name\":");
    json::write_string(tensor.name(), json);
    json.extend_from_slice(b",\"datatype\":\"");
    json.extend_from_slice(datatype::name(tensor.dtype()).as_bytes());
    json.extend_from_slice(b"\",\"shape\":[");
    for (index, extent) in tensor.shape().iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(extent.to_string().as_bytes());
    }
    json.push(b']');
}

/// Returns the shape that so many bytes have as the input of a model. Of several free dimensions the
/// first is the batch's, and is 1.
fn raw_shape(spec: &TensorSpec, bytes: usize) -> Result<Vec<usize>, Refusal> {
    let free: Vec<usize> = (0..spec.shape.len())
        .filter(|index| spec.shape[*index].is_free())
        .collect();
    if free.len() > 2 || (free.len() == 2 && free[0] != 0) {
        return Err(Refusal::invalid(format!(
            "input {:?} has several free dimensions; a request without JSON cannot say how long \
             each is",
            spec.name
        )));
    }
    let mut shape: Vec<usize> = spec.shape.iter().map(extent).collect();
    let (Some(last), Some(size)) = (free.last(), spec.dtype.size()) else {
        return Ok(shape);
    };
    let row = shape.iter().product::<usize>() * size;
    shape[*last] = bytes.checked_div(row).unwrap_or_default();
    Ok(shape)
}

/// Returns the extent of a dimension, 1 where it is free.
fn extent(dim: &Dim) -> usize {
    match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Free(_) => 1,
    }
}
