//! The verdicts: alive, ready, healthy. Pure functions of the facts and the rules.

use std::time::Duration;

use impetus_actors::serving::ModelStatus;

use super::Phase;
use super::facts::Facts;
use super::score::{self, Component, Grade};

/// The numbers of the health plane.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How often the heart beats.
    pub heartbeat_interval: Duration,
    /// Age at which the last beat is stale.
    pub heartbeat_stale_after: Duration,
    /// Age at which the root's last turn is stale.
    pub root_stale_after: Duration,
    /// How long all HTTP workers may stand still.
    pub edge_stalled_after: Duration,
    /// Whether a server without models is unready.
    pub require_model: bool,
    /// What is said where there is no model.
    pub no_model: String,
    /// Percent of the limit at which memory is no longer available.
    pub memory_unready_percent: f64,
    /// Scores below this are unhealthy.
    pub unhealthy_below: u8,
    /// Scores below this are degraded.
    pub degraded_below: u8,
}

/// Name of the check that stands for whatever has no check of its own.
pub const SERVING: &str = "serving";

/// What readiness says while an operator has taken the server out of traffic.
pub const DRAINED: &str = "drained: by an operator";

/// Whether the pod should be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// Why it is not alive, in the order of importance; empty when it is.
    pub reason: Option<String>,
}

/// One readiness check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why it does not.
    pub reason: String,
}

/// Whether traffic should come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The named checks, in the order of the wire.
    pub checks: Vec<Check>,
    /// What else speaks against it: ending, a significant actor in doubt.
    pub others: Vec<String>,
}

/// Whether somebody should be alerted.
#[derive(Debug, Clone)]
pub struct Overall {
    /// The grade of the score.
    pub grade: Grade,
    /// The worst required component's score.
    pub score: u8,
    /// Every component.
    pub components: Vec<(&'static str, Component)>,
}

// === impl Rules ===

impl Rules {
    /// Returns the grade of a score.
    #[must_use]
    pub fn grade(&self, score: u8) -> Grade {
        if score < self.unhealthy_below {
            Grade::Unhealthy
        } else if score < self.degraded_below {
            Grade::Degraded
        } else {
            Grade::Healthy
        }
    }

    /// Tells whether every HTTP worker has stood still for the limit.
    #[must_use]
    pub fn edge_stalled(&self, facts: &Facts) -> bool {
        !facts.edge.is_empty() && facts.edge.iter().all(|age| *age >= self.edge_stalled_after)
    }
}

// === impl Liveness ===

impl Liveness {
    /// Tells whether it is alive.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.reason.is_none()
    }
}

// === impl Readiness ===

impl Readiness {
    /// Tells whether it is ready.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.others.is_empty() && self.checks.iter().all(|check| check.holds)
    }

    /// Returns the named checks and, as one more, whatever else speaks against it.
    #[must_use]
    pub fn all_checks(&self) -> Vec<Check> {
        let mut checks = self.checks.clone();
        checks.push(Check::new(SERVING, self.others.join("; ")));
        checks
    }

    /// Leaves out the check of that name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.checks.retain(|check| check.name != name);
        if name == SERVING {
            self.others.clear();
        }
        self
    }

    /// Returns everything that speaks against it.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| !check.holds);
        let mut reasons: Vec<String> = failed
            .map(|c| format!("{}: {}", c.name, c.reason))
            .collect();
        reasons.extend(self.others.iter().cloned());
        reasons
    }
}

