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
    in_flight: AtomicUsize,
    closed: [AtomicU64; Closed::ALL.len()],
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

/// A request that is being answered.
#[derive(Debug)]
pub struct InFlight(Arc<Traffic>);

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
        self.in_flight.load(Ordering::Acquire)
    }

    /// Counts a request as being answered until the returned guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
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

    pub(super) fn count_work(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_closed(&self, reason: Closed) {
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Every endpoint, in its order.
    pub const ALL: [Self; 10] = [
        Self::Predict,
        Self::Log,
        Self::Predictions,
        Self::Stats,
        Self::Models,
        Self::Infer,
        Self::V2,
        Self::V1Predict,
        Self::V1,
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
            Self::Models => "models",
            Self::Infer => "infer",
            Self::V2 => "v2",
            Self::V1Predict => "v1_predict",
            Self::V1 => "v1",
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
            _ => None,
        }
    }

    /// Tells whether its requests are for one model.
    #[must_use]
    pub fn is_for_models(self) -> bool {
        self.protocol().is_some()
    }

    /// Tells whether a server of that kind has it.
    #[must_use]
    pub fn is_in(self, state: &AppState) -> bool {
        match self {
            Self::Predict | Self::Infer | Self::V2 | Self::V1Predict | Self::V1 => {
                state.role().infers()
            }
            Self::Log | Self::Predictions | Self::Stats => state.predlog.is_some(),
            Self::Models | Self::Other => true,
        }
    }

    /// Tells whether it is what the server is there for.
    pub(super) fn is_work(self) -> bool {
        self == Self::Log || self.is_for_models()
    }
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
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
