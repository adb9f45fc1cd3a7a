//! `GET /openai/v1/models`: the same document as under `/v1`, with errors as OpenAI's clients read them.

use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::OpenApi;

use super::error::{OpenAiError, refusals_of};
use super::{PREFIX, other_method};
use crate::http::measuring::measure;
use crate::http::openapi::refusals::Row;
use crate::http::openapi::tag;
use crate::http::v1::{Model, Models, alone, listed};
use crate::http::{AppState, Endpoint};

#[derive(OpenApi)]
#[openapi(paths(models, model))]
pub(super) struct Api;

const REFUSALS: [Row; 2] = [
    (404, &["model_not_found"], "no model of that name"),
    (
        503,
        &["model_not_ready"],
        "it takes no requests now; the message says why",
    ),
];

refusals_of! { ModelRefusals: REFUSALS }

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let models = web::resource(format!("{PREFIX}/v1/models"))
        .wrap(from_fn(|request, next| {
            measure(Endpoint::V1, request, next)
        }))
        .route(web::get().to(models))
        .default_service(web::to(only_get));
    let model = web::resource(format!("{PREFIX}/v1/models/{{model}}"))
        .wrap(from_fn(|request, next| {
            measure(Endpoint::V1, request, next)
        }))
        .route(web::get().to(model))
        .default_service(web::to(only_get));
    config.service(models).service(model);
}

/// What models there are.
#[utoipa::path(
    get, path = "/v1/models", operation_id = "v1_models", tag = tag::OPENAI,
    responses((status = 200, description = "All of them", body = Models))
)]
async fn models(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(listed(&state))
}

/// Whether a model takes requests.
#[utoipa::path(
    get, path = "/v1/models/{model}", operation_id = "v1_model", tag = tag::OPENAI,
    params(("model" = String, Path, example = "tiny-chat")),
    responses((status = 200, description = "It does", body = Model), ModelRefusals)
)]
async fn model(
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, OpenAiError> {
    Ok(HttpResponse::Ok().json(alone(&state, &name)?))
}

async fn only_get(request: HttpRequest) -> HttpResponse {
    other_method(&request, "GET")
}
