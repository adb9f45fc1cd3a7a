//! `/api/admin/quarantine`: the requests that are refused because they killed their worker.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_actors::serving::quarantine::Quarantined;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{AppState, OrderRefusals, ROOT, record};
use crate::http::error::ApiError;
use crate::http::openapi::refusals::refusals;
use crate::http::openapi::tag;

#[derive(OpenApi)]
#[openapi(paths(list, clear_all, clear))]
pub(super) struct Api;

/// The requests that are refused.
#[derive(Debug, Serialize, ToSchema)]
struct Quarantine {
    /// How many were put there since the start.
    added: u64,
    quarantined: Vec<Quarantined>,
    /// How often one of them was refused since the start.
    refused: u64,
}

/// How many requests are let in again.
#[derive(Debug, Serialize, ToSchema)]
struct Cleared {
    cleared: usize,
}

refusals! {
    /// What is answered when nothing was let in.
    ClearRefusals:
    (403, ["not_local"], "the caller is not on this machine"),
    (404, ["not_quarantined"], "no request is quarantined under that fingerprint"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/quarantine", web::get().to(list))
        .route("/quarantine", web::delete().to(clear_all))
        .route("/quarantine/{fingerprint}", web::delete().to(clear));
}

/// The requests that are refused because they killed their worker.
#[utoipa::path(
    get, path = "/api/admin/quarantine", operation_id = "quarantine", tag = tag::ADMIN,
    responses((status = 200, description = "All of them", body = Quarantine), OrderRefusals)
)]
async fn list(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(Quarantine {
        added: state.quarantine.added(),
        quarantined: state.quarantine.list(),
        refused: state.quarantine.refused(),
    })
}

/// Let all of them in again.
#[utoipa::path(
    delete, path = "/api/admin/quarantine", operation_id = "clear_quarantine", tag = tag::ADMIN,
    responses((status = 200, description = "How many there were", body = Cleared), OrderRefusals)
)]
async fn clear_all(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    record(&request, &state, ROOT, "clears the quarantine")?;
    let cleared = state.quarantine.clear_all();
    Ok(HttpResponse::Ok().json(Cleared { cleared }))
}

/// Let one of them in again.
#[utoipa::path(
    delete, path = "/api/admin/quarantine/{fingerprint}", operation_id = "clear_quarantined", tag = tag::ADMIN,
    params(("fingerprint" = String, Path, description = "What the request is known by")),
    responses((status = 200, description = "It is let in", body = Cleared), ClearRefusals)
)]
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
    Ok(HttpResponse::Ok().json(Cleared { cleared: 1 }))
}
