//! Probes: their numbers, what they ask, and how long they wait.
//!
//! The kubelet kills on the word of a probe alone. So liveness must ask what a restart can mend, and
//! must leave the server the time to find out by itself what is wrong and to write it down first.

use std::time::Duration;

use serde_json::Value;

use crate::manifests::{Manifests, Workload, text};

const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];

/// Finds numbers that the kubelet or common sense refuses. No schema does.
pub fn numbers(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, probe) in all(manifests) {
        for field in [
            "periodSeconds",
            "timeoutSeconds",
            "failureThreshold",
            "successThreshold",
        ] {
            if probe[field].as_i64().is_some_and(|number| number < 1) {
                wrong.push(format!("{place}: {field} must be at least 1"));
            }
        }
        if probe["initialDelaySeconds"]
            .as_i64()
            .is_some_and(|number| number < 0)
        {
            wrong.push(format!("{place}: initialDelaySeconds must not be negative"));
        }
        if seconds(probe, "timeoutSeconds", 1) > seconds(probe, "periodSeconds", 10) {
            wrong.push(format!("{place}: its timeout is longer than its period"));
        }
        if !place.ends_with("readinessProbe") && seconds(probe, "successThreshold", 1) != 1 {
            wrong.push(format!("{place}: successThreshold must be 1"));
        }
    }
    wrong
}

/// Finds servers without all three probes, and probes that ask for something else than they decide.
pub fn purposes(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for (workload, server) in servers(manifests) {
        for probe in PROBES {
            let place = format!("{}: {probe}", workload.name());
            let path = text(&server[probe]["httpGet"]["path"]);
            let purpose: &[&str] = match probe {
                // What a restart mends: nothing of models, database or load.
                "livenessProbe" => &["/api/health/live", "/health"],
                "readinessProbe" => &["/api/health/ready", "/ready"],
                _ => &["/api/health/startup", "/health", "/api/health/ready"],
            };
            if !purpose.contains(&path) {
                wrong.push(format!("{place} asks \"{path}\", not one of {purpose:?}"));
            }
        }
    }
    wrong
}

/// Finds probes that act too early or too late for what the server does meanwhile.
pub fn patience(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for (workload, server) in servers(manifests) {
        let Some(config) = workload.config() else {
            continue;
        };
        let place = workload.name();
        let (health, lifecycle) = (&config.health, &config.lifecycle);
        let liveness = &server["livenessProbe"];
        let verdict = health
            .heartbeat_stale_after
            .get()
            .max(health.root_stale_after.get());
        if shortest_kill(liveness) < verdict {
            wrong.push(format!(
                "{place}: liveness kills before the server has found out why ({verdict:?})"
            ));
        }
        let own_end = lifecycle.exit_after_verdict.get();
        if own_end > Duration::ZERO && window(liveness) + timeout(liveness) >= own_end {
            wrong.push(format!(
                "{place}: the server ends itself before liveness does"
            ));
        }
        if window(&server["readinessProbe"]) >= window(liveness) {
            wrong.push(format!("{place}: liveness acts no later than readiness"));
        }
        let startup = &server["startupProbe"];
        let models = &config.models;
        let load = models.load_timeout.get() + models.warm_up_timeout.get();
        let waits_for_models = text(&startup["httpGet"]["path"]).ends_with("/ready");
        if waits_for_models && config.role.infers() && window(startup) < load {
            wrong.push(format!(
                "{place}: startup gives up before a load does ({load:?})"
            ));
        }
        if window(startup) < verdict {
            wrong.push(format!(
                "{place}: startup is shorter than liveness would be"
            ));
        }
    }
    wrong
}

/// Finds pods that are killed in the middle of their orderly end.
pub fn grace_period(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for (workload, server) in servers(manifests) {
        let grace = seconds(workload.pod(), "terminationGracePeriodSeconds", 30);
        let config = workload.config().unwrap_or_default();
        let longest = config.lifecycle.longest_stop();
        if Duration::from_secs(grace) <= longest {
            wrong.push(format!(
                "{}: a grace period of {grace} s is not longer than the longest end, {longest:?}",
                workload.name()
            ));
        }
        if !server["lifecycle"]["preStop"].is_null() {
            wrong.push(format!(
                "{}: a preStop hook takes the lame duck's time a second time",
                workload.name()
            ));
        }
    }
    wrong
}

/// Returns how long a probe fails before it acts.
pub fn window(probe: &Value) -> Duration {
    let period = seconds(probe, "periodSeconds", 10);
    Duration::from_secs(period * seconds(probe, "failureThreshold", 3))
}

/// Returns the shortest time from the first question without an answer to the kill.
fn shortest_kill(probe: &Value) -> Duration {
    window(probe) - Duration::from_secs(seconds(probe, "periodSeconds", 10)) + timeout(probe)
}

fn timeout(probe: &Value) -> Duration {
    Duration::from_secs(seconds(probe, "timeoutSeconds", 1))
}

fn seconds(object: &Value, field: &str, default: u64) -> u64 {
    object[field].as_u64().unwrap_or(default)
}

fn servers(manifests: &Manifests) -> Vec<(Workload<'_>, &Value)> {
    let all = manifests.servers().into_iter();
    all.filter_map(|workload| Some((workload, workload.server()?)))
        .collect()
}

/// Returns every probe there is, with its place.
fn all(manifests: &Manifests) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for workload in manifests.workloads() {
        for container in workload.containers() {
            for name in PROBES {
                if !container[name].is_null() {
                    let place = format!("{}: {name}", workload.name());
                    found.push((place, &container[name]));
                }
            }
        }
    }
    found
}
