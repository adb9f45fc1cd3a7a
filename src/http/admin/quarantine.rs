//! `/api/admin/quarantine`: the requests that are refused because they killed their worker.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::{AppState, ROOT, record};
use crate::http::error::ApiError;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/quarantine", web::get().to(list))
        .route("/quarantine", web::delete().to(clear_all))
        .route("/quarantine/{fingerprint}", web::delete().to(clear));
}

async fn list(state: web::Data<AppState>) -> HttpResponse {
    let entries = state.quarantine.list();
    HttpResponse::Ok().json(json!({
        "quarantined": entries,
        "added": state.quarantine.added(),
        "refused": state.quarantine.refused(),
    }))
}

async fn clear_all(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    record(&request, &state, ROOT, "clears the quarantine")?;
    let cleared = state.quarantine.clear_all();
    Ok(HttpResponse::Ok().json(json!({ "cleared": cleared })))
}

async fn clear(
    request: HttpRequest,
    state: web::Data<AppState>,
    fingerprint: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let fingerprint = fingerprint.into_inner();
    if !state.quarantine.clear(&fingerprint) {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_quarantined",
            format!(
                "no request is quarantined as {fingerprint:?}; GET /api/admin/quarantine lists them"
            ),
        ));
    }
    let what = format!("takes {fingerprint} out of the quarantine");
    record(&request, &state, ROOT, &what)?;
    Ok(HttpResponse::Ok().json(json!({ "cleared": 1 })))
}
