//! `GET /docs`: the OpenAPI document for people, in Swagger UI.
//!
//! The page is the server's own; script and style are those of Swagger UI, which are compiled in, so that it works where
//! nothing reaches the Internet.
//!
//! **Invariant.** A browser that shows the page speaks with this server alone: the page's policy says so, and forbids
//! that another page frames it. A page of the server's own may order what only this machine may order (see `local`);
//! one that somebody else has put around it must not get an operator to press its buttons.
//!
//! **How it fails.** A file that is asked for and not there is a 404 like any other.

use std::borrow::Cow;
use std::io::Read;
use std::sync::{Arc, LazyLock};

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use flate2::read::GzDecoder;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::error::ApiError;
use super::openapi::refusals::refusals;
use super::openapi::tag;

/// What the page may do: load what is here, and ask this server. Swagger UI sets styles from its script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Files of Swagger UI that the page loads. The others are for pages of other kinds.
const VENDORED: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

#[derive(OpenApi)]
#[openapi(paths(page, file))]
pub(super) struct Api;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/docs", web::get().to(page))
        .route("/docs/{file}", web::get().to(file));
}

/// This page.
///
/// Everything it needs comes from this server. Links are relative, so that it works under another path as well.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = tag::DOCUMENT,
    responses((status = 200, description = "A page for a browser", content_type = "text/html", body = String))
)]
async fn page() -> HttpResponse {
    answer("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .body(include_str!("docs/page.html"))
}

/// A file that the page needs.
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "docs_file", tag = tag::DOCUMENT,
    params(("file" = String, Path, description = "Name of the file", example = "start.js")),
    responses(
        (status = 200, description = "A script or a style sheet", content_type = "text/javascript", body = String),
        FileRefusals,
    )
)]
async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    if *name == "start.js" {
        let script = answer("text/javascript; charset=utf-8").body(include_str!("docs/start.js"));
        return Ok(script);
    }
    let vendored = VENDORED
        .contains(&name.as_str())
        .then(|| vendored(&name))
        .flatten();
    let file = vendored.ok_or_else(|| {
        let message = format!("the page at /docs has no file named {name:?}");
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    })?;
    deliver(request.headers(), file)
}

refusals! {
    /// What is answered instead of a file of the page.
    FileRefusals: (404, ["not_found"], "the page has no such file"),
}

fn vendored(name: &str) -> Option<SwaggerFile<'static>> {
    static SETTINGS: LazyLock<Arc<Config<'static>>> = LazyLock::new(Arc::default);
    // Only one file is made from the settings, and it is not among those that the page loads.
    utoipa_swagger_ui::serve(name, Arc::clone(&SETTINGS))
        .ok()
        .flatten()
}

/// Answers with a file as it is stored, compressed, to whoever takes that.
fn deliver(headers: &HeaderMap, file: SwaggerFile<'static>) -> Result<HttpResponse, ApiError> {
    let mut response = answer(&format!("{}; charset=utf-8", file.content_type));
    let stored = match file.bytes {
        Cow::Borrowed(bytes) => web::Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    if !file.gzpipped {
        return Ok(response.body(stored));
    }
    response.insert_header((VARY, "accept-encoding"));
    if takes_gzip(headers) {
        response.insert_header((CONTENT_ENCODING, "gzip"));
        return Ok(response.body(stored));
    }
    let mut plain = Vec::new();
    GzDecoder::new(&*stored)
        .read_to_end(&mut plain)
        .map_err(|error| {
            let message = format!("the file cannot be unpacked: {error}");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "broken_file", message)
        })?;
    Ok(response.body(plain))
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    // As browsers say it; whoever says it otherwise gets the plain file, which everybody takes.
    headers
        .get_all(ACCEPT_ENCODING)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim() == "gzip")
}

fn answer(content_type: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response
}
