//! `GET /api/models/list`, `POST /api/models/load` and `/unload`.

mod orders;

use actix_web::guard::Get;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::measuring::measure;
use super::{AppState, Endpoint};

pub(super) use orders::control;

/// Routes that both ports have.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let list = web::resource("/api/models/list")
        .guard(Get())
        .wrap(from_fn(|request, next| {
            measure(Endpoint::Models, request, next)
        }))
        .to(list);
    config.service(list);
}

/// Routes of the main port.
pub(super) fn order_routes(config: &mut web::ServiceConfig) {
    orders::routes(config);
}

async fn list(state: web::Data<AppState>) -> HttpResponse {
    let entries = state.catalog.entries();
    let versions = entries.values().flat_map(|entry| entry.versions());
    let models: Vec<_> = versions.map(|model| model.status()).collect();
    let mut body = json!({ "models": models });
    if let Some(problem) = state.catalog.source_problem() {
        body["source_problem"] = json!(*problem);
    }
    HttpResponse::Ok().json(body)
}
