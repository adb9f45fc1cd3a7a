//! The model repository extension: what there is, loading, unloading.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::post;
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::models::control;
use crate::oip::describe;

/// What is wanted of the index.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    /// Only models that take requests.
    #[serde(default)]
    ready: bool,
}

/// How a model is to be loaded or unloaded.
#[derive(Debug, Default, Deserialize)]
struct Order {
    #[serde(default)]
    parameters: Map<String, Value>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    post(config, "/v2/repository/index", index);
    post(config, "/v2/repository/models/{model}/load", load);
    post(config, "/v2/repository/models/{model}/unload", unload);
}

async fn index(state: web::Data<AppState>, body: Body) -> Result<HttpResponse, ApiError> {
    let wanted: Wanted = read(&body).await?;
    let index = match &state.control {
        Some(control) => describe::repository_index(control, wanted.ready).await?,
        None => describe::index(&state.catalog, wanted.ready),
    };
    Ok(HttpResponse::Ok().json(index))
}

async fn load(
    request: HttpRequest,
    state: web::Data<AppState>,
    model: web::Path<String>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let control = control(&request, &state)?;
    let order: Order = read(&body).await?;
    // The extension's parameters replace the model's configuration or its files.
    if let Some(name) = order.parameters.keys().next() {
        let message = format!(
            "the parameter {name:?} is not supported: a model is loaded as it lies in the model folder"
        );
        return Err(ApiError::bad_request("unsupported", message));
    }
    let within = state.config.models.control_timeout.get();
    control.load(&model, None, within).await?;
    Ok(HttpResponse::Ok().finish())
}

async fn unload(
    request: HttpRequest,
    state: web::Data<AppState>,
    model: web::Path<String>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let control = control(&request, &state)?;
    // Nothing depends on a model, so it does not matter whether what does is to go as well.
    let _: Order = read(&body).await?;
    let within = state.config.models.control_timeout.get();
    control.unload(&model, within).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Reads a body that may be left out.
async fn read<T: Default + for<'de> Deserialize<'de>>(body: &Body) -> Result<T, ApiError> {
    let body = body.whole().await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request("invalid", format!("the body: {error}")))
}
