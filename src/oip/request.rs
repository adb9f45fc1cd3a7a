//! What a request to infer asks.
//!
//! It is the same over REST and gRPC. What a parameter means to the serving path is decided here;
//! parameters that nobody here knows are ignored, as Triton passes them to its models unread.

use std::time::Duration;

use impetus_actors::serving::Priority;
use impetus_engine::Tensor;

/// A request to infer; for which model it is has been told before.
#[derive(Debug, Default)]
pub struct InferRequest {
    /// The id that the client gave it; comes back in the answer.
    pub id: Option<String>,
    /// What is asked beside the tensors.
    pub parameters: Parameters,
    /// The inputs, each with its batch dimension first.
    pub inputs: Vec<Tensor>,
    /// The outputs that are asked for; all of them when there is none.
    pub outputs: Vec<RequestedOutput>,
}

/// What is asked of the request as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters {
    /// How urgent it is; `None` leaves that to the model.
    pub priority: Option<Priority>,
    /// How long it may wait for a worker; `None` leaves that to the model.
    pub queue_timeout: Option<Duration>,
    /// Whether outputs that say nothing else come back in binary. REST's alone.
    pub binary_data_output: bool,
}

/// An output that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// So many of its highest values are wanted instead of all of it; 0 for all of it.
    pub classification: usize,
    /// Whether it is to come back in binary; `None` when that was not said. REST's alone.
    pub binary_data: Option<bool>,
}

/// Returns what the parameter `priority` means: 1 is high and 2 is normal. Anything else is as the
/// model has it, which is how Triton takes levels that a model does not have.
#[must_use]
pub fn priority(level: u64) -> Option<Priority> {
    match level {
        1 => Some(Priority::High),
        2 => Some(Priority::Normal),
        _ => None,
    }
}

/// Returns what the parameter `timeout`, in microseconds, means; 0 is as the model has it.
#[must_use]
pub fn queue_timeout(micros: u64) -> Option<Duration> {
    (micros > 0).then(|| Duration::from_micros(micros))
}

// === impl RequestedOutput ===

impl RequestedOutput {
    /// An output as it is.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}
