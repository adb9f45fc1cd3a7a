//! `/api/admin/drain`: takes the server out of traffic, and puts it back.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::{AppState, ROOT, record};
use crate::health::body::timestamp;
use crate::http::error::ApiError;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let drain = web::resource("/drain")
        .route(web::get().to(show))
        .route(web::post().to(drain))
        .route(web::delete().to(undo));
    config.service(drain);
}

async fn show(state: web::Data<AppState>) -> HttpResponse {
    shown(&state)
}

async fn drain(request: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    record(&request, &state, ROOT, "takes the server out of traffic")?;
    state.plane.sources().drain.set(true);
    Ok(shown(&state))
}

async fn undo(request: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    record(&request, &state, ROOT, "puts the server back into traffic")?;
    state.plane.sources().drain.set(false);
    Ok(shown(&state))
}

fn shown(state: &AppState) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "drained": state.plane.sources().drain.is_drained(),
        "timestamp": timestamp(state.plane.wall()),
    }))
}
