//! What comes back: the outputs that were asked for, each as it was asked for.

use std::sync::Arc;

use impetus_actors::serving::ServedModel;
use impetus_actors::serving::signature::Signature;
use impetus_engine::Tensor;

use super::classification::classify;
use super::{Refusal, RequestedOutput};

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The model that gave it, in the version that did.
    pub model: Arc<ServedModel>,
    /// The id of the request, if it had one.
    pub id: Option<String>,
    /// The outputs, in the order in which they were asked for, or in the model's.
    pub outputs: Vec<Output>,
}

/// One output.
#[derive(Debug)]
pub struct Output {
    /// What it is.
    pub tensor: Tensor,
    /// Whether it is to be sent in binary; `None` when the request left that open.
    pub binary_data: Option<bool>,
}

/// Checks that a model has the outputs that are asked for.
pub(super) fn check(requested: &[RequestedOutput], signature: &Signature) -> Result<(), Refusal> {
    for (index, output) in requested.iter().enumerate() {
        let name = &output.name;
        if !signature.outputs.iter().any(|spec| spec.name == *name) {
            return Err(unknown(name, signature.outputs.iter().map(|s| &*s.name)));
        }
        if requested[..index].iter().any(|other| other.name == *name) {
            let message = format!("output {name:?} is asked for twice");
            return Err(Refusal::invalid(message));
        }
    }
    Ok(())
}

/// Returns the outputs that were asked for.
pub(super) fn select(
    model: &ServedModel,
    mut outputs: Vec<Tensor>,
    requested: &[RequestedOutput],
) -> Result<Vec<Output>, Refusal> {
    if requested.is_empty() {
        return Ok(outputs.into_iter().map(Output::whole).collect());
    }
    let mut selected = Vec::with_capacity(requested.len());
    for wanted in requested {
        // Another version may have answered than the one that was looked at before.
        let Some(found) = outputs.iter().position(|t| t.name() == wanted.name) else {
            return Err(unknown(&wanted.name, outputs.iter().map(Tensor::name)));
        };
        let tensor = outputs.swap_remove(found);
        let tensor = match wanted.classification {
            0 => tensor,
            most => {
                let batches = model.signature().is_some_and(|s| s.batches);
                let labels = model.spec().description.labels_of(tensor.name());
                classify(&tensor, most, batches, labels)?
            }
        };
        selected.push(Output {
            tensor,
            binary_data: wanted.binary_data,
        });
    }
    Ok(selected)
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Refusal {
    let known = known.collect::<Vec<_>>().join(", ");
    Refusal::invalid(format!(
        "the model has no output {name:?}; its outputs are {known}"
    ))
}

// === impl Output ===

impl Output {
    fn whole(tensor: Tensor) -> Self {
        Self {
            tensor,
            binary_data: None,
        }
    }
}
