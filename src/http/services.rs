//! `/health` and `/ready` of the two services of the contract's second part.

use actix_web::{HttpResponse, web};
use impetus_actors::sliding::Tally;
use impetus_supervision::Timestamp;
use serde::Serialize;
use tracing::{debug, warn};
use utoipa::{OpenApi, ToSchema};

use super::AppState;
use super::openapi::tag;
use crate::config::Readiness;
use crate::health::Phase;
use crate::health::body::timestamp;
use crate::health::fold::DRAINED;

#[derive(OpenApi)]
#[openapi(paths(health, ready))]
pub(super) struct Api;

/// `GET /health`.
#[derive(Debug, Serialize, ToSchema)]
struct ServiceHealth {
    /// What speaks against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `inference-service`, `logging-service`, or `impetus` where one process is both.
    #[schema(example = "inference-service")]
    service: &'static str,
    /// `healthy` or `unhealthy`.
    #[schema(example = "healthy")]
    status: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    uptime_seconds: f64,
}

/// `GET /ready`: the fields of the inference service, of the logging service, or of both.
#[derive(Debug, Default, Serialize, ToSchema)]
struct ServiceReady {
    /// Logging: the database was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    db_initialized: Option<bool>,
    /// Logging: predictions with a defect.
    #[serde(skip_serializing_if = "Option::is_none")]
    defects_detected: Option<u64>,
    /// What is wrong with the database (`predlog.readiness`) or the registry (`registry.readiness`), where that decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
    /// Executions and log requests that failed.
    errors: u64,
    /// When a prediction was last served or logged.
    #[schema(required, format = DateTime)]
    last_prediction: Option<String>,
    /// Inference: a model registry answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    mlflow_accessible: Option<bool>,
    /// Inference: every model that is required is usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_loaded: Option<bool>,
    /// Logging: predictions that were logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions_logged: Option<u64>,
    /// Inference: predictions that were answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions_served: Option<u64>,
    /// With `not_ready`: everything that speaks against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Inference: how it stands with the model registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<&'static str>,
    /// `ready` or `not_ready`.
    #[schema(example = "ready")]
    status: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/health", web::get().to(health))
        .route("/ready", web::get().to(ready));
}

/// Whether this service lives.
#[utoipa::path(
    get, path = "/health", operation_id = "service_health", tag = tag::SERVICES,
    responses(
        (status = 200, description = "It does", body = ServiceHealth),
        (status = 500, description = "It does not, and `reason` says why", body = ServiceHealth),
    )
)]
async fn health(state: web::Data<AppState>) -> HttpResponse {
    let live = state.plane.live();
    let body = ServiceHealth {
        reason: live.reason().map(str::to_owned),
        service: state.role().service(),
        status: if live.alive { "healthy" } else { "unhealthy" },
        timestamp: timestamp(state.plane.wall()),
        uptime_seconds: state.plane.uptime().as_secs_f64(),
    };
    if let Some(reason) = &body.reason {
        warn!(reason, "health probe said no");
        return HttpResponse::InternalServerError().json(body);
    }
    debug!("health probe answered");
    HttpResponse::Ok().json(body)
}

/// Whether this service takes work.
///
/// The inference service needs its models, the logging service its database, and neither may err too often: not above
/// half of what it has done in the last minute.
#[utoipa::path(
    get, path = "/ready", operation_id = "service_ready", tag = tag::SERVICES,
    responses(
        (status = 200, description = "It does", body = ServiceReady),
        (status = 503, description = "It does not, and `reason` says why", body = ServiceReady),
    )
)]
async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let mut reasons = Vec::new();
    let mut body = ServiceReady::default();
    if state.role().infers() {
        inference(&state, &mut body, &mut reasons);
    }
    if state.role().logs() {
        logging(&state, &mut body, &mut reasons);
    }
    if state.role().infers() && state.role().logs() {
        both(&state, &mut body);
    }
    let phase = state.lifecycle.phase();
    if phase != Phase::Serving {
        reasons.push(format!(
            "draining: the server is ending ({})",
            phase.as_str()
        ));
    }
    if state.plane.sources().drain.is_drained() {
        reasons.push(DRAINED.to_owned());
    }
    body.timestamp = timestamp(state.plane.wall());
    if reasons.is_empty() {
        debug!("health probe answered");
        body.status = "ready";
        return HttpResponse::Ok().json(body);
    }
    let reason = reasons.join("; ");
    warn!(%reason, "health probe of /ready said no");
    body.status = "not_ready";
    body.reason = Some(reason);
    HttpResponse::ServiceUnavailable().json(body)
}

