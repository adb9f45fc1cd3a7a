//! `/api/admin/drain`: takes the server out of traffic, and puts it back.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{AppState, OrderRefusals, ROOT, record};
use crate::health::body::timestamp;
use crate::http::error::ApiError;
use crate::http::openapi::tag;

#[derive(OpenApi)]
#[openapi(paths(show, drain, undo))]
pub(super) struct Api;

/// Whether the server is out of traffic by an operator's order.
#[derive(Debug, Serialize, ToSchema)]
struct Drained {
    drained: bool,
    #[schema(format = DateTime)]
    timestamp: String,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let drain = web::resource("/drain")
        .route(web::get().to(show))
        .route(web::post().to(drain))
        .route(web::delete().to(undo));
    config.service(drain);
}

/// Whether the server was taken out of traffic.
#[utoipa::path(
    get, path = "/api/admin/drain", operation_id = "drained", tag = tag::ADMIN,
    responses((status = 200, description = "How it is", body = Drained), OrderRefusals)
)]
async fn show(state: web::Data<AppState>) -> HttpResponse {
    shown(&state)
}

/// Take the server out of traffic.
///
/// It says that it is not ready, and serves on.
#[utoipa::path(
    post, path = "/api/admin/drain", operation_id = "drain", tag = tag::ADMIN,
    responses((status = 200, description = "How it is now", body = Drained), OrderRefusals)
)]
async fn drain(request: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    record(&request, &state, ROOT, "takes the server out of traffic")?;
    state.plane.sources().drain.set(true);
    Ok(shown(&state))
}

/// Put the server back into traffic.
#[utoipa::path(
    delete, path = "/api/admin/drain", operation_id = "undo_drain", tag = tag::ADMIN,
    responses((status = 200, description = "How it is now", body = Drained), OrderRefusals)
)]
async fn undo(request: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    record(&request, &state, ROOT, "puts the server back into traffic")?;
    state.plane.sources().drain.set(false);
    Ok(shown(&state))
}

fn shown(state: &AppState) -> HttpResponse {
    HttpResponse::Ok().json(Drained {
        drained: state.plane.sources().drain.is_drained(),
        timestamp: timestamp(state.plane.wall()),
    })
}
