//! Why a request for text gets no answer, or not all of one.
//!
//! OpenAI's clients read four things: a message for people, a code for programs, the name of the field that is
//! to blame, and a type that follows from the status code. So a refusal here has a field and a code beside what
//! every refusal has.

use std::fmt;
use std::time::Duration;

use impetus_actors::serving::ServeError;
use impetus_engine::EngineError;
use impetus_text::{TemplateError, TextError};

use crate::oip;
use crate::oip::Kind;

/// A refusal: what kind, in which words, for which field, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    kind: Kind,
    code: &'static str,
    message: String,
    param: Option<String>,
    retry_after: Option<Duration>,
}

/// The code of a field with a value that is not possible.
const INVALID_VALUE: &str = "invalid_value";
/// The code of a prompt for which there is no room.
const TOO_LONG: &str = "context_length_exceeded";
/// The code of what the engine refuses.
const NOT_TO_BE_DONE: &str = "invalid_request";

// === impl Refusal ===

impl Refusal {
    /// Makes a refusal; `code` is what programs tell it by.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    /// A field has a value that is not possible.
    pub fn invalid(param: impl Into<String>, message: impl fmt::Display) -> Self {
        let param = param.into();
        let message = format!("`{param}` {message}");
        Self::new(Kind::Invalid, INVALID_VALUE, message).of(param)
    }

    /// There is no room for a prompt.
    pub(super) fn too_long(message: String) -> Self {
        Self::new(Kind::Invalid, TOO_LONG, message)
    }

    /// A field asks for something that this server does not offer.
    pub fn unsupported(param: impl Into<String>, message: impl fmt::Display) -> Self {
        let param = param.into();
        let message = format!("`{param}` {message}");
        Self::new(Kind::Unsupported, "unsupported_value", message).of(param)
    }

    /// Names the field that is to blame.
    #[must_use]
    pub fn of(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Names the field that is to blame, of those that only the serving path can judge: the one with the prompt for a
    /// prompt that is too long, and the one that says what the answer must conform to for what no answer can.
    #[must_use]
    pub fn of_one(self, prompt: &str, structure: Option<&str>) -> Self {
        match (self.code, structure) {
            (TOO_LONG, _) => self.of(prompt),
            (NOT_TO_BE_DONE, Some(structure)) => self.of(structure),
            _ => self,
        }
    }

    /// Says when to ask again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Returns what kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what programs tell it by.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns what to tell people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the field that is to blame, if one is.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// Returns when to ask again, where that can be said.
    #[must_use]
    pub fn asks_again_after(&self) -> Option<Duration> {
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
        let (code, param) = match &error {
            ServeError::UnknownModel { .. } => ("model_not_found", Some("model")),
            ServeError::OtherKind { .. } => ("wrong_kind_of_model", Some("model")),
            ServeError::PromptTooLong { .. } => (TOO_LONG, None),
            ServeError::NoModel { .. } => ("no_model", None),
            ServeError::NotReady { .. } => ("model_not_ready", None),
            ServeError::QueueFull { .. } => ("queue_full", None),
            ServeError::Shed { .. } => ("shed", None),
            ServeError::QueueTimeout { .. } => ("queue_timeout", None),
            ServeError::Quarantined { .. } => ("quarantined", None),
            ServeError::Unloaded { .. } => ("model_unloaded", None),
            ServeError::DeadlineExceeded { .. } => ("deadline_exceeded", None),
            ServeError::WorkerLost { .. } => ("worker_lost", None),
            ServeError::Engine(EngineError::OutOfMemory { .. }) => ("out_of_memory", None),
            _ => ("failed", None),
        };
        let refusal = oip::Refusal::from(error);
        // What the engine refuses of a request that got as far is what it was asked to conform to.
        let code = match (refusal.kind(), code) {
            (Kind::Invalid, "failed") => NOT_TO_BE_DONE,
            (_, code) => code,
        };
        Self {
            kind: refusal.kind(),
            code,
            message: refusal.message().to_owned(),
            param: param.map(str::to_owned),
            retry_after: refusal.retry_after(),
        }
    }
}

impl From<TemplateError> for Refusal {
    fn from(error: TemplateError) -> Self {
        let message = error.to_string();
        match error.is_clients_fault() {
            true => Self::new(Kind::Invalid, "invalid_messages", message).of("messages"),
            false => Self::new(Kind::Failed, "template_failed", message),
        }
    }
}

impl From<TextError> for Refusal {
    fn from(error: TextError) -> Self {
        Self::new(Kind::Failed, "tokenizer_failed", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_serving_path_refuses_has_the_code_and_the_field_that_clients_look_for() {
        let model = || "m".to_owned();
        let unknown = Refusal::from(ServeError::UnknownModel { name: model() });
        assert_eq!(unknown.kind(), Kind::NotFound);
        assert_eq!(
            (unknown.code(), unknown.param()),
            ("model_not_found", Some("model"))
        );
        let long = Refusal::from(ServeError::PromptTooLong {
            model: model(),
            tokens: 5000,
            room: 4096,
        });
        assert_eq!(long.kind(), Kind::Invalid);
        assert!(long.message().contains("5000") && long.message().contains("4096"));
        let long = long.of_one("messages", None);
        assert_eq!(
            (long.code(), long.param()),
            ("context_length_exceeded", Some("messages"))
        );
        let full = Refusal::from(ServeError::QueueFull {
            model: model(),
            waiting: 8,
            retry_after: Duration::from_secs(2),
        });
        assert_eq!(full.kind(), Kind::Exhausted);
        assert_eq!(full.asks_again_after(), Some(Duration::from_secs(2)));
        assert_eq!(full.of_one("messages", Some("regex")).param(), None);
        let grammar = Refusal::from(ServeError::Engine(EngineError::InputMissing {
            name: model(),
        }));
        let grammar = grammar.of_one("messages", Some("regex"));
        assert_eq!(
            (grammar.code(), grammar.param()),
            ("invalid_request", Some("regex"))
        );
    }
}
