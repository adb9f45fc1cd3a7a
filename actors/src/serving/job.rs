//! A request on its way, and the answer to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_engine::Tensor;
use tokio::sync::oneshot;

use super::batching::Terms;
use super::occupancy::Pass;
use super::{Priority, Protocol, ServeError};

/// What a caller hands in: the inputs of one request, each with its batch dimension first.
#[derive(Debug)]
pub struct Request {
    /// The input tensors; all have the same first dimension when the model batches.
    pub inputs: Vec<Tensor>,
    /// Monotonic time by which nobody waits for the answer any more.
    pub deadline: Instant,
    /// The id under which the caller and the log know it, if it has one.
    pub id: Option<Arc<str>>,
    /// How it came in.
    pub protocol: Protocol,
    /// How urgent it is; `None` leaves that to the model.
    pub priority: Option<Priority>,
    /// How long it may wait for a worker, where its caller says less than its deadline does.
    pub queue_timeout: Option<Duration>,
}

/// What comes back for one request.
#[derive(Debug)]
pub struct Inference {
    /// The model's outputs, each cut down to this request's rows.
    pub outputs: Vec<Tensor>,
    /// Time the engine spent on the batch this request was part of, in microseconds.
    pub run_micros: u64,
    /// Time the request waited before it was sent, in microseconds.
    pub queue_micros: u64,
    /// How many requests shared the batch.
    pub batch: usize,
    /// How often the request was sent before it was answered; 1 when nothing went wrong.
    pub attempts: u32,
}

/// A request inside the serving path.
#[derive(Debug)]
pub(super) struct Job {
    /// Shared with the link's writer, which may still hold them when the answer arrives.
    pub(super) inputs: Arc<Vec<Tensor>>,
    pub(super) rows: usize,
    /// The same for all that may share a batch with it, and seldom for others.
    pub(super) shape: u64,
    pub(super) priority: Priority,
    pub(super) enqueued: Instant,
    pub(super) deadline: Instant,
    pub(super) id: Option<Arc<str>>,
    /// Workers that were lost by their own doing while they ran this request.
    pub(super) losses: u32,
    /// Workers that were lost otherwise while they ran it.
    pub(super) accidents: u32,
    /// Never shares a batch again: it was part of one that was lost or that failed.
    pub(super) alone: bool,
    pub(super) protocol: Protocol,
    /// What it asked for itself, for another model to heed.
    asked: (Option<Priority>, Option<Duration>),
    /// Keeps the model it is in from ending.
    _pass: Pass,
    pub(super) reply: oneshot::Sender<Result<Inference, ServeError>>,
}

// === impl Request ===

impl Request {
    /// Makes a request that says nothing beyond its inputs.
    #[must_use]
    pub fn new(inputs: Vec<Tensor>, deadline: Instant, protocol: Protocol) -> Self {
        Self {
            inputs,
            deadline,
            id: None,
            protocol,
            priority: None,
            queue_timeout: None,
        }
    }
}

// === impl Job ===

impl Job {
    pub(super) fn new(
        request: Request,
        rows: usize,
        terms: Terms,
        pass: Pass,
    ) -> (Self, oneshot::Receiver<Result<Inference, ServeError>>) {
        let (reply, answer) = oneshot::channel();
        let job = Self {
            shape: shape_of(&request.inputs),
            inputs: Arc::new(request.inputs),
            rows,
            priority: terms.priority,
            enqueued: terms.since,
            deadline: request.deadline,
            id: request.id,
            losses: 0,
            accidents: 0,
            alone: false,
            protocol: request.protocol,
            asked: (request.priority, request.queue_timeout),
            _pass: pass,
            reply,
        };
        (job, answer)
    }

    /// Returns what the caller had handed in, of a job that never came anywhere.
    pub(super) fn into_request(self) -> Request {
        let (priority, queue_timeout) = self.asked;
        Request {
            inputs: Arc::try_unwrap(self.inputs).unwrap_or_else(|shared| (*shared).clone()),
            deadline: self.deadline,
            id: self.id,
            protocol: self.protocol,
            priority,
            queue_timeout,
        }
    }

    /// Returns its id, if it has one.
    pub(super) fn id(&self) -> Option<String> {
        self.id.as_deref().map(str::to_owned)
    }

    /// Tells whether a worker has been lost while it ran this.
    pub(super) fn is_suspect(&self) -> bool {
        self.losses + self.accidents > 0
    }

    /// Returns how often it has been sent, the present time included.
    pub(super) fn attempts(&self) -> u32 {
        self.losses + self.accidents + 1
    }

    /// Tells whether anybody still waits for the answer.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        !self.reply.is_closed() && now < self.deadline
    }

    /// Tells whether `other` may run in one batch with this one: same inputs, same shapes behind
    /// the batch dimension. Shapes are never padded.
    pub(super) fn stacks_with(&self, other: &Self) -> bool {
        !self.alone
            && !other.alone
            && self.inputs.len() == other.inputs.len()
            && self.inputs.iter().zip(other.inputs.iter()).all(|(a, b)| {
                a.name() == b.name()
                    && a.dtype() == b.dtype()
                    && a.shape().len() == b.shape().len()
                    && a.shape().iter().skip(1).eq(b.shape().iter().skip(1))
            })
    }
}

/// Returns what stands for the names, the types and the shapes behind the batch dimension of inputs.
fn shape_of(inputs: &[Tensor]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        input.name().hash(&mut hasher);
        input.dtype().hash(&mut hasher);
        input.shape().get(1..).hash(&mut hasher);
    }
    hasher.finish()
}
