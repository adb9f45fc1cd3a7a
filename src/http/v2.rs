//! `/v2`: the Open Inference Protocol over HTTP, as Triton Inference Server speaks it.
//!
//! What the protocol means is in [`oip`](crate::oip); here is where it says it, and with which status
//! codes. Every answer that is not 200 is `{"error": "…"}`, because that is what its clients read, also
//! where nothing is and where something is that takes another method.
//!
//! What the protocol has and this server does not (shared memory, settings of tracing and logging
//! while it runs) is answered with an error that says so.

mod absent;
mod infer;
mod metadata;
mod repository;
mod schema;

use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::OpenApi;

use super::Endpoint;
use super::measuring::measure;
use super::openapi::refusals::refusals;

#[cfg(test)]
pub(super) use absent::PLACES;
pub(super) use metadata::usable;

refusals! {
    /// What is answered instead of a description.
    AskedRefusals:
    (404, ["not_found", "unknown_model", "unknown_version"], "no model of that name, or no such version"),
    (503, ["unavailable", "model_not_ready"], "it cannot answer now; the message says why"),
}

refusals! {
    /// What is answered instead of outputs.
    InferRefusals:
    (400, ["invalid", "unsupported", "bad_body"], "the request is not what the model takes, or cannot be read; the message names the place"),
    (404, ["not_found"], "no model of that name, or no such version"),
    (408, ["body_timeout"], "the body did not come in time"),
    (413, ["too_large"], "more than `http.max_body` bytes, compressed or not"),
    (415, ["unsupported_encoding"], "compressed in another way than `gzip` or `deflate`"),
    (422, ["quarantined"], "this very content has killed a worker that had nothing else; it is refused for a while"),
    (429, ["queue_full"], "as many requests wait already as may"),
    (500, ["failed"], "the model ran and failed"),
    (503, ["unavailable", "overloaded"], "it cannot answer now; the message says why"),
    (503, ["draining"], "the server is ending and the connection is a new one; another server takes it"),
    (504, ["deadline_exceeded"], "no answer within `http.request_timeout`"),
}

refusals! {
    /// What is answered to an order that is not carried out.
    OrderRefusals:
    (400, ["invalid", "unsupported", "bad_body"], "the body cannot be read, or has a parameter that is not supported"),
    (403, ["not_local"], "the caller is not on this machine, and `models.control` lets nobody else"),
    (404, ["unknown_model", "no_models"], "the folder has no model of that name, or this process serves none"),
    (408, ["body_timeout"], "the body did not come in time"),
    (413, ["too_large"], "more than `http.max_body` bytes"),
    (422, ["not_loaded"], "the model cannot be loaded; the message says why"),
    (503, ["source_unavailable", "not_now"], "the folder cannot be read, or the server cannot take the order now"),
    (504, ["not_yet"], "it goes on, and was not over within `models.control_timeout`"),
}

/// Returns what is answered here, for the document.
pub(super) fn api() -> utoipa::openapi::OpenApi {
    let mut api = metadata::Api::openapi();
    api.merge(infer::Api::openapi());
    api.merge(repository::Api::openapi());
    super::openapi::with_versions(&mut api);
    api
}

/// The model, and the version of it, that a path names.
#[derive(Debug, Deserialize)]
struct Named {
    model: String,
    version: Option<String>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    metadata::routes(config);
    repository::routes(config);
    absent::routes(config);
}

/// Adds what there is most of.
pub(super) fn infer_routes(config: &mut web::ServiceConfig) {
    for path in [
        "/v2/models/{model}/infer",
        "/v2/models/{model}/versions/{version}/infer",
    ] {
        let resource = web::resource(path)
            .wrap(from_fn(|request, next| {
                measure(Endpoint::Infer, request, next)
            }))
            .route(web::post().to(infer::infer))
            .default_service(web::to(only_post));
        config.service(resource);
    }
}

/// Adds something that is asked about by a get.
fn get<F, Args>(config: &mut web::ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let resource = web::resource(path)
        .wrap(from_fn(|request, next| {
            measure(Endpoint::V2, request, next)
        }))
        .route(web::get().to(handler))
        .default_service(web::to(only_get));
    config.service(resource);
}

/// Adds something that is asked for by a post.
fn post<F, Args>(config: &mut web::ServiceConfig, path: &str, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let resource = web::resource(path)
        .wrap(from_fn(|request, next| {
            measure(Endpoint::V2, request, next)
        }))
        .route(web::post().to(handler))
        .default_service(web::to(only_post));
    config.service(resource);
}

/// Answers a request with another method than the one there is.
pub(super) async fn only_get(request: HttpRequest) -> HttpResponse {
    other_method(&request, "GET")
}

/// Answers a request with another method than the one there is.
pub(super) async fn only_post(request: HttpRequest) -> HttpResponse {
    other_method(&request, "POST")
}

fn other_method(request: &HttpRequest, method: &'static str) -> HttpResponse {
    let error = format!("{} takes {method} only", request.path());
    HttpResponse::MethodNotAllowed()
        .insert_header((ALLOW, method))
        .json(json!({"error": error, "code": "method_not_allowed"}))
}

// === impl Named ===

impl Named {
    fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}
