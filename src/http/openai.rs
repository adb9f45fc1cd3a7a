//! `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`, as OpenAI's clients ask for them.
//!
//! What the protocol means is in [`openai`](crate::openai); here is where it says it, and with which status codes.
//! Everything is there under `/openai/v1` as well, where some gateways look for it. Every answer that is not 200 is
//! `{"error": {"message", "type", "param", "code"}}`, because that is what the clients read.
//!
//! **Whole or streamed, a request ends with its last token**: it counts as being answered until then, and is measured
//! until then. A client that goes takes its sequences with it: the handler, or the body that is being sent, holds
//! them, and is dropped when the connection ends.

mod ask;
mod chat;
mod completions;
mod embeddings;
mod error;
mod models;
mod sse;

use actix_web::http::StatusCode;
use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, web};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::Endpoint;
use super::measuring::measure;
use super::openapi::{also_under, refusals::Row};
pub(super) use error::{OpenAiError, refusals_of};
pub(super) use models::ModelRefusals;

/// Where everything is a second time.
pub(super) const PREFIX: &str = "/openai";

#[derive(OpenApi)]
#[openapi(
    paths(chat::chat, completions::completions, embeddings::embeddings),
    components(schemas(error::Body, crate::openai::answer::ChatChunk))
)]
struct Api;

/// What is answered instead of text.
const REFUSALS: [Row; 13] = [
    (
        400,
        &[
            "invalid_value",
            "invalid_type",
            "missing_required_parameter",
            "unsupported_value",
        ],
        "a field has a value that is not possible; `param` names it",
    ),
    (
        400,
        &[
            "invalid_json",
            "bad_body",
            "invalid_messages",
            "invalid_request",
        ],
        "the body or the conversation cannot be read; the message says where or why",
    ),
    (
        400,
        &["context_length_exceeded"],
        "the prompt has more tokens than there is room for",
    ),
    (
        400,
        &["no_chat_template", "wrong_kind_of_model"],
        "the model cannot be asked so",
    ),
    (404, &["model_not_found"], "no model of that name"),
    (408, &["body_timeout"], "the body did not come in time"),
    (413, &["too_large"], "more than `http.max_body` bytes"),
    (
        415,
        &["unsupported_encoding"],
        "compressed in another way than `gzip` or `deflate`",
    ),
    (
        422,
        &["quarantined"],
        "this very content has killed a worker that had nothing else; it is refused for a while",
    ),
    (429, &["queue_full"], "as many requests wait already as may"),
    (
        500,
        &[
            "failed",
            "out_of_memory",
            "template_failed",
            "tokenizer_failed",
        ],
        "the model ran and failed",
    ),
    (
        503,
        &[
            "no_model",
            "model_not_ready",
            "model_unloaded",
            "worker_lost",
            "draining",
            "overloaded",
        ],
        "it cannot answer now; the message says why",
    ),
    (
        504,
        &["deadline_exceeded"],
        "no end within `generation.timeout`",
    ),
];

refusals_of! { TextRefusals: REFUSALS }

/// Returns what is answered here, for the document.
pub(super) fn api() -> Document {
    let mut api = Api::openapi();
    also_under(PREFIX, &mut api);
    api
}

/// Returns what is there a second time for the sake of OpenAI's clients.
pub(super) fn models_api() -> Document {
    let mut api = models::Api::openapi();
    also_under(PREFIX, &mut api);
    api.paths.paths.retain(|path, _| path.starts_with(PREFIX));
    api
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    for prefix in ["", PREFIX] {
        post(
            config,
            format!("{prefix}/v1/chat/completions"),
            Endpoint::Chat,
            chat::chat,
        );
        post(
            config,
            format!("{prefix}/v1/completions"),
            Endpoint::Completions,
            completions::completions,
        );
        post(
            config,
            format!("{prefix}/v1/embeddings"),
            Endpoint::Embeddings,
            embeddings::embeddings,
        );
    }
    models::routes(config);
}

fn post<F, Args>(config: &mut web::ServiceConfig, path: String, endpoint: Endpoint, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let resource = web::resource(path)
        .wrap(from_fn(move |request, next| {
            measure(endpoint, request, next)
        }))
        .route(web::post().to(handler))
        .default_service(web::to(only_post));
    config.service(resource);
}

async fn only_post(request: HttpRequest) -> HttpResponse {
    other_method(&request, "POST")
}

/// Answers a request with another method than the one there is.
fn other_method(request: &HttpRequest, method: &'static str) -> HttpResponse {
    let message = format!("{} takes {method} only", request.path());
    let error = OpenAiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    );
    let mut response = actix_web::ResponseError::error_response(&error);
    let method = actix_web::http::header::HeaderValue::from_static(method);
    response.headers_mut().insert(ALLOW, method);
    response
}
