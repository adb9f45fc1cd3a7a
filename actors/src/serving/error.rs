//! What can go wrong between admission and answer.
//!
//! The error says whose fault it is and whether the same request may succeed later. Status codes
//! are the edge's business.

use std::time::Duration;

use impetus_engine::{EngineError, Fault as EngineFault};
use thiserror::Error;

use super::quarantine::{Fingerprint, Quarantined};
use super::{ModelKind, ModelState};

/// Whose doing an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request itself is wrong; sending it again changes nothing.
    Client,
    /// The server refuses work for now; nothing was executed.
    Admission,
    /// Execution was tried and failed.
    Execution,
}

/// Why a request got no prediction.
#[derive(Debug, Clone, Error)]
pub enum ServeError {
    /// No model of that name is known.
    #[error("no model named {name:?} is served here")]
    UnknownModel {
        /// The name that was asked for.
        name: String,
    },
    /// The model is known, but not in that version.
    #[error("model {name:?} is not served here in version {version:?}, but in: {}", .there_are.join(", "))]
    UnknownVersion {
        /// Name of the model.
        name: String,
        /// The version that was asked for.
        version: String,
        /// The versions that may be asked for.
        there_are: Vec<String>,
    },
    /// No model is configured at all, or none was named and there are several.
    #[error("{reason}")]
    NoModel {
        /// What to do about it.
        reason: String,
    },
    /// The model cannot answer now.
    #[error("model {model:?} is {state}: {reason}")]
    NotReady {
        /// Name of the model.
        model: String,
        /// The state it is in.
        state: ModelState,
        /// Why, in words.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// As many requests wait for this model as may.
    #[error("{waiting} requests wait for model {model:?} already, which is its limit")]
    QueueFull {
        /// Name of the model.
        model: String,
        /// The queue's capacity in requests.
        waiting: usize,
        /// When to ask again.
        retry_after: Duration,
    },
    /// No worker took the request within the time that it may wait for one.
    #[error("no worker of model {model:?} took the request within {} ms, as long as it may wait", .within.as_millis())]
    QueueTimeout {
        /// Name of the model.
        model: String,
        /// How long it may wait.
        within: Duration,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The request made room for one that came later.
    #[error("the queue of model {model:?} was full, and this request had waited longest")]
    Shed {
        /// Name of the model.
        model: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The answer did not come within the request's deadline.
    #[error("no answer from model {model:?} within {}", seconds(.within))]
    DeadlineExceeded {
        /// Name of the model.
        model: String,
        /// The deadline that passed.
        within: Duration,
    },
    /// Every worker that was given the request was lost with it.
    #[error("model {model:?} lost its worker {attempts} times while it ran this request")]
    WorkerLost {
        /// Name of the model.
        model: String,
        /// How often it was sent.
        attempts: u32,
    },
    /// The request has killed the worker it was alone with, and is not run again.
    #[error(
        "this request is quarantined as {fingerprint}: a worker of model {model:?} was lost while it ran it \
         alone ({cause}); the same content is refused for {} more, or until an operator clears it",
        seconds(.expires_in)
    )]
    Quarantined {
        /// Name of the model.
        model: String,
        /// What the request is known by.
        fingerprint: Fingerprint,
        /// How the worker was lost.
        cause: String,
        /// For how much longer it is refused.
        expires_in: Duration,
    },
    /// The model is there for something else.
    #[error("model {model:?} {kind}; it is asked by {}", .kind.asked_by())]
    OtherKind {
        /// Name of the model.
        model: String,
        /// What it is for.
        kind: ModelKind,
    },
    /// A prompt has no tokens, or more than there is room for with at least one of the answer.
    #[error(
        "the prompt has {tokens} tokens, and model {model:?} has room for {room}, of which the answer \
         needs at least one"
    )]
    PromptTooLong {
        /// Name of the model.
        model: String,
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that prompt and answer may have together.
        room: usize,
    },
    /// The model was taken out of service while the request waited.
    #[error("model {model:?} was unloaded while the request waited")]
    Unloaded {
        /// Name of the model.
        model: String,
    },
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

// === impl ServeError ===

impl ServeError {
    /// Tells whose doing it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::OtherKind { .. }
            | Self::PromptTooLong { .. }
            | Self::Quarantined { .. } => Fault::Client,
            Self::NoModel { .. }
            | Self::NotReady { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Shed { .. }
            | Self::Unloaded { .. } => Fault::Admission,
            Self::DeadlineExceeded { .. } | Self::WorkerLost { .. } => Fault::Execution,
            Self::Engine(error) => match error.fault() {
                EngineFault::Client => Fault::Client,
                EngineFault::Worker | EngineFault::Internal => Fault::Execution,
            },
        }
    }

    /// Tells whether the same request may succeed when it is sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::OtherKind { .. }
            | Self::PromptTooLong { .. }
            | Self::Quarantined { .. } => false,
            Self::Engine(error) => error.is_retryable(),
            _ => true,
        }
    }

    /// Returns when to ask again, where that can be said.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotReady { retry_after, .. }
            | Self::QueueFull { retry_after, .. }
            | Self::QueueTimeout { retry_after, .. }
            | Self::Shed { retry_after, .. } => Some(*retry_after),
            Self::NoModel { .. } | Self::Unloaded { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl From<Quarantined> for ServeError {
    fn from(entry: Quarantined) -> Self {
        Self::Quarantined {
            model: entry.model,
            fingerprint: entry.fingerprint,
            cause: entry.reason,
            expires_in: Duration::from_secs_f64(entry.expires_in_seconds),
        }
    }
}

fn seconds(duration: &Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
