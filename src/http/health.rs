//! The health endpoints of the contract's first part.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tracing::{debug, warn};
use utoipa::{IntoParams, OpenApi};

use super::AppState;
use super::openapi::tag;
use crate::health::body::{HealthBody, LiveBody, ReadyBody, StartupBody, StatusBody};
use crate::health::fold::Check;
use crate::health::score::Grade;

#[derive(OpenApi)]
#[openapi(paths(live, ready, ready_check, startup, health, status))]
pub(super) struct Api;

/// Kubernetes' own health endpoints take these.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct ProbeQuery {
    /// Answer in lines of text, one for each check; a value is not needed.
    #[param(value_type = Option<String>, allow_reserved)]
    verbose: bool,
    /// Readiness without this check; may be given several times.
    #[param(value_type = Option<Vec<String>>, example = json!(["models_loaded"]))]
    exclude: Vec<String>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/health", web::get().to(health))
        .route("/api/health/live", web::get().to(live))
        .route("/api/health/ready", web::get().to(ready))
        .route("/api/health/ready/{check}", web::get().to(ready_check))
        .route("/api/health/startup", web::get().to(startup))
        .route("/api/health/status", web::get().to(status));
}

/// Whether the process should be restarted.
///
/// The root supervisor and the heartbeat wrote their stamps within the limit, nothing significant was given up, and the
/// HTTP edge turns. Nothing outside the process is asked, draining changes nothing, and load does not either.
#[utoipa::path(
    get, path = "/api/health/live", operation_id = "live", tag = tag::HEALTH,
    params(("verbose" = Option<String>, Query, description = "Answer in lines of text; a value is not needed")),
    responses(
        (status = 200, description = "It lives", content((LiveBody = "application/json"), (String = "text/plain"))),
        (status = 503, description = "It does not, and `reason` says why", content((LiveBody = "application/json"), (String = "text/plain"))),
    )
)]
async fn live(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    let body = state.plane.live();
    if probe_query(&request).verbose {
        let reason = body.reason().unwrap_or_default().to_owned();
        let check = Check {
            name: "alive",
            holds: body.alive,
            reason,
        };
        return verbose("live", &[check], body.alive);
    }
    answer("live", body.alive, body.reason().unwrap_or_default(), &body)
}

/// Whether traffic should come here.
///
/// Every required check holds, and the server is neither ending nor taken out of traffic.
#[utoipa::path(
    get, path = "/api/health/ready", operation_id = "ready", tag = tag::HEALTH, params(ProbeQuery),
    responses(
        (status = 200, description = "It should", content((ReadyBody = "application/json"), (String = "text/plain"))),
        (status = 503, description = "It should not, and `reasons` says why", content((ReadyBody = "application/json"), (String = "text/plain"))),
        (status = 404, description = "There is no check of the name to exclude", content_type = "text/plain", body = String),
    )
)]
async fn ready(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    let query = probe_query(&request);
    let readiness = match state.plane.ready(&query.exclude) {
        Ok(readiness) => readiness,
        Err(unknown) => return unknown_check(&unknown),
    };
    if query.verbose {
        let checks = readiness.all_checks();
        return verbose("ready", &checks, readiness.body.ready);
    }
    let reasons = readiness.body.reasons.join("; ");
    answer("ready", readiness.body.ready, &reasons, &readiness.body)
}

/// Whether one readiness check holds.
#[utoipa::path(
    get, path = "/api/health/ready/{check}", operation_id = "ready_check", tag = tag::HEALTH,
    params(("check" = String, Path, description = "Name of the check, or an alias", example = "models_loaded")),
    responses(
        (status = 200, description = "It does: `ok`", content_type = "text/plain", body = String),
        (status = 503, description = "It does not: `failed`, and why", content_type = "text/plain", body = String),
        (status = 404, description = "There is no check of that name", content_type = "text/plain", body = String),
    )
)]
async fn ready_check(name: web::Path<String>, state: web::Data<AppState>) -> HttpResponse {
    match state.plane.check(&name) {
        Some(check) if check.holds => HttpResponse::Ok().content_type(TEXT).body("ok"),
        Some(check) => {
            warn!(check = %name, reason = %check.reason, "health check failed");
            HttpResponse::ServiceUnavailable()
                .content_type(TEXT)
                .body(format!("failed: {}", check.reason))
        }
        None => unknown_check(&name),
    }
}

