//! Loading and unloading models by request.
//!
//! Without credentials it is the place a request comes from that allows it: everywhere where the
//! folder decides nothing and requests are how models come at all, and this machine otherwise.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_actors::model_loader::{ModelControl, OrderError};
use impetus_actors::serving::ServedModel;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::AppState;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::local;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
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
fn describe(model: &ServedModel) -> Value {
    json!({
        "name": model.spec().name,
        "version": model.spec().version,
        "state": model.state(),
    })
}

async fn load(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let control = control(&request, &state)?;
    let name = name_in(&body).await?;
    let within = state.config.models.control_timeout.get();
    let models = control.load(&name, None, within).await?;
    let loaded: Vec<Value> = models.iter().map(|model| describe(model)).collect();
    Ok(HttpResponse::Ok().json(json!({ "loaded": loaded })))
}

async fn unload(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let control = control(&request, &state)?;
    let name = name_in(&body).await?;
    let within = state.config.models.control_timeout.get();
    control.unload(&name, within).await?;
    Ok(HttpResponse::Ok().json(json!({ "unloaded": name })))
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
            OrderError::NotYet { .. } => (StatusCode::GATEWAY_TIMEOUT, "not_yet"),
            OrderError::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_now"),
        };
        Self::new(status, code, error.to_string())
    }
}
