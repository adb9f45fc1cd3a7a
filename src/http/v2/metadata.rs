//! What can be asked about the server and its models.

use actix_web::{HttpResponse, web};
use impetus_actors::serving::{ServeError, ServedModel};
use utoipa::OpenApi;

use super::schema::{Live, ModelReady, Ready, Statistics};
use super::{AskedRefusals, Named, get};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::openapi::tag;
use crate::oip::describe::{self, ModelConfig, ModelMetadata, ServerMetadata};

#[derive(OpenApi)]
#[openapi(paths(
    live,
    ready,
    server,
    all_statistics,
    metadata,
    is_ready,
    model_config,
    statistics
))]
pub(super) struct Api;

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

/// Whether the server lives.
#[utoipa::path(
    get, path = "/v2/health/live", operation_id = "v2_live", tag = tag::V2,
    responses(
        (status = 200, description = "It does", body = Live),
        (status = 503, description = "It does not, and `error` says why", body = Live),
    )
)]
async fn live(state: web::Data<AppState>) -> HttpResponse {
    let live = state.plane.live();
    let body = Live {
        error: live.reason().map(str::to_owned),
        live: live.reason().is_none(),
    };
    match body.live {
        true => HttpResponse::Ok().json(body),
        false => HttpResponse::ServiceUnavailable().json(body),
    }
}

/// Whether the server takes requests.
#[utoipa::path(
    get, path = "/v2/health/ready", operation_id = "v2_ready", tag = tag::V2,
    responses(
        (status = 200, description = "It does", body = Ready),
        (status = 503, description = "It does not, and `error` says why", body = Ready),
    )
)]
async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let live = state.plane.live().alive;
    let reasons = match state.plane.ready(&[]) {
        Ok(answer) if answer.body.ready => {
            return HttpResponse::Ok().json(Ready {
                error: None,
                live,
                ready: true,
            });
        }
        Ok(answer) => answer.body.reasons.join("; "),
        Err(unknown) => unknown,
    };
    HttpResponse::ServiceUnavailable().json(Ready {
        error: Some(reasons),
        live,
        ready: false,
    })
}

/// What the server is.
#[utoipa::path(
    get, path = "/v2", operation_id = "v2_server", tag = tag::V2,
    responses((status = 200, description = "Its name, version and extensions", body = ServerMetadata))
)]
async fn server() -> HttpResponse {
    HttpResponse::Ok().json(describe::server())
}

/// What a model takes and gives.
#[utoipa::path(
    get, path = "/v2/models/{model}", operation_id = "v2_model", tag = tag::V2, params(("model" = String, Path, example = "surface")),
    responses((status = 200, description = "Its inputs and outputs", body = ModelMetadata), AskedRefusals)
)]
async fn metadata(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let metadata = describe::metadata(&state.catalog, &named.model, named.version())?;
    Ok(HttpResponse::Ok().json(metadata))
}

/// Whether a model takes requests.
#[utoipa::path(
    get, path = "/v2/models/{model}/ready", operation_id = "v2_model_ready", tag = tag::V2, params(("model" = String, Path, example = "surface")),
    responses((status = 200, description = "It does", body = ModelReady), AskedRefusals)
)]
async fn is_ready(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let model = describe::find(&state.catalog, &named.model, named.version())?;
    usable(&model)?;
    Ok(HttpResponse::Ok().json(ModelReady {
        name: named.model.clone(),
        ready: true,
    }))
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

/// How a model is configured, as Triton would say it.
#[utoipa::path(
    get, path = "/v2/models/{model}/config", operation_id = "v2_model_config", tag = tag::V2, params(("model" = String, Path, example = "surface")),
    responses((status = 200, description = "Its configuration", body = ModelConfig), AskedRefusals)
)]
async fn model_config(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let model = describe::find(&state.catalog, &named.model, named.version())?;
    Ok(HttpResponse::Ok().json(describe::config(&model)?))
}

/// What a model has done, as Triton counts it.
#[utoipa::path(
    get, path = "/v2/models/{model}/stats", operation_id = "v2_model_statistics", tag = tag::V2, params(("model" = String, Path, example = "surface")),
    responses((status = 200, description = "Its counts and times", body = Statistics), AskedRefusals)
)]
async fn statistics(
    state: web::Data<AppState>,
    named: web::Path<Named>,
) -> Result<HttpResponse, ApiError> {
    let models = describe::find_versions(&state.catalog, &named.model, named.version())?;
    let model_stats = models.iter().map(|m| describe::statistics(m)).collect();
    Ok(HttpResponse::Ok().json(Statistics { model_stats }))
}

/// What every model has done, as Triton counts it.
#[utoipa::path(
    get, path = "/v2/models/stats", operation_id = "v2_statistics", tag = tag::V2,
    responses((status = 200, description = "Counts and times", body = Statistics))
)]
async fn all_statistics(state: web::Data<AppState>) -> HttpResponse {
    let models = describe::all(&state.catalog);
    let model_stats = models.iter().map(|m| describe::statistics(m)).collect();
    HttpResponse::Ok().json(Statistics { model_stats })
}
