//! The published rule by which each component gets its score.
//!
//! | component | 100 | falls | 0 |
//! |---|---|---|---|
//! | memory | up to 80% of the limit | evenly to 50 at the unready limit (95%) | `memory_available` is false |
//! | cpu | up to 80% | evenly to 50 at 100% | never; never required |
//! | heartbeat | last beat within 3 intervals | evenly to 50 at the stale limit (15 s) | from it on |
//! | models | every one is ready | 70 when one is degraded, an optional one is not ready, a version beside the one that serves has failed, or the model folder cannot be read; 60 while one that has to be usable loads for the first time | one that has to be usable is not: a required one, or all of several of which none is required |
//! | runtime | an engine process has loaded it | 60 while none has, during the first load | every model failed before it was loaded |
//! | database | it and the sink of predictions answer | 70 when a damaged file was replaced by a new one, 60 when one of the two does not answer | never: predictions wait for it |
//! | registry | not configured, or it answers | 60 when it does not | never: what is here is served |
//! | edge | every HTTP worker turned within 5 s | 70 when one has not | all have stood still for the limit (30 s) |
//!
//! Under 50 is unhealthy, under 80 degraded; the overall score is the worst required component's.

use std::time::Duration;

use impetus_actors::serving::ModelState;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::facts::{DatabaseFacts, Facts};
use super::fold::Rules;

/// An HTTP worker that has not turned for this long is named in the status.
const EDGE_LATE: Duration = Duration::from_secs(5);

/// Names of the components, in the order of the contract.
pub const COMPONENTS: [&str; 8] = [
    "memory",
    "cpu",
    "heartbeat",
    "models",
    "runtime",
    "database",
    "registry",
    "edge",
];

/// Healthy, degraded or unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// All is well.
    Healthy,
    /// It works, but somebody should know.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// A component's score.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Component {
    /// The grade that follows from the score.
    pub status: Grade,
    /// 0 to 100.
    #[schema(maximum = 100)]
    pub score: u8,
    /// What it was taken from.
    #[schema(value_type = Object)]
    pub detail: Map<String, Value>,
    #[serde(skip)]
    pub(super) required: bool,
}

/// Every component, under its name, in the order of the contract.
pub(super) fn components(facts: &Facts, rules: &Rules) -> Vec<(&'static str, Component)> {
    let make = |(score, detail): (u8, Value), required| Component {
        status: rules.grade(score),
        score,
        detail: match detail {
            Value::Object(map) => map,
            other => Map::from_iter([("value".to_owned(), other)]),
        },
        required,
    };
    vec![
        ("memory", make(memory(facts, rules), true)),
        ("cpu", make(cpu(facts), false)),
        ("heartbeat", make(heartbeat(facts, rules), true)),
        ("models", make(models(facts, rules), true)),
        ("runtime", make(runtime(facts), true)),
        ("database", make(database(facts), true)),
        ("registry", make(registry(facts), facts.registry.is_some())),
        ("edge", make(edge(facts, rules), true)),
    ]
}

fn memory(facts: &Facts, rules: &Rules) -> (u8, Value) {
    let Some(memory) = facts.memory else {
        return (100, json!({"reason": "not measured yet"}));
    };
    let score = if memory.available {
        falling(memory.percent, 80.0, rules.memory_unready_percent)
    } else {
        0
    };
    let mut detail = json!({
        "percent": round(memory.percent),
        "used_bytes": memory.used_bytes,
        "limit_bytes": memory.limit_bytes,
        "server_resident_bytes": memory.resident_bytes,
    });
    if let Some(guard) = facts.guard {
        detail["guard"] = json!(guard);
    }
    (score, detail)
}

fn cpu(facts: &Facts) -> (u8, Value) {
    match facts.cpu_percent {
        Some(percent) => (
            falling(percent, 80.0, 100.0),
            json!({"percent": round(percent)}),
        ),
        None => (100, json!({"reason": "not measured yet"})),
    }
}

fn heartbeat(facts: &Facts, rules: &Rules) -> (u8, Value) {
    let age = facts.heartbeat.age.unwrap_or(facts.uptime).as_secs_f64();
    let fresh = rules.heartbeat_interval.as_secs_f64() * 3.0;
    let stale = rules.heartbeat_stale_after.as_secs_f64();
    let score = if age >= stale {
        0
    } else {
        falling(age, fresh.min(stale), stale)
    };
    (score, json!({"age_seconds": round(age)}))
}

fn models(facts: &Facts, rules: &Rules) -> (u8, Value) {
    let models = &facts.models;
    let count = |state| models.all.iter().filter(|m| m.state == state).count();
    let mut detail = json!({
        "configured": models.all.len(),
        "ready": count(ModelState::Ready),
        "degraded": count(ModelState::Degraded),
        "failed": count(ModelState::Failed),
    });
    if let Some(problem) = &models.source_problem {
        detail["source_problem"] = json!(problem);
    }
    let mut reasons = Map::new();
    for model in models.all.iter().filter(|m| !m.reason.is_empty()) {
        reasons.insert(model.name.clone(), json!(model.reason));
    }
    for model in models.beside.iter().filter(|m| !m.reason.is_empty()) {
        let name = format!("{} version {}", model.name, model.version);
        reasons.insert(name, json!(model.reason));
    }
    if !reasons.is_empty() {
        detail["reasons"] = Value::Object(reasons);
    }
    if !models.served_here {
        return (100, json!({"state": "not_served_here"}));
    }
    if !models.missing.is_empty() {
        detail["missing"] = json!(models.missing);
    }
    (models_score(facts, rules), detail)
}

