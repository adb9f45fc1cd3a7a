//! The bodies of the health endpoints, field by field as the contract has them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use impetus_actors::serving::ModelStatus;
use impetus_supervision::StatusNode;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::Course;
use super::facts::{Exhibits, Facts};
use super::fold::{self, Readiness, Rules};
use super::score::{self, Component, Grade};
use crate::last_run::PreviousRun;

/// `GET /api/health/live`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveBody {
    /// The verdict.
    pub alive: bool,
    #[schema(format = DateTime)]
    timestamp: String,
    uptime_seconds: f64,
    #[schema(required, format = DateTime)]
    last_heartbeat: Option<String>,
    /// What speaks against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// `GET /api/health/ready`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyBody {
    /// The verdict.
    pub ready: bool,
    #[schema(format = DateTime)]
    timestamp: String,
    /// Every check by its name, and by its aliases (`health.check_aliases`).
    checks: BTreeMap<String, bool>,
    message: &'static str,
    /// Everything that speaks against it.
    pub reasons: Vec<String>,
}

/// `GET /api/health/startup`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StartupBody {
    /// Whether the supervision tree has come to stand.
    pub started: bool,
    #[schema(format = DateTime)]
    timestamp: String,
    uptime_seconds: f64,
}

/// `GET /api/health`.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthBody {
    /// The verdict.
    pub status: Grade,
    #[schema(format = DateTime)]
    timestamp: String,
    uptime_seconds: f64,
    #[schema(required, format = DateTime)]
    last_heartbeat: Option<String>,
    #[schema(required)]
    heartbeat_age_seconds: Option<f64>,
    /// Unhealthy evaluations in a row.
    consecutive_failures: u64,
    version: &'static str,
    environment: String,
}

/// `GET /api/health/status`.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusBody {
    #[serde(flatten)]
    health: HealthBody,
    /// The worst required component's.
    #[schema(maximum = 100)]
    score: u8,
    /// `serving`, or the step of the end the process is in.
    phase: &'static str,
    lifecycle: Course,
    /// An operator has taken the server out of traffic.
    drained: bool,
    healing: HealingBody,
    #[schema(value_type = BTreeMap<String, Component>)]
    components: BTreeMap<&'static str, Component>,
    /// The supervision tree: the root with all under it.
    actors: Vec<StatusNode>,
    /// Every version of every model.
    models: Vec<ModelStatus>,
    /// How the run before this one ended; null for the first.
    #[schema(required, value_type = Option<PreviousRun>)]
    previous_run: Option<Value>,
}

/// Whether fallen actors are started again.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealingBody {
    /// Healing is paused.
    pub paused: bool,
    /// After how long it goes on by itself.
    #[schema(required)]
    pub resumes_in_seconds: Option<f64>,
}

/// What a body needs beside the facts.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// The numbers.
    pub rules: &'a Rules,
    /// Name of the environment.
    pub environment: &'a str,
    /// Unhealthy evaluations in a row.
    pub consecutive_failures: u64,
    /// Other names of checks: alias to check.
    pub aliases: &'a BTreeMap<String, String>,
}

/// Formats a wall-clock time as RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let whole = at.replace_millisecond(at.millisecond()).unwrap_or(at);
    whole
        .format(&Rfc3339)
        .expect("a time of this age can be formatted")
}

/// Makes the body of `GET /api/health/live`.
#[must_use]
pub fn live(facts: &Facts, rules: &Rules) -> LiveBody {
    let liveness = fold::live(facts, rules);
    LiveBody {
        alive: liveness.holds(),
        timestamp: timestamp(facts.now),
        uptime_seconds: seconds(facts.uptime),
        last_heartbeat: facts.heartbeat.at.map(timestamp),
        reason: liveness.reason,
    }
}

/// Makes the body of `GET /api/health/ready`.
#[must_use]
pub fn ready(facts: &Facts, readiness: &Readiness, frame: &Frame<'_>) -> ReadyBody {
    let named: BTreeMap<&str, bool> = readiness.checks.iter().map(|c| (c.name, c.holds)).collect();
    let mut checks: BTreeMap<String, bool> = named
        .iter()
        .map(|(name, holds)| ((*name).to_owned(), *holds))
        .collect();
    for (alias, of) in frame.aliases {
        if let Some(holds) = named.get(of.as_str()) {
            checks.insert(alias.clone(), *holds);
        }
    }
    let ready = readiness.holds();
    ReadyBody {
        ready,
        timestamp: timestamp(facts.now),
        checks,
        message: if ready { "Ready" } else { "Not ready" },
        reasons: readiness.reasons(),
    }
}

/// Makes the body of `GET /api/health/startup`.
#[must_use]
pub fn startup(facts: &Facts) -> StartupBody {
    StartupBody {
        started: facts.started,
        timestamp: timestamp(facts.now),
        uptime_seconds: seconds(facts.uptime),
    }
}

/// Makes the body of `GET /api/health`.
#[must_use]
pub fn health(facts: &Facts, frame: &Frame<'_>) -> HealthBody {
    health_of(facts, frame, fold::overall(facts, frame.rules).grade)
}

/// Makes the body of `GET /api/health/status`.
#[must_use]
pub fn status(facts: &Facts, frame: &Frame<'_>, exhibits: Exhibits) -> StatusBody {
    let overall = fold::overall(facts, frame.rules);
    StatusBody {
        health: health_of(facts, frame, overall.grade),
        score: overall.score,
        phase: facts.phase.as_str(),
        lifecycle: exhibits.lifecycle,
        drained: facts.drained,
        healing: HealingBody::from(facts.healing_paused),
        components: overall.components.into_iter().collect(),
        actors: exhibits.actors,
        models: facts.models.every_version().into_iter().cloned().collect(),
        previous_run: exhibits.previous_run,
    }
}

fn health_of(facts: &Facts, frame: &Frame<'_>, grade: Grade) -> HealthBody {
    HealthBody {
        status: grade,
        timestamp: timestamp(facts.now),
        uptime_seconds: seconds(facts.uptime),
        last_heartbeat: facts.heartbeat.at.map(timestamp),
        heartbeat_age_seconds: facts.heartbeat.age.map(seconds),
        consecutive_failures: frame.consecutive_failures,
        version: env!("CARGO_PKG_VERSION"),
        environment: frame.environment.to_owned(),
    }
}

fn seconds(duration: Duration) -> f64 {
    score::round(duration.as_secs_f64())
}

// === impl HealingBody ===

impl From<Option<Duration>> for HealingBody {
    /// Takes what is left of a pause.
    fn from(paused_for: Option<Duration>) -> Self {
        Self {
            paused: paused_for.is_some(),
            resumes_in_seconds: paused_for.map(seconds),
        }
    }
}

// === impl LiveBody ===

impl LiveBody {
    /// Returns why it is not alive.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

// === impl StatusBody ===

impl StatusBody {
    /// Returns the verdict.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.health.status
    }
}

#[cfg(test)]
mod tests;
