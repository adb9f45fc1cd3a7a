//! The health endpoints of the contract's first part.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tracing::{debug, warn};

use super::AppState;
use crate::health::fold::Check;
use crate::health::score::Grade;

/// Kubernetes' own health endpoints take these.
struct ProbeQuery {
    verbose: bool,
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

async fn startup(state: web::Data<AppState>) -> HttpResponse {
    let body = state.plane.startup();
    answer(
        "startup",
        body.started,
        "the supervision tree does not stand yet",
        &body,
    )
}

async fn health(state: web::Data<AppState>) -> HttpResponse {
    let body = state.plane.health();
    graded(body.status, &body)
}

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
