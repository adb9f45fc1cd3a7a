//! The verdicts: alive, ready, well.

use super::descriptor::Kind::{Counter, Gauge};
use super::descriptor::{Descriptor, Label, subject};
use super::families::{Families, Family};
use crate::health::score::{COMPONENTS, Grade};
use crate::health::{Facts, Phase, fold};
use crate::http::AppState;

subject! { "Health";
    STATUS = Descriptor::new("impetus_health_status", Gauge, "0 or 1")
        .help("1 while the server is healthy or degraded, 0 while it is unhealthy.");
    LIVE = Descriptor::new("impetus_live", Gauge, "0 or 1")
        .help("1 while the server is alive, 0 when it should be restarted; as /api/health/live says it.");
    READY = Descriptor::new("impetus_ready", Gauge, "0 or 1")
        .help("1 while traffic should come here; as /api/health/ready says it.");
    DRAINING = Descriptor::new("impetus_draining", Gauge, "0 or 1")
        .help("1 while the server is ending, or an operator has taken it out of traffic.");
    SCORE = Descriptor::new("impetus_component_score", Gauge, "0 to 100")
        .help("Score of each component; under 50 is unhealthy, under 80 degraded.")
        .labels(&[Label::words("component", || COMPONENTS.to_vec())]);
    IN_A_ROW = Descriptor::new("impetus_consecutive_health_failures", Gauge, "evaluations")
        .help("Unhealthy evaluations in a row; 0 after one that is not.");
    FAILURES = Descriptor::new("impetus_health_failures_total", Counter, "evaluations")
        .help("Unhealthy evaluations since the start.");
    HEARTBEAT = Descriptor::new("impetus_heartbeat_age_seconds", Gauge, "seconds")
        .help("Time since the last heartbeat; since the start of the process before the first.");
    PAUSED = Descriptor::new("impetus_healing_paused", Gauge, "0 or 1")
        .help("1 while fallen actors are not started again because an operator has paused healing.");
}

pub(super) fn expose(state: &AppState, facts: &Facts, out: &mut Families) {
    let plane = &state.plane;
    let rules = plane.rules();
    let overall = fold::overall(facts, rules);
    out.flag(&STATUS, overall.grade != Grade::Unhealthy);
    out.flag(&LIVE, fold::live(facts, rules).holds());
    out.flag(&READY, fold::ready(facts, rules).holds());
    out.flag(&DRAINING, facts.drained || facts.phase != Phase::Serving);
    let mut scores = Family::new(&SCORE);
    for (name, component) in &overall.components {
        scores.add(&[name], f64::from(component.score));
    }
    out.add(scores);
    out.one(&IN_A_ROW, plane.consecutive_failures() as f64);
    out.one(&FAILURES, plane.failures() as f64);
    let age = facts.heartbeat.age.unwrap_or(facts.uptime);
    out.one(&HEARTBEAT, age.as_secs_f64());
    out.flag(&PAUSED, facts.healing_paused.is_some());
}
