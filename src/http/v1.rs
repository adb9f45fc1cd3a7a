//! `/v1`: what models there are, as OpenAI's and KServe's clients ask, and KServe's first protocol to
//! predict.
//!
//! Both families of clients ask the same paths for different documents; one document answers both.
//! Errors are `{"error": "…"}`, as [`v2`](super::v2)'s are; but for those of models, which are as OpenAI's
//! clients read them: KServe's look at the status alone.

mod instances;
mod predict;
mod predictions;
mod schema;

use std::time::UNIX_EPOCH;

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use utoipa::OpenApi;

use super::measuring::measure;
use super::openai::{ModelRefusals, OpenAiError};
use super::openapi::tag;
use super::v2::{only_get, only_post, usable};
use super::{AppState, Endpoint};
use schema::Alive;
pub(super) use schema::{Model, Models};

#[derive(OpenApi)]
#[openapi(paths(models, model, alive, predict::predict))]
pub(super) struct Api;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let predict = web::resource("/v1/models/{model}:predict")
        .wrap(from_fn(|request, next| {
            measure(Endpoint::V1Predict, request, next)
        }))
        .route(web::post().to(predict::predict))
        .default_service(web::to(only_post));
    config.service(predict);
    let models = web::resource("/v1/models")
        .wrap(from_fn(|request, next| {
            measure(Endpoint::V1, request, next)
        }))
        .route(web::get().to(models))
        .default_service(web::to(only_get));
    config.service(models);
    let model = web::resource("/v1/models/{model}")
        .wrap(from_fn(|request, next| {
            measure(Endpoint::V1, request, next)
        }))
        .route(web::get().to(model))
        .default_service(web::to(only_get));
    config.service(model);
    // KServe's clients ask whether the server is alive where others expect a page.
    config.route("/", web::get().to(alive));
}

/// Describes all models.
pub(super) fn listed(state: &AppState) -> Models {
    let entries = state.catalog.entries();
    let names: Vec<String> = entries.keys().cloned().collect();
    Models {
        data: names.iter().map(|name| described(state, name)).collect(),
        models: names,
        object: "list",
    }
}

/// What models there are.
#[utoipa::path(
    get, path = "/v1/models", operation_id = "v1_models", tag = tag::V1,
    responses((status = 200, description = "All of them", body = Models))
)]
async fn models(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(listed(&state))
}

/// Whether a model takes requests.
#[utoipa::path(
    get, path = "/v1/models/{model}", operation_id = "v1_model", tag = tag::V1,
    params(("model" = String, Path, example = "surface")),
    responses((status = 200, description = "It does", body = Model), ModelRefusals)
)]
async fn model(
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, OpenAiError> {
    Ok(HttpResponse::Ok().json(alone(&state, &name)?))
}

/// Whether the server lives.
#[utoipa::path(
    get, path = "/", operation_id = "v1_alive", tag = tag::V1,
    responses(
        (status = 200, description = "It does", body = Alive),
        (status = 503, description = "It does not, and `error` says why", body = Alive),
    )
)]
async fn alive(state: web::Data<AppState>) -> HttpResponse {
    match state.plane.live().reason() {
        None => HttpResponse::Ok().json(Alive {
            error: None,
            status: "alive",
        }),
        Some(reason) => HttpResponse::ServiceUnavailable().json(Alive {
            error: Some(reason.to_owned()),
            status: "not alive",
        }),
    }
}

/// Describes one model that takes requests.
pub(super) fn alone(state: &AppState, name: &str) -> Result<Model, OpenAiError> {
    let model = state.catalog.find(Some(name), None)?;
    usable(&model)?;
    Ok(Model {
        name: Some(name.to_owned()),
        ready: Some(true),
        ..described(state, name)
    })
}

/// Describes a model as OpenAI's clients know it: made when this server began.
fn described(state: &AppState, name: &str) -> Model {
    let model = state.catalog.find(Some(name), None).ok();
    let began = state.plane.wall().checked_sub(state.plane.uptime());
    let began = began.and_then(|began| began.duration_since(UNIX_EPOCH).ok());
    Model {
        created: began.unwrap_or_default().as_secs(),
        id: name.to_owned(),
        max_model_len: model.and_then(|model| model.room()),
        name: None,
        object: "model",
        owned_by: "impetus",
        ready: None,
    }
}
