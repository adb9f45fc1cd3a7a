//! The Prometheus operator's objects, for which there is no schema here: their shape, by the fields
//! that its resource types have, and that what they scrape exists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::manifests::{Manifests, list, name_of, port_of, text};

const RULE: [&str; 7] = [
    "alert",
    "annotations",
    "expr",
    "for",
    "keep_firing_for",
    "labels",
    "record",
];
const GROUP: [&str; 7] = [
    "interval",
    "labels",
    "limit",
    "name",
    "partial_response_strategy",
    "query_offset",
    "rules",
];
const ENDPOINT: [&str; 13] = [
    "path",
    "port",
    "portNumber",
    "scheme",
    "interval",
    "scrapeTimeout",
    "honorLabels",
    "honorTimestamps",
    "metricRelabelings",
    "relabelings",
    "params",
    "filterRunning",
    "followRedirects",
];

/// Finds monitors that scrape nothing, and rules that the operator would refuse.
pub fn check(manifests: &Manifests) -> Vec<String> {
    let mut wrong = Vec::new();
    for monitor in manifests.of("PodMonitor") {
        wrong.extend(of_the_operator(monitor));
        wrong.extend(scrapes(manifests, monitor));
    }
    for rules in manifests.of("PrometheusRule") {
        wrong.extend(of_the_operator(rules));
        let mut names = BTreeSet::new();
        let groups = list(&rules["spec"]["groups"]);
        if groups.is_empty() {
            wrong.push(format!("{}: has no groups", name_of(rules)));
        }
        for group in groups {
            let name = text(&group["name"]);
            if !names.insert(name) || name.is_empty() {
                wrong.push(format!(
                    "{}: a group has no name of its own, but \"{name}\"",
                    name_of(rules)
                ));
            }
            wrong.extend(unknown(name, group, &GROUP));
            for one in list(&group["rules"]) {
                wrong.extend(rule(name, one));
            }
        }
    }
    wrong
}

fn of_the_operator(object: &Value) -> Option<String> {
    (object["apiVersion"] != "monitoring.coreos.com/v1")
        .then(|| format!("{}: is of another API", name_of(object)))
}

fn scrapes(manifests: &Manifests, monitor: &Value) -> Vec<String> {
    let name = name_of(monitor);
    let mut wrong = Vec::new();
    let endpoints = list(&monitor["spec"]["podMetricsEndpoints"]);
    if endpoints.is_empty() || !monitor["spec"]["selector"].is_object() {
        wrong.push(format!("{name}: needs podMetricsEndpoints and a selector"));
    }
    for endpoint in endpoints {
        wrong.extend(unknown(&name, endpoint, &ENDPOINT));
        // On the health port they are answered also when every request worker is blocked.
        if endpoint["port"] != "health" || endpoint["path"] != "/api/health/metrics" {
            wrong.push(format!(
                "{name}: does not scrape /api/health/metrics on port health"
            ));
        }
    }
    for workload in manifests.servers() {
        let selected = manifests.selected(&monitor["spec"]["selector"]);
        let server = workload.server().unwrap_or(&Value::Null);
        if !selected.iter().any(|one| one.name() == workload.name()) {
            wrong.push(format!("{name}: does not scrape {}", workload.name()));
        } else if port_of(server, &json!("health")).is_none() {
            wrong.push(format!("{name}: {} has no port health", workload.name()));
        }
    }
    wrong
}

fn rule(group: &str, rule: &Value) -> Vec<String> {
    let (alert, record) = (text(&rule["alert"]), text(&rule["record"]));
    let place = format!("{group}: {alert}{record}");
    let mut wrong = unknown(&place, rule, &RULE);
    if alert.is_empty() == record.is_empty() {
        wrong.push(format!("{place}: is either an alert or a record"));
    }
    if text(&rule["expr"]).trim().is_empty() {
        wrong.push(format!("{place}: has no expression"));
    }
    if !alert.is_empty() {
        for (has, what) in [
            (&rule["for"], "for"),
            (&rule["labels"]["severity"], "severity"),
            (&rule["annotations"]["summary"], "summary"),
            (&rule["annotations"]["runbook_url"], "runbook_url"),
        ] {
            if has.as_str().is_none_or(str::is_empty) {
                wrong.push(format!("{place}: has no {what}"));
            }
        }
    }
    wrong
}

fn unknown(place: &str, object: &Value, known: &[&str]) -> Vec<String> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(field, _)| !known.contains(&field.as_str()))
        .map(|(field, _)| format!("{place}: {field} is no field of it"))
        .collect()
}
