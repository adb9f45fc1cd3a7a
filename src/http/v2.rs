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

use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, web};
use serde::Deserialize;
use serde_json::json;

use super::Endpoint;
use super::measuring::measure;

pub(super) use metadata::usable;

/// The model, and the version of it, that a path names.
#[derive(Debug, Deserialize)]
struct Named {
    model: String,
    version: Option<String>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    // What there is most of comes first.
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
    metadata::routes(config);
    repository::routes(config);
    absent::routes(config);
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
