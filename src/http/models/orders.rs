//! Loading and unloading models by request.
//!
//! Without credentials it is the place a request comes from that allows it: everywhere where the
//! folder decides nothing and requests are how models come at all, and this machine otherwise.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_actors::model_loader::{ModelControl, OrderError};
use impetus_actors::serving::{ModelState, ServedModel};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::http::AppState;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::local;
use crate::http::openapi::refusals::refusals;
use crate::http::openapi::tag;

#[derive(OpenApi)]
#[openapi(paths(load, unload))]
pub(in crate::http) struct Api;

/// Which model is to be loaded or unloaded.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ModelOrder)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Its name, as the folder has it.
    #[schema(example = "surface")]
    name: String,
}

/// What has been loaded.
#[derive(Debug, Serialize, ToSchema)]
struct LoadedModels {
    /// Every version that the model's policy wants.
    loaded: Vec<LoadedModel>,
}

/// A version that has been loaded.
#[derive(Debug, Serialize, ToSchema)]
struct LoadedModel {
    name: String,
    state: ModelState,
    version: String,
}

/// What has been unloaded.
#[derive(Debug, Serialize, ToSchema)]
struct UnloadedModel {
    /// The name of the model.
    unloaded: String,
}

refusals! {
    /// What is answered to an order that is not carried out.
    ModelRefusals:
    (400, ["bad_order", "bad_body"], "the body is not an order"),
    (403, ["not_local"], "the caller is not on this machine, and `models.control` lets nobody else"),
    (404, ["unknown_model"], "the folder has no model of that name"),
    (404, ["no_models"], "this process serves no models"),
    (408, ["body_timeout"], "the body did not come in time"),
    (413, ["too_large"], "more than `http.max_body` bytes"),
    (422, ["not_loaded"], "the model cannot be loaded; the message says why"),
    (503, ["source_unavailable"], "the folder cannot be read"),
    (503, ["not_here"], "the files of the model are not here yet; the message says how far they are"),
    (503, ["not_now"], "the server cannot take the order now"),
    (504, ["not_yet"], "it goes on, and was not over within `models.control_timeout`"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/models/load", web::post().to(load))
        .route("/api/models/unload", web::post().to(unload));
}

/// Returns the hand that loads and unloads models, if this request may use it.
pub(in crate::http) fn control<'a>(
    request: &HttpRequest,
    state: &'a AppState,
) -> Result<&'a ModelControl, ApiError> {
    if !state.config.models.anyone_controls() {
        local::require(
            request,
            "models can be loaded and unloaded (models.control)",
        )?;
    }
    state.control.as_ref().ok_or_else(|| {
        let message = "this process serves no models";
        ApiError::new(StatusCode::NOT_FOUND, "no_models", message)
    })
}

/// Describes what has been loaded.
fn describe(model: &ServedModel) -> LoadedModel {
    LoadedModel {
        name: model.spec().name.clone(),
        state: model.state(),
        version: model.spec().version.clone(),
    }
}

/// Load a model, or its newest version beside the one that serves.
#[utoipa::path(
    post, path = "/api/models/load", operation_id = "load_model", tag = tag::MODELS, request_body = Order,
    responses((status = 200, description = "It is loaded and warm", body = LoadedModels), ModelRefusals)
)]
async fn load(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let control = control(&request, &state)?;
    let name = name_in(&body).await?;
    let within = state.config.models.control_timeout.get();
    let models = control.load(&name, None, within).await?;
    let loaded = models.iter().map(|model| describe(model)).collect();
    Ok(HttpResponse::Ok().json(LoadedModels { loaded }))
}

/// Unload a model, once it has answered what it has.
#[utoipa::path(
    post, path = "/api/models/unload", operation_id = "unload_model", tag = tag::MODELS, request_body = Order,
    responses((status = 200, description = "It is unloaded", body = UnloadedModel), ModelRefusals)
)]
async fn unload(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let control = control(&request, &state)?;
    let name = name_in(&body).await?;
    let within = state.config.models.control_timeout.get();
    control.unload(&name, within).await?;
    Ok(HttpResponse::Ok().json(UnloadedModel { unloaded: name }))
}

async fn name_in(body: &Body) -> Result<String, ApiError> {
    let order: Order = serde_json::from_slice(&body.whole().await?).map_err(|error| {
        let message = format!("{error}; send {{\"name\": \"<model>\"}}");
        ApiError::bad_request("bad_order", message)
    })?;
    Ok(order.name)
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        let (status, code) = match &error {
            OrderError::NotThere { .. } => (StatusCode::NOT_FOUND, "unknown_model"),
            OrderError::Source(_) => (StatusCode::SERVICE_UNAVAILABLE, "source_unavailable"),
            OrderError::NotLoaded { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not_loaded"),
            OrderError::NotHere { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_here"),
            OrderError::NotYet { .. } => (StatusCode::GATEWAY_TIMEOUT, "not_yet"),
            OrderError::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_now"),
        };
        Self::new(status, code, error.to_string())
    }
}
