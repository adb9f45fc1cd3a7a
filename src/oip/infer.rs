//! Has a request answered.
//!
//! Finding the model comes first and by itself: who measures a request wants to know for which model
//! it is even when its tensors turn out to be none.

use std::sync::Arc;
use std::time::Instant;

use impetus_actors::serving::{Catalog, Protocol, Request, Route};

use super::answer::{self, Answer};
use super::{InferRequest, Refusal};
use crate::predictions::{Made, Recorder};

/// Who asks, and until when.
#[derive(Debug, Clone)]
pub struct Caller {
    /// How the request came in.
    pub protocol: Protocol,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    /// The id under which the log knows the request.
    pub request_id: Option<Arc<str>>,
}

/// Returns the way to a model. An empty version is as good as none: the protocol's clients send one.
///
/// # Errors
/// There is no such model, or not in that version.
pub fn route(catalog: &Arc<Catalog>, name: &str, version: Option<&str>) -> Result<Route, Refusal> {
    let version = version.filter(|version| !version.is_empty());
    Ok(catalog.route(Some(name), version)?)
}

/// Has a request answered by the model that a route leads to, and what it answers recorded.
///
/// # Errors
/// The outputs asked for are not the model's, the model did not answer (see
/// [`ServeError`](impetus_actors::serving::ServeError)), or its answer was to be on the disk before
/// it is given and is not.
pub async fn infer(
    route: &mut Route,
    request: InferRequest,
    caller: Caller,
    recorder: Option<&Recorder>,
) -> Result<Answer, Refusal> {
    // What the model does not have is not worth a run.
    let signature = route.model().usable_signature()?;
    answer::check(&request.outputs, &signature)?;
    let InferRequest {
        id,
        parameters,
        inputs,
        outputs: requested,
    } = request;
    let inference = route
        .infer(Request {
            id: caller.request_id.clone(),
            priority: parameters.priority,
            queue_timeout: parameters.queue_timeout,
            ..Request::new(inputs, caller.deadline, caller.protocol)
        })
        .await?;
    let model = Arc::clone(route.model());
    let pending = recorder.and_then(|recorder| {
        recorder.compose(&Made {
            model: &model,
            inference: &inference,
            protocol: caller.protocol,
            request_id: caller.request_id.as_deref(),
            name: id.as_deref(),
            deadline: caller.deadline,
        })
    });
    let outputs = answer::select(&model, inference.outputs, &requested)?;
    if let Some(pending) = pending {
        pending.log().await?;
    }
    Ok(Answer { model, id, outputs })
}
