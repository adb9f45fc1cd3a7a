//! Errors as clients see them: a status code, and a body that says what, why and what to do.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use impetus_actors::serving::{Fault, ServeError};
use impetus_engine::EngineError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::oip::{Kind, Refusal};

/// An answer that is not the one that was asked for.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
    details: Vec<Detail>,
}

/// One thing among several that are wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorDetail)]
pub struct Detail {
    /// Where it is.
    #[schema(example = "predictions[3].timestamp")]
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// An error on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Error, example = json!({"error": "no model named \"survace\" is served here", "code": "unknown_model"}))]
pub(super) struct Body<'a> {
    /// What is wrong, why, and what to do, for people.
    error: &'a str,
    /// What programs tell it by; it does not change.
    code: &'a str,
    /// Each of several things that are wrong.
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    details: &'a [Detail],
}

// === impl ApiError ===

impl ApiError {
    /// Makes an error; `code` is what programs tell it by.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
            details: Vec::new(),
        }
    }

    /// The request is wrong in itself.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The server is ending and takes no new work.
    pub fn ending() -> Self {
        let message = "the server is ending and takes no new work; another one does";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message)
            .retry_after(Duration::from_secs(1))
    }

    /// There is no actor of that name.
    pub fn unknown_actor(name: &str) -> Self {
        let message = format!("there is no actor named {name:?}; /api/health/status lists them");
        Self::new(StatusCode::NOT_FOUND, "unknown_actor", message)
    }

    /// Returns what programs tell it by.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Returns when to ask again, where that can be said.
    pub(super) fn asks_again_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Says when to ask again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Names everything that is wrong.
    #[must_use]
    pub fn with_details(mut self, details: Vec<Detail>) -> Self {
        self.details = details;
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        with_retry_after(HttpResponse::build(self.status), self.retry_after).json(Body {
            error: &self.message,
            code: self.code,
            details: &self.details,
        })
    }
}

impl From<ServeError> for ApiError {
    fn from(error: ServeError) -> Self {
        let (status, code) = match &error {
            ServeError::UnknownModel { .. } => (StatusCode::NOT_FOUND, "unknown_model"),
            ServeError::UnknownVersion { .. } => (StatusCode::NOT_FOUND, "unknown_version"),
            ServeError::OtherKind { .. } => (StatusCode::BAD_REQUEST, "other_kind"),
            ServeError::PromptTooLong { .. } => {
                (StatusCode::BAD_REQUEST, "context_length_exceeded")
            }
            ServeError::NoModel { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_model"),
            ServeError::NotReady { .. } => (StatusCode::SERVICE_UNAVAILABLE, "model_not_ready"),
            ServeError::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "queue_full"),
            ServeError::Shed { .. } => (StatusCode::TOO_MANY_REQUESTS, "shed"),
            // As Triton answers it: the server was not able to, and 504 is for those who waited for
            // an answer as long as they would.
            ServeError::QueueTimeout { .. } => (StatusCode::SERVICE_UNAVAILABLE, "queue_timeout"),
            ServeError::Quarantined { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "quarantined"),
            ServeError::Unloaded { .. } => (StatusCode::SERVICE_UNAVAILABLE, "model_unloaded"),
            ServeError::DeadlineExceeded { .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded")
            }
            ServeError::WorkerLost { .. } => (StatusCode::SERVICE_UNAVAILABLE, "worker_lost"),
            ServeError::Engine(engine) => (engine_status(&error), engine_code(engine)),
        };
        let retry_after = error.retry_after();
        let mut answer = Self::new(status, code, error.to_string());
        answer.retry_after = retry_after;
        answer
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.kind() {
            Kind::Invalid => "invalid",
            Kind::NotFound => "not_found",
            Kind::Unsupported => "unsupported",
            Kind::TooLarge => "too_large",
            Kind::Quarantined => "quarantined",
            Kind::Exhausted => "queue_full",
            Kind::Unavailable => "unavailable",
            Kind::TimedOut => "deadline_exceeded",
            Kind::Failed => "failed",
        };
        let mut answer = Self::new(status_of(refusal.kind()), code, refusal.message());
        answer.retry_after = refusal.retry_after();
        answer
    }
}

/// Returns the status code of a kind of refusal.
pub(super) fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid | Kind::Unsupported => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Quarantined => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Has an answer say when to ask again, where that can be said.
pub(super) fn with_retry_after(
    mut response: HttpResponseBuilder,
    after: Option<Duration>,
) -> HttpResponseBuilder {
    if let Some(after) = after {
        // Whole seconds, and never "at once".
        let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
        response.insert_header((header::RETRY_AFTER, HeaderValue::from(seconds)));
    }
    response
}

fn engine_status(error: &ServeError) -> StatusCode {
    match error.fault() {
        Fault::Client => StatusCode::BAD_REQUEST,
        Fault::Admission | Fault::Execution => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn engine_code(error: &EngineError) -> &'static str {
    match error {
        EngineError::InputMissing { .. } => "input_missing",
        EngineError::InputTooLarge { .. } => "input_too_large",
        EngineError::InputUnknown { .. } => "input_unknown",
        EngineError::WrongType { .. } => "wrong_type",
        EngineError::WrongShape { .. } => "wrong_shape",
        EngineError::RunFailed { .. } => "run_failed",
        EngineError::OutOfMemory { .. } => "out_of_memory",
        EngineError::OutputTooLarge { .. } => "output_too_large",
        _ => "engine_failed",
    }
}
