//! What has come in and how long it took: written on the path of every request, read by whoever
//! scrapes, and neither waits for the other.
//!
//! A request has an endpoint once it has been routed, and a model once one has been found for it.
//! Both are places in memory and no words, so nothing is looked up, allocated or locked to count
//! it, and nothing that a client sent decides how many places there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use impetus_actors::serving::{AnswerTimes, Protocol};

use super::AppState;

/// Work requests: how many there were, how many are being answered, how long that took, and how many
/// connections were closed on clients that were too slow.
#[derive(Debug, Default)]
pub struct Traffic {
    total: AtomicU64,
    in_flight: [AtomicUsize; 2],
    closed: [AtomicU64; Closed::ALL.len()],
    grpc_connections: AtomicUsize,
    grpc_refused: AtomicU64,
    times: [AnswerTimes; Endpoint::ALL.len()],
}

/// Where a request was routed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /predict`.
    Predict,
    /// `POST /log`.
    Log,
    /// `GET /predictions`.
    Predictions,
    /// `GET /stats`.
    Stats,
    /// `GET /export`.
    Export,
    /// `GET /api/models/list`.
    Models,
    /// `POST /v2/models/{model}/infer`.
    Infer,
    /// Anything else below `/v2`, but for its probes.
    V2,
    /// `POST /v1/models/{model}:predict`.
    V1Predict,
    /// `GET /v1/models`.
    V1,
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `ModelInfer` over gRPC, or one request of `ModelStreamInfer`.
    GrpcInfer,
    /// Any other call of the inference service over gRPC.
    Grpc,
    /// Nothing is there.
    Other,
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The body of a request did not come in time.
    BodyTimeout,
    /// The answer was not taken in time.
    WriteTimeout,
}

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The main port.
    Http,
    /// The port for gRPC.
    Grpc,
}

/// A request that is being answered.
#[derive(Debug)]
pub struct InFlight(Arc<Traffic>, Port);

// === impl Traffic ===

impl Traffic {
    /// Returns how many work requests have come in since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns how many requests of any kind are being answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        Port::ALL.map(|port| self.in_flight_over(port)).iter().sum()
    }

    /// Returns how many requests that came in there are being answered.
    #[must_use]
    pub fn in_flight_over(&self, port: Port) -> usize {
        self.in_flight[port as usize].load(Ordering::Acquire)
    }

    /// Counts a request as being answered until the returned guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, port: Port) -> InFlight {
        self.in_flight[port as usize].fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self), port)
    }

    /// Returns how many connections were closed for a reason.
    #[must_use]
    pub fn closed(&self, reason: Closed) -> u64 {
        self.closed[reason as usize].load(Ordering::Relaxed)
    }

    /// Returns how long answers took to requests for which no model was found, or needed.
    #[must_use]
    pub fn times(&self, endpoint: Endpoint) -> &AnswerTimes {
        &self.times[endpoint as usize]
    }

    /// Returns how many connections for gRPC are open.
    #[must_use]
    pub fn grpc_connections(&self) -> usize {
        self.grpc_connections.load(Ordering::Acquire)
    }

    /// Returns how many connections for gRPC were refused, because as many were open as may.
    #[must_use]
    pub fn grpc_refused(&self) -> u64 {
        self.grpc_refused.load(Ordering::Relaxed)
    }

    /// Counts a connection for gRPC and returns how many there were before.
    pub(crate) fn grpc_opened(&self) -> usize {
        self.grpc_connections.fetch_add(1, Ordering::AcqRel)
    }

    pub(crate) fn grpc_ended(&self) {
        self.grpc_connections.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn count_grpc_refused(&self) {
        self.grpc_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_work(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_closed(&self, reason: Closed) {
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Every endpoint, in its order.
    pub const ALL: [Self; 16] = [
        Self::Predict,
        Self::Log,
        Self::Predictions,
        Self::Stats,
        Self::Export,
        Self::Models,
        Self::Infer,
        Self::V2,
        Self::V1Predict,
        Self::V1,
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::GrpcInfer,
        Self::Grpc,
        Self::Other,
    ];

    /// Returns the endpoint as metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Log => "log",
            Self::Predictions => "predictions",
            Self::Stats => "stats",
            Self::Export => "export",
            Self::Models => "models",
            Self::Infer => "infer",
            Self::V2 => "v2",
            Self::V1Predict => "v1_predict",
            Self::V1 => "v1",
            Self::Chat => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::GrpcInfer => "grpc_infer",
            Self::Grpc => "grpc",
            Self::Other => "other",
        }
    }

    /// Returns how its requests come in, if they are for one model each.
    #[must_use]
    pub fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Predict => Some(Protocol::Predict),
            Self::Infer => Some(Protocol::V2Rest),
            Self::V1Predict => Some(Protocol::V1Rest),
            Self::Chat => Some(Protocol::Chat),
            Self::Completions => Some(Protocol::Completions),
            Self::Embeddings => Some(Protocol::Embeddings),
            Self::GrpcInfer => Some(Protocol::V2Grpc),
            _ => None,
        }
    }

    /// Tells whether its requests are for one model.
    #[must_use]
    pub fn is_for_models(self) -> bool {
        self.protocol().is_some()
    }

    /// Tells whether its errors are such as OpenAI's clients read.
    pub(super) fn is_openais(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Embeddings)
    }

    /// Tells whether a server of that kind has it.
    #[must_use]
    pub fn is_in(self, state: &AppState) -> bool {
        match self {
            Self::Predict
            | Self::Infer
            | Self::V2
            | Self::V1Predict
            | Self::V1
            | Self::Chat
            | Self::Completions
            | Self::Embeddings => state.role().infers(),
            Self::GrpcInfer | Self::Grpc => state.role().infers() && state.config.grpc.port != 0,
            Self::Log | Self::Predictions | Self::Stats | Self::Export => state.role().logs(),
            Self::Models | Self::Other => true,
        }
    }

    /// Tells whether it is what the server is there for.
    pub(crate) fn is_work(self) -> bool {
        self == Self::Log || self.is_for_models()
    }
}

// === impl Port ===

impl Port {
    /// Every one, in its order.
    pub const ALL: [Self; 2] = [Self::Http, Self::Grpc];
}

// === impl Closed ===

impl Closed {
    /// Every reason, in its order.
    pub const ALL: [Self; 2] = [Self::BodyTimeout, Self::WriteTimeout];

    /// Returns the reason as metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BodyTimeout => "body_timeout",
            Self::WriteTimeout => "write_timeout",
        }
    }
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight[self.1 as usize].fetch_sub(1, Ordering::AcqRel);
    }
}
