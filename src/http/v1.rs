//! `/v1`: what models there are, as OpenAI's and KServe's clients ask, and KServe's first protocol to
//! predict.
//!
//! Both families of clients ask the same paths for different documents; one document answers both.
//! Errors are `{"error": "…"}`, as [`v2`](super::v2)'s are.

mod instances;
mod predict;
mod predictions;

use std::time::UNIX_EPOCH;

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::error::ApiError;
use super::measuring::measure;
use super::v2::{only_get, only_post, usable};
use super::{AppState, Endpoint};
use crate::oip::describe;

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

async fn models(state: web::Data<AppState>) -> HttpResponse {
    let entries = state.catalog.entries();
    let names: Vec<&String> = entries.keys().collect();
    let data: Vec<Value> = names.iter().map(|name| described(&state, name)).collect();
    HttpResponse::Ok().json(json!({"object": "list", "data": data, "models": names}))
}

async fn model(
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let model = describe::find(&state.catalog, &name, None)?;
    usable(&model)?;
    let mut body = described(&state, &name);
    body["name"] = json!(*name);
    body["ready"] = json!(true);
    Ok(HttpResponse::Ok().json(body))
}

async fn alive(state: web::Data<AppState>) -> HttpResponse {
    match state.plane.live().reason() {
        None => HttpResponse::Ok().json(json!({"status": "alive"})),
        Some(reason) => {
            let body = json!({"status": "not alive", "error": reason});
            HttpResponse::ServiceUnavailable().json(body)
        }
    }
}

/// Describes a model as OpenAI's clients know it: made when this server began.
fn described(state: &AppState, name: &str) -> Value {
    let began = state.plane.wall().checked_sub(state.plane.uptime());
    let began = began.and_then(|began| began.duration_since(UNIX_EPOCH).ok());
    json!({
        "id": name,
        "object": "model",
        "created": began.unwrap_or_default().as_secs(),
        "owned_by": "impetus",
    })
}