fn models_score(facts: &Facts, rules: &Rules) -> u8 {
    let models = &facts.models;
    if models.not_known_yet() {
        return 60;
    }
    let needed = models.needed();
    let nothing_at_all = models.none_configured() && !models.none_needed(rules.require_model);
    let loading = needed.iter().filter(|m| is_first_load(m.state)).count();
    let lost = if needed.iter().any(|m| m.required) {
        loading < needed.len()
    } else {
        !needed.is_empty() && loading == 0
    };
    if nothing_at_all || lost || !models.missing.is_empty() {
        0
    } else if !needed.is_empty() {
        60
    } else if models.all.iter().all(|m| m.state == ModelState::Ready)
        && models.source_problem.is_none()
        && !models.beside.iter().any(|m| m.state == ModelState::Failed)
    {
        100
    } else {
        70
    }
}

fn is_first_load(state: ModelState) -> bool {
    matches!(
        state,
        ModelState::Absent | ModelState::Loading | ModelState::Warming | ModelState::Downloading
    )
}

fn runtime(facts: &Facts) -> (u8, Value) {
    if !facts.models.served_here {
        return (100, json!({"state": "not_used_here"}));
    }
    let models = &facts.models.all;
    let failed = !models.is_empty() && models.iter().all(|m| m.state == ModelState::Failed);
    match &facts.runtime {
        Some(runtime) => (100, json!({"runtime": runtime})),
        None if failed => (
            0,
            json!({"reason": "no engine process has loaded a runtime"}),
        ),
        None => (
            60,
            json!({"reason": "no engine process has loaded a runtime yet"}),
        ),
    }
}

fn database(facts: &Facts) -> (u8, Value) {
    match &facts.database {
        None => (100, json!({"state": "not_used_here"})),
        Some(database) => {
            let (score, state, reason) = judge_database(database);
            let mut detail = json!({
                "state": state,
                "rows": database.rows,
                "recorded": database.recorded,
                "oldest_seconds": database.oldest.map(|age| round(age.as_secs_f64())),
                "free_bytes": database.free_bytes,
            });
            if let Some(reason) = reason {
                detail["reason"] = json!(reason);
            }
            if let Some(kept_as) = &database.set_aside {
                detail["set_aside"] = json!(kept_as);
            }
            if let Some(sink) = &database.sink {
                detail["sink"] = json!({
                    "kind": sink.kind,
                    "connected": sink.connected,
                    "backlog_full": sink.backlog_full,
                });
            }
            (score, detail)
        }
    }
}

/// Returns score, state and reason.
fn judge_database(database: &DatabaseFacts) -> (u8, &'static str, Option<String>) {
    if !database.connected {
        let reason = database.reason.as_deref().unwrap_or("not asked yet");
        return (60, "unavailable", Some(reason.to_owned()));
    }
    let away = database.sink.as_ref().filter(|sink| !sink.connected);
    if let Some(sink) = away {
        let reason = sink.reason.as_deref().unwrap_or("not asked yet");
        return (60, "sink_unavailable", Some(reason.to_owned()));
    }
    let damaged = database.set_aside.as_ref();
    damaged.map_or((100, "connected", None), |kept_as| {
        let reason =
            format!("the file was damaged; it is kept as {kept_as}, and a new one was begun");
        (70, "connected", Some(reason))
    })
}

fn registry(facts: &Facts) -> (u8, Value) {
    let Some(state) = &facts.registry else {
        return (100, json!({"state": "not_configured"}));
    };
    let score = if state.reason().is_none() { 100 } else { 60 };
    (score, json!(**state))
}

fn edge(facts: &Facts, rules: &Rules) -> (u8, Value) {
    let late = facts.edge.iter().filter(|age| **age > EDGE_LATE).count();
    let ages: Vec<f64> = facts
        .edge
        .iter()
        .map(|age| round(age.as_secs_f64()))
        .collect();
    let detail = json!({
        "workers": facts.edge.len(),
        "standing_still": late,
        "ages_seconds": ages,
    });
    let score = if rules.edge_stalled(facts) {
        0
    } else if late > 0 {
        70
    } else {
        100
    };
    (score, detail)
}

/// 100 up to `from`, 50 at `to`, even in between, and never below 50.
fn falling(value: f64, from: f64, to: f64) -> u8 {
    if value <= from {
        return 100;
    }
    let way = if to > from {
        ((value - from) / (to - from)).min(1.0)
    } else {
        1.0
    };
    // Between 50 and 100 by construction.
    (100.0 - 50.0 * way).round() as u8
}

pub(super) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
