//! Samples that somebody has stated: from what they say to inputs that the model takes.
//!
//! A stated sample is a claim about the graph. One that does not hold is refused before anything
//! runs, and the refusal names the key to change: a sample that is passed over in silence is a
//! first client that waits.

use super::{MAX_STATED_BYTES, fill};
use crate::error::EngineError;
use crate::runtime::{Fill, WarmUpInput, WarmUpSample};
use crate::tensor::{Tensor, TensorSpec, TensorView, byte_len, check_inputs, elements};

/// Returns the inputs of a stated sample, each of the type and shape that the model asks for.
pub(in crate::worker) fn inputs_of(
    specs: &[TensorSpec],
    sample: &WarmUpSample,
) -> Result<Vec<Tensor>, EngineError> {
    let inputs = sample
        .inputs
        .iter()
        .map(|input| {
            let key = format!("{}.inputs.{}", sample.key, input.name);
            tensor(specs, input).map_err(|reason| EngineError::sample(key, reason))
        })
        .collect::<Result<Vec<Tensor>, EngineError>>()?;
    let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
    check_inputs(specs, &views).map_err(|error| EngineError::sample(&sample.key, error))?;
    Ok(inputs)
}

fn tensor(specs: &[TensorSpec], input: &WarmUpInput) -> Result<Tensor, String> {
    let spec = specs.iter().find(|spec| spec.name == input.name);
    let spec = spec.ok_or_else(|| {
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        format!("the model has no such input, only {}", names.join(", "))
    })?;
    let dtype = input.dtype.unwrap_or(spec.dtype);
    spec.check(dtype, &input.shape)
        .map_err(|error| error.to_string())?;
    let count = elements(&input.shape).map_err(|error| error.to_string())?;
    let bytes = byte_len(dtype, &input.shape).map_err(|error| error.to_string())?;
    if bytes.unwrap_or(count) > MAX_STATED_BYTES {
        return Err(format!("{bytes:?} bytes are too large for a sample"));
    }
    let data = match &input.fill {
        Fill::Zeros => fill::zeros(dtype, count),
        Fill::Random => fill::random(dtype, count).map_err(|error| error.to_string())?,
        Fill::Value(value) => fill::repeated(dtype, count, *value)?,
        Fill::File { path, times } => fill::file(path, *times, bytes)?,
    };
    Tensor::try_new(&input.name, dtype, input.shape.clone(), data)
        .map_err(|error| error.to_string())
}
