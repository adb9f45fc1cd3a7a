//! Errors as OpenAI's clients read them.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use impetus_actors::serving::ServeError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::{ApiError, status_of, with_retry_after};
use crate::openai::Refusal;

/// An answer that is not the one that was asked for.
#[derive(Debug)]
pub(in crate::http) struct OpenAiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    retry_after: Option<Duration>,
}

/// An error on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiError)]
pub(super) struct Body<'a> {
    error: Told<'a>,
}

/// What is wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiErrorBody)]
struct Told<'a> {
    /// What is wrong, why, and what to do, for people.
    message: &'a str,
    /// The class of it.
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    kind: &'static str,
    /// The field that is to blame, if one is.
    param: Option<&'a str>,
    /// What programs tell it by; it does not change.
    code: &'static str,
}

/// Makes a type that stands for refusals in OpenAI's form among the `responses` of an operation.
macro_rules! refusals_of {
    ($name:ident: $rows:ident) => {
        pub(in crate::http) enum $name {}

        impl ::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<
                String,
                ::utoipa::openapi::RefOr<::utoipa::openapi::Response>,
            > {
                $crate::http::openapi::refusals::responses_in(
                    &$rows,
                    "OpenAiError",
                    $crate::http::openai::OpenAiError::example,
                )
            }
        }
    };
}
pub(in crate::http) use refusals_of;

// === impl OpenAiError ===

impl OpenAiError {
    /// Makes an error; `code` is what programs tell it by.
    pub(in crate::http) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    /// Returns the error as it goes over the wire.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.body()).expect("every part of it has text for keys")
    }

    /// Returns an example for the document.
    pub(in crate::http) fn example(status: u16, code: &str, why: &str) -> serde_json::Value {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        serde_json::json!({"error": {"message": why, "type": kind(status), "param": null, "code": code}})
    }

    fn body(&self) -> Body<'_> {
        Body {
            error: Told {
                message: &self.message,
                kind: kind(self.status),
                param: self.param.as_deref(),
                code: self.code,
            },
        }
    }
}

/// Returns the class of an error, which OpenAI's clients know by the status as well.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

impl fmt::Display for OpenAiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for OpenAiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        with_retry_after(HttpResponse::build(self.status), self.retry_after).json(self.body())
    }
}

impl From<Refusal> for OpenAiError {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: status_of(refusal.kind()),
            code: refusal.code(),
            message: refusal.message().to_owned(),
            param: refusal.param().map(str::to_owned),
            retry_after: refusal.asks_again_after(),
        }
    }
}

impl From<ServeError> for OpenAiError {
    fn from(error: ServeError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> Self {
        Self {
            status: error.status_code(),
            code: error.code(),
            message: error.to_string(),
            param: None,
            retry_after: error.asks_again_after(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn wire(error: OpenAiError) -> (u16, Option<String>, Value) {
        let response = error.error_response();
        let retry = response.headers().get("retry-after");
        let retry = retry.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        (status, retry, serde_json::from_slice(&body).unwrap())
    }

    #[actix_web::test]
    async fn every_error_has_the_four_parts_that_clients_read() {
        let invalid = Refusal::invalid("temperature", "must be 0 to 2, not 3");
        assert_eq!(
            wire(invalid.into()).await,
            (
                400,
                None,
                json!({"error": {
                    "message": "`temperature` must be 0 to 2, not 3", "type": "invalid_request_error",
                    "param": "temperature", "code": "invalid_value",
                }})
            )
        );
        let full = ServeError::QueueFull {
            model: "m".to_owned(),
            waiting: 4,
            retry_after: Duration::from_millis(1500),
        };
        let (status, retry, body) = wire(full.into()).await;
        assert_eq!((status, retry.as_deref()), (429, Some("2")));
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["error"]["code"], "queue_full");
        let (status, retry, body) = wire(ApiError::ending().into()).await;
        assert_eq!((status, retry.as_deref()), (503, Some("1")));
        assert_eq!(body["error"]["type"], "server_error");
        assert_eq!(body["error"]["param"], Value::Null);
    }
}
