//! `GET /api/models/list`.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::AppState;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/models/list", web::get().to(list));
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
