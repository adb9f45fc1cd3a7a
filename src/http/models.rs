//! `GET /api/models/list`, `POST /api/models/load` and `/unload`.

mod downloads;
mod orders;

use actix_web::guard::Get;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use impetus_actors::serving::ModelStatus;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::measuring::measure;
use super::openapi::tag;
use super::{AppState, Endpoint};

pub(super) use downloads::Api as DownloadsApi;
pub(super) use orders::{Api as OrdersApi, control};

#[derive(OpenApi)]
#[openapi(paths(list))]
pub(super) struct Api;

/// `GET /api/models/list`.
#[derive(Debug, Serialize, ToSchema)]
struct ModelList {
    /// Every version of every model.
    models: Vec<ModelStatus>,
    /// What is wrong with the place the models come from, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_problem: Option<String>,
}

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
    downloads::routes(config);
    orders::routes(config);
}

/// Every model, its state and its workers.
#[utoipa::path(
    get, path = "/api/models/list", operation_id = "list_models", tag = tag::MODELS,
    responses((status = 200, description = "All of them", body = ModelList))
)]
async fn list(state: web::Data<AppState>) -> HttpResponse {
    let entries = state.catalog.entries();
    let versions = entries.values().flat_map(|entry| entry.versions());
    let problem = state.catalog.source_problem();
    HttpResponse::Ok().json(ModelList {
        models: versions.map(|model| model.status()).collect(),
        source_problem: problem.map(|problem| problem.to_string()),
    })
}
