//! `/health` and `/ready` of the two services of the contract's second part.

use std::time::SystemTime;

use actix_web::{HttpResponse, web};
use impetus_actors::sliding::Tally;
use impetus_supervision::Timestamp;
use serde_json::{Map, Value, json};
use tracing::{debug, warn};

use super::AppState;
use crate::config::Readiness;
use crate::health::Phase;
use crate::health::body::timestamp;
use crate::health::fold::DRAINED;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/health", web::get().to(health))
        .route("/ready", web::get().to(ready));
}

async fn health(state: web::Data<AppState>) -> HttpResponse {
    let live = state.plane.live();
    let mut body = json!({
        "status": if live.alive { "healthy" } else { "unhealthy" },
        "service": state.role().service(),
        "timestamp": timestamp(state.plane.wall()),
        "uptime_seconds": state.plane.uptime().as_secs_f64(),
    });
    if let Some(reason) = live.reason() {
        warn!(reason, "health probe said no");
        body["reason"] = json!(reason);
        return HttpResponse::InternalServerError().json(body);
    }
    debug!("health probe answered");
    HttpResponse::Ok().json(body)
}

async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let mut reasons = Vec::new();
    let mut fields = Map::new();
    if state.role().infers() {
        inference(&state, &mut fields, &mut reasons);
    }
    if state.role().logs() {
        logging(&state, &mut fields, &mut reasons);
    }
    if state.role().infers() && state.role().logs() {
        both(&state, &mut fields);
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
    fields.insert("timestamp".to_owned(), json!(timestamp(state.plane.wall())));
    if reasons.is_empty() {
        debug!("health probe answered");
        fields.insert("status".to_owned(), json!("ready"));
        return HttpResponse::Ok().json(fields);
    }
    let reason = reasons.join("; ");
    warn!(%reason, "health probe of /ready said no");
    fields.insert("status".to_owned(), json!("not_ready"));
    fields.insert("reason".to_owned(), json!(reason));
    HttpResponse::ServiceUnavailable().json(fields)
}

fn inference(state: &AppState, fields: &mut Map<String, Value>, reasons: &mut Vec<String>) {
    let loaded = state.plane.models_loaded();
    fields.insert("model_loaded".to_owned(), json!(loaded.holds));
    fields.insert("mlflow_accessible".to_owned(), json!(false));
    fields.insert("registry".to_owned(), json!("not_configured"));
    fields.insert(
        "predictions_served".to_owned(),
        json!(state.outcomes.successes()),
    );
    fields.insert("errors".to_owned(), json!(state.outcomes.failures()));
    fields.insert(
        "last_prediction".to_owned(),
        time(state.outcomes.last_success()),
    );
    if !loaded.holds {
        reasons.push(format!("no model: {}", loaded.reason));
    }
    if let Some(tally) = state.plane.inference_error_rate() {
        reasons.push(rate("executions", tally));
    }
}

fn logging(state: &AppState, fields: &mut Map<String, Value>, reasons: &mut Vec<String>) {
    let Some(log) = &state.predlog else {
        return;
    };
    let status = log.status().snapshot();
    fields.insert("db_initialized".to_owned(), json!(status.db_initialized));
    fields.insert(
        "predictions_logged".to_owned(),
        json!(status.predictions_logged),
    );
    fields.insert(
        "defects_detected".to_owned(),
        json!(status.defects_detected),
    );
    fields.insert("last_prediction".to_owned(), json!(status.last_prediction));
    fields.insert("errors".to_owned(), json!(status.errors));
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
            None
        }
    });
    if let Some(against) = against {
        match state.config.predlog.readiness {
            Readiness::Required => reasons.push(against),
            Readiness::Degraded => {
                fields.insert("degraded".to_owned(), json!(against));
            }
        }
    }
    if let Some(tally) = state.plane.logging_error_rate() {
        reasons.push(rate("log requests", tally));
    }
}

/// The fields both services have mean the whole process when it is both.
fn both(state: &AppState, fields: &mut Map<String, Value>) {
    let Some(log) = &state.predlog else {
        return;
    };
    let status = log.status().snapshot();
    let errors = state.outcomes.failures() + status.errors;
    let served = state.outcomes.last_success().map(Timestamp::from);
    fields.insert("errors".to_owned(), json!(errors));
    fields.insert(
        "last_prediction".to_owned(),
        json!(served.max(status.last_prediction)),
    );
}

fn rate(what: &str, tally: Tally) -> String {
    let percent = tally.error_rate().unwrap_or_default() * 100.0;
    format!(
        "error rate: {percent:.0}% of {} {what} in the last minute failed",
        tally.total()
    )
}

fn time(at: Option<SystemTime>) -> Value {
    at.map_or(Value::Null, |at| json!(timestamp(at)))
}
