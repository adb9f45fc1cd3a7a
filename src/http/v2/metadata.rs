//! What can be asked about the server and its models.

use actix_web::{HttpResponse, web};
use impetus_actors::serving::{ServeError, ServedModel};
use serde_json::json;

use super::{Named, get};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::oip::describe;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    // Probes are not measured.
    config
        .route("/v2/health/live", web::get().to(live))
        .route("/v2/health/ready", web::get().to(ready));
    get(config, "/v2", server);
    // A model of that name has its metadata below its version.
    get(config, "/v2/models/stats", all_statistics);
    for model in [
        "/v2/models/{model}",
        "/v2/models/{model}/versions/{version}",
    ] {
        get(config, model, metadata);
        get(config, &format!("{model}/ready"), is_ready);
        get(config, &format!("{model}/config"), model_config);
        get(config, &format!("{model}/stats"), statistics);
    }
}

async fn live(state: web::Data<AppState>) -> HttpResponse {
    let live = state.plane.live();
    match live.reason() {
        None => HttpResponse::Ok().json(json!({"live": true})),
        Some(reason) => {
            let body = json!({"live": false, "error": reason});
            HttpResponse::ServiceUnavailable().json(body)
        }
    }
}

async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let live = state.plane.live().alive;
    let reasons = match state.plane.ready(&[]) {
        Ok(answer) if answer.body.ready => {
            return HttpResponse::Ok().json(json!({"ready": true, "live": live}));
        }
        Ok(answer) => answer.body.reasons.join("; "),
        Err(unknown) => unknown,
    };
    let body = json!({"ready": false, "live": live, "error": reasons});
    HttpResponse::ServiceUnavailable().json(body)
}

async fn server() -> HttpResponse {
    HttpResponse::Ok().json(describe::server())
}

async fn metadata(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let metadata = describe::metadata(&state.catalog, &named.model, named.version())?;
    Ok(HttpResponse::Ok().json(metadata))
}

async fn is_ready(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let model = describe::find(&state.catalog, &named.model, named.version())?;
    usable(&model)?;
    Ok(HttpResponse::Ok().json(json!({"name": named.model, "ready": true})))
}

/// Checks that a model takes requests, without counting this as one.
pub(in crate::http) fn usable(model: &ServedModel) -> Result<(), ServeError> {
    let state = model.state();
    if state.is_usable() {
        return Ok(());
    }
    Err(ServeError::NotReady {
        model: model.spec().name.clone(),
        state,
        reason: model.reason(),
        retry_after: std::time::Duration::from_secs(1),
    })
}

async fn model_config(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let model = describe::find(&state.catalog, &named.model, named.version())?;
    Ok(HttpResponse::Ok().json(describe::config(&model)?))
}

async fn statistics(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let models = describe::find_versions(&state.catalog, &named.model, named.version())?;
    let stats: Vec<_> = models.iter().map(|m| describe::statistics(m)).collect();
    Ok(HttpResponse::Ok().json(json!({"model_stats": stats})))
}

async fn all_statistics(state: web::Data<AppState>) -> HttpResponse {
    let models = describe::all(&state.catalog);
    let stats: Vec<_> = models.iter().map(|m| describe::statistics(m)).collect();
    HttpResponse::Ok().json(json!({"model_stats": stats}))
}