/// Whether it has started.
///
/// Once the supervision tree stands it has, for good and whatever the models do.
#[utoipa::path(
    get, path = "/api/health/startup", operation_id = "startup", tag = tag::HEALTH,
    responses(
        (status = 200, description = "It has", body = StartupBody),
        (status = 503, description = "Not yet", body = StartupBody),
    )
)]
async fn startup(state: web::Data<AppState>) -> HttpResponse {
    let body = state.plane.startup();
    answer(
        "startup",
        body.started,
        "the supervision tree does not stand yet",
        &body,
    )
}

/// Whether somebody should be alerted.
#[utoipa::path(
    get, path = "/api/health", operation_id = "health", tag = tag::HEALTH,
    responses(
        (status = 200, description = "Healthy or degraded", body = HealthBody),
        (status = 503, description = "Unhealthy", body = HealthBody),
    )
)]
async fn health(state: web::Data<AppState>) -> HttpResponse {
    let body = state.plane.health();
    graded(body.status, &body)
}

/// What exactly is wrong.
///
/// Every component with its score, every actor, every model, and how the run before this one ended.
#[utoipa::path(
    get, path = "/api/health/status", operation_id = "status", tag = tag::HEALTH,
    responses(
        (status = 200, description = "Healthy or degraded", body = StatusBody),
        (status = 503, description = "Unhealthy, in the same shape", body = StatusBody),
    )
)]
async fn status(state: web::Data<AppState>) -> HttpResponse {
    let body = state.plane.status();
    graded(body.grade(), &body)
}

const TEXT: &str = "text/plain; charset=utf-8";

fn graded(grade: Grade, body: &impl Serialize) -> HttpResponse {
    let well = grade != Grade::Unhealthy;
    answer("health", well, "unhealthy, see /api/health/status", body)
}

fn answer(probe: &str, yes: bool, reason: &str, body: &impl Serialize) -> HttpResponse {
    if yes {
        debug!(probe, "health probe answered");
        HttpResponse::Ok().json(body)
    } else {
        warn!(probe, reason, "health probe said no");
        HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE).json(body)
    }
}

/// Answers in the lines that the Kubernetes API server's health endpoints have.
fn verbose(probe: &str, checks: &[Check], yes: bool) -> HttpResponse {
    let mut text = String::new();
    for check in checks {
        if check.holds {
            text.push_str(&format!("[+]{} ok\n", check.name));
        } else {
            text.push_str(&format!("[-]{} failed: {}\n", check.name, check.reason));
        }
    }
    let verdict = if yes { "passed" } else { "failed" };
    text.push_str(&format!("{probe} check {verdict}\n"));
    let status = if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).content_type(TEXT).body(text)
}

fn unknown_check(name: &str) -> HttpResponse {
    HttpResponse::NotFound()
        .content_type(TEXT)
        .body(format!("there is no readiness check named {name:?}"))
}

/// Reads `?verbose` (with or without a value) and every `exclude=`.
fn probe_query(request: &HttpRequest) -> ProbeQuery {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let mut query = ProbeQuery {
        verbose: request
            .query_string()
            .split('&')
            .any(|pair| pair == "verbose"),
        exclude: Vec::new(),
    };
    for (key, value) in pairs.map(web::Query::into_inner).unwrap_or_default() {
        match key.as_str() {
            "verbose" => query.verbose = !matches!(value.as_str(), "false" | "0"),
            "exclude" => query.exclude.push(value),
            _ => {}
        }
    }
    query
}
