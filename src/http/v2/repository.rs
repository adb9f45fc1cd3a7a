//! The model repository extension: what there is, loading, unloading.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{OpenApi, ToSchema};

use super::{OrderRefusals, post};
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::models::control;
use crate::http::openapi::tag;
use crate::oip::describe::IndexEntry;
use crate::oip::{Refusal, describe, order};

#[derive(OpenApi)]
#[openapi(paths(index, load, unload))]
pub(super) struct Api;

/// What is wanted of the index.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RepositoryIndexRequest)]
struct Wanted {
    /// Only models that take requests.
    #[serde(default)]
    ready: bool,
}

/// How a model is to be loaded or unloaded.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RepositoryOrder)]
struct Order {
    #[schema(value_type = Option<Object>)]
    #[serde(default)]
    parameters: Map<String, Value>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    post(config, "/v2/repository/index", index);
    post(config, "/v2/repository/models/{model}/load", load);
    post(config, "/v2/repository/models/{model}/unload", unload);
}

/// What models there are, loaded or not.
#[utoipa::path(
    post, path = "/v2/repository/index", operation_id = "v2_repository_index", tag = tag::V2, request_body = Option<Wanted>,
    responses((status = 200, description = "Every version of every model", body = Vec<IndexEntry>), OrderRefusals)
)]
async fn index(state: web::Data<AppState>, body: Body) -> Result<HttpResponse, ApiError> {
    let wanted: Wanted = read(&body).await?;
    let index = match &state.control {
        Some(control) => describe::repository_index(control, wanted.ready).await?,
        None => describe::index(&state.catalog, wanted.ready),
    };
    Ok(HttpResponse::Ok().json(index))
}

/// Load a model, or its newest version beside the one that serves.
#[utoipa::path(
    post, path = "/v2/repository/models/{model}/load", operation_id = "v2_load_model", tag = tag::V2,
    params(("model" = String, Path, example = "surface")), request_body = Option<Order>,
    responses((status = 200, description = "It is loaded and warm"), OrderRefusals)
)]
async fn load(
    request: HttpRequest,
    state: web::Data<AppState>,
    model: web::Path<String>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let control = control(&request, &state)?;
    let Order { parameters } = read(&body).await?;
    let given = match config_in(&parameters)? {
        Some(config) => Some(order::given(&state.config.models.dir, &model, config).await?),
        None => None,
    };
    let within = state.config.models.control_timeout.get();
    control.load(&model, given, within).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Returns the configuration that came with an order.
fn config_in(parameters: &Map<String, Value>) -> Result<Option<&str>, Refusal> {
    let mut config = None;
    for (name, value) in parameters {
        match value.as_str().filter(|_| name == order::CONFIG) {
            Some(text) => config = Some(text),
            None => return Err(order::unknown(name)),
        }
    }
    Ok(config)
}

/// Unload a model, once it has answered what it has.
#[utoipa::path(
    post, path = "/v2/repository/models/{model}/unload", operation_id = "v2_unload_model", tag = tag::V2,
    params(("model" = String, Path, example = "surface")), request_body = Option<Order>,
    responses((status = 200, description = "It is unloaded"), OrderRefusals)
)]
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