fn inference(state: &AppState, body: &mut ServiceReady, reasons: &mut Vec<String>) {
    let loaded = state.plane.models_loaded();
    body.model_loaded = Some(loaded.holds);
    registry(state, body, reasons);
    body.predictions_served = Some(state.outcomes.successes());
    body.errors = state.outcomes.failures();
    body.last_prediction = state.outcomes.last_success().map(timestamp);
    if !loaded.holds {
        reasons.push(format!("no model: {}", loaded.reason));
    }
    if let Some(tally) = state.plane.inference_error_rate() {
        reasons.push(rate("executions", tally));
    }
}

/// Says how it stands with the registry, which is no check where none is configured.
fn registry(state: &AppState, body: &mut ServiceReady, reasons: &mut Vec<String>) {
    let known = state.plane.registry();
    let accessible = known.as_ref().is_some_and(|known| known.is_accessible());
    body.mlflow_accessible = Some(accessible);
    body.registry = Some(match &known {
        None => "not_configured",
        Some(known) => known.as_str(),
    });
    let Some(known) = known.filter(|_| !accessible) else {
        return;
    };
    let why = known.reason().unwrap_or("it has not been asked yet");
    let against = format!("registry unavailable: {why}");
    match state.config.registry.readiness {
        Readiness::Required => reasons.push(against),
        Readiness::Degraded => note(&mut body.degraded, against),
    }
}

fn logging(state: &AppState, body: &mut ServiceReady, reasons: &mut Vec<String>) {
    let Some(log) = &state.predlog else {
        return;
    };
    let status = log.status().snapshot();
    body.db_initialized = Some(status.db_initialized);
    body.predictions_logged = Some(status.predictions_logged);
    body.defects_detected = Some(status.defects_detected);
    body.last_prediction = status.last_prediction.map(|at| at.to_string());
    body.errors = status.errors;
    let database = state.plane.database();
    let against = database.and_then(|database| {
        if !database.initialized {
            Some(format!(
                "database not initialized: {}",
                database.reason.unwrap_or_default()
            ))
        } else if !database.connected {
            Some(format!(
                "database unavailable: {}",
                database.reason.unwrap_or_default()
            ))
        } else {
            let away = database.sink.filter(|sink| !sink.connected)?;
            let reason = away.reason.unwrap_or_default();
            Some(format!(
                "sink of predictions ({}) unavailable: {reason}",
                away.kind
            ))
        }
    });
    if let Some(against) = against {
        match state.config.predlog.readiness {
            Readiness::Required => reasons.push(against),
            Readiness::Degraded => note(&mut body.degraded, against),
        }
    }
    if let Some(tally) = state.plane.logging_error_rate() {
        reasons.push(rate("log requests", tally));
    }
}

/// The fields both services have mean the whole process when it is both.
fn both(state: &AppState, body: &mut ServiceReady) {
    let Some(log) = &state.predlog else {
        return;
    };
    let status = log.status().snapshot();
    let served = state.outcomes.last_success().map(Timestamp::from);
    body.errors = state.outcomes.failures() + status.errors;
    let last = served.max(status.last_prediction);
    body.last_prediction = last.map(|at| at.to_string());
}

/// Adds to what is wrong without deciding anything.
fn note(degraded: &mut Option<String>, what: String) {
    *degraded = Some(match degraded.take() {
        Some(before) => format!("{before}; {what}"),
        None => what,
    });
}

fn rate(what: &str, tally: Tally) -> String {
    let percent = tally.error_rate().unwrap_or_default() * 100.0;
    format!(
        "error rate: {percent:.0}% of {} {what} in the last minute failed",
        tally.total()
    )
}
