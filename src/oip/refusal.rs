//! Why a request gets no answer, in terms that REST and gRPC each have a code for.
//!
//! Every error of a request ends here, wherever it came from: the serving path's, the engine's, the
//! codec's. So one request is refused for one reason, whichever way it came.

use std::fmt;
use std::time::Duration;

use impetus_actors::predlog::LogError;
use impetus_actors::serving::{Fault, ServeError};
use impetus_engine::{EngineError, TensorError};

use super::datatype;

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong in itself.
    Invalid,
    /// What it is for does not exist.
    NotFound,
    /// It asks for something that this server does not offer.
    Unsupported,
    /// It is larger than is allowed.
    TooLarge,
    /// Its content has killed a worker, and is not run again.
    Quarantined,
    /// As many requests wait already as may.
    Exhausted,
    /// It cannot be answered now.
    Unavailable,
    /// It was not answered in time.
    TimedOut,
    /// The model or the server failed.
    Failed,
}

/// A refusal: what kind, in which words, and when to ask again.
#[derive(Debug, Clone)]
pub struct Refusal {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
}

// === impl Kind ===

impl Kind {
    /// Every kind, in its order.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::NotFound,
        Self::Unsupported,
        Self::TooLarge,
        Self::Quarantined,
        Self::Exhausted,
        Self::Unavailable,
        Self::TimedOut,
        Self::Failed,
    ];

    /// Tells whether it is the client who has to change something.
    #[must_use]
    pub fn is_clients_fault(self) -> bool {
        matches!(
            self,
            Self::Invalid | Self::NotFound | Self::Unsupported | Self::TooLarge | Self::Quarantined
        )
    }
}

// === impl Refusal ===

impl Refusal {
    /// Makes a refusal.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The request is wrong in itself.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// What the request is for does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// The request asks for something that this server does not offer.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// The bytes given for a tensor are none of its type and shape.
    pub fn malformed(tensor: &str, error: &TensorError) -> Self {
        Self::invalid(format!("input {tensor:?}: {error}"))
    }

    /// Returns what kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what to tell the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns when to ask again, where that can be said.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<ServeError> for Refusal {
    fn from(error: ServeError) -> Self {
        let kind = match &error {
            ServeError::UnknownModel { .. } | ServeError::UnknownVersion { .. } => Kind::NotFound,
            ServeError::Quarantined { .. } => Kind::Quarantined,
            ServeError::QueueFull { .. } | ServeError::Shed { .. } => Kind::Exhausted,
            ServeError::DeadlineExceeded { .. } => Kind::TimedOut,
            ServeError::Engine(EngineError::InputTooLarge { .. }) => Kind::TooLarge,
            other => match (other.fault(), other.is_retryable()) {
                (Fault::Client, _) => Kind::Invalid,
                (Fault::Admission, _) | (Fault::Execution, true) => Kind::Unavailable,
                (Fault::Execution, false) => Kind::Failed,
            },
        };
        Self {
            kind,
            message: in_the_protocols_words(&error),
            retry_after: error.retry_after(),
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self {
            kind: Kind::Unavailable,
            message: error.to_string(),
            retry_after: Some(error.retry_after()),
        }
    }
}

/// Says what an error says, with the names that the protocol has for element types.
fn in_the_protocols_words(error: &ServeError) -> String {
    match error {
        ServeError::Engine(EngineError::WrongType {
            input,
            expected,
            got,
        }) => {
            let (expected, got) = (datatype::name(*expected), datatype::name(*got));
            format!("input {input} must be {expected}, got {got}")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_serving_path_is_of_the_kind_that_its_client_can_act_on() {
        let model = || "m".to_owned();
        for (error, kind) in [
            (ServeError::UnknownModel { name: model() }, Kind::NotFound),
            (ServeError::Unloaded { model: model() }, Kind::Unavailable),
            (
                ServeError::WorkerLost {
                    model: model(),
                    attempts: 2,
                },
                Kind::Unavailable,
            ),
            (
                EngineError::InputMissing { name: model() }.into(),
                Kind::Invalid,
            ),
            (
                EngineError::InputTooLarge { bytes: 2, cap: 1 }.into(),
                Kind::TooLarge,
            ),
            (EngineError::run_failed("no").into(), Kind::Failed),
        ] {
            let words = error.to_string();
            let refusal = Refusal::from(error);
            assert_eq!(refusal.kind(), kind, "{words}");
            assert_eq!(refusal.message(), words);
        }
        let later = Refusal::from(ServeError::Unloaded { model: model() });
        assert_eq!(later.retry_after(), Some(Duration::from_secs(1)));
    }
}