/// Judges whether the process should be restarted. Nothing outside it matters, nor does load, nor
/// that it is being drained.
#[must_use]
pub fn live(facts: &Facts, rules: &Rules) -> Liveness {
    // Before the first beat the process's own age is what counts: a tree that never comes to stand
    // must not be alive for ever.
    let root_age = facts.root_age.unwrap_or(facts.uptime);
    let beat_age = facts.heartbeat.age.unwrap_or(facts.uptime);
    let reason = if let Some(given_up) = &facts.given_up {
        Some(format!(
            "{} was given up: {}",
            given_up.actor, given_up.reason
        ))
    } else if root_age >= rules.root_stale_after {
        Some(format!(
            "root_stalled: the root supervisor last turned {} ago",
            seconds(root_age)
        ))
    } else if beat_age >= rules.heartbeat_stale_after {
        Some(format!(
            "heartbeat_stale: the last beat was {} ago",
            seconds(beat_age)
        ))
    } else if rules.edge_stalled(facts) {
        let least = facts.edge.iter().min().copied().unwrap_or_default();
        Some(format!(
            "edge_stalled: all {} http workers have stood still for {}",
            facts.edge.len(),
            seconds(least)
        ))
    } else {
        None
    };
    Liveness { reason }
}

/// Judges whether traffic should come here.
#[must_use]
pub fn ready(facts: &Facts, rules: &Rules) -> Readiness {
    let checks = vec![
        memory_available(facts),
        models_loaded(facts, rules),
        runtime_available(facts),
    ];
    let mut others = Vec::new();
    if !facts.started {
        others.push("starting: the supervision tree does not stand yet".to_owned());
    }
    if facts.phase != Phase::Serving {
        others.push(format!(
            "draining: the server is ending ({})",
            facts.phase.as_str()
        ));
    }
    if facts.drained {
        others.push(DRAINED.to_owned());
    }
    for actor in &facts.unknown {
        others.push(format!("actor_unknown: {actor} has not said how it is"));
    }
    if let Some(reason) = live(facts, rules).reason {
        others.push(format!("not_alive: {reason}"));
    }
    Readiness { checks, others }
}

/// Grades the whole.
#[must_use]
pub fn overall(facts: &Facts, rules: &Rules) -> Overall {
    let components = score::components(facts, rules);
    let worst = components
        .iter()
        .filter(|(_, c)| c.required)
        .map(|(_, c)| c.score)
        .min();
    let mut score = worst.unwrap_or(100);
    if !live(facts, rules).holds() {
        score = 0;
    }
    Overall {
        grade: rules.grade(score),
        score,
        components,
    }
}

fn memory_available(facts: &Facts) -> Check {
    let reason = match facts.memory {
        Some(memory) if !memory.available => {
            format!(
                "{:.1}% of {} bytes are in use",
                memory.percent, memory.limit_bytes
            )
        }
        _ => String::new(),
    };
    Check::new("memory_available", reason)
}

fn models_loaded(facts: &Facts, rules: &Rules) -> Check {
    let models = &facts.models;
    let reason = if models.none_needed(rules.require_model) {
        String::new()
    } else if models.not_known_yet() {
        "the model folder is being looked at".to_owned()
    } else if models.none_configured() {
        let empty = || rules.no_model.clone();
        models.source_problem.clone().unwrap_or_else(empty)
    } else {
        let mut against: Vec<String> = models.needed().into_iter().map(describe).collect();
        against.extend(
            models
                .missing
                .iter()
                .map(|name| format!("{name} is required and not there")),
        );
        against.join("; ")
    };
    Check::new("models_loaded", reason)
}

fn runtime_available(facts: &Facts) -> Check {
    let reason = if facts.models.served_here && facts.runtime.is_none() {
        "no engine process has loaded a runtime"
    } else {
        ""
    };
    Check::new("runtime_available", reason.to_owned())
}

fn describe(model: &ModelStatus) -> String {
    let ModelStatus {
        name,
        state,
        reason,
        ..
    } = model;
    if reason.is_empty() {
        format!("{name} is {state}")
    } else {
        format!("{name} is {state} ({reason})")
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

// === impl Check ===

impl Check {
    /// A check holds when nothing speaks against it.
    fn new(name: &'static str, reason: String) -> Self {
        Self {
            name,
            holds: reason.is_empty(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
