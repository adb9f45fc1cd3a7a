//! `GET /api/models/list`.

use actix_web::guard::Get;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::measuring::measure;
use super::{AppState, Endpoint};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let list = web::resource("/api/models/list")
        .guard(Get())
        .wrap(from_fn(|request, next| {
            measure(Endpoint::Models, request, next)
        }))
        .to(list);
    config.service(list);
}

async fn list(state: web::Data<AppState>) -> HttpResponse {
    let models = state.catalog.models();
    let models: Vec<_> = models.values().map(|model| model.status()).collect();
    let mut body = json!({ "models": models });
    if let Some(problem) = state.catalog.source_problem() {
        body["source_problem"] = json!(*problem);
    }
    HttpResponse::Ok().json(body)
}
