//! The rules themselves: valid, complete, explained, tried on both sides, and about metrics that
//! exist.

mod cases;
mod pages;
mod series;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::{binary, repo};
use crate::prometheus::{Prometheus, Scene, original_rules};
use crate::tools::{monitoring, must_succeed};

/// The four alerts of the document on Kubernetes probes: name and condition, to the letter.
const DOCUMENTS_ALERTS: [(&str, &str); 4] = [
    ("ImpetusUnhealthy", "impetus_health_status == 0"),
    (
        "ImpetusConsecutiveHealthFailures",
        "impetus_consecutive_health_failures > 2",
    ),
    ("ImpetusCpuHigh", "impetus_cpu_usage_percent > 90"),
    ("ImpetusMemoryHigh", "impetus_memory_usage_percent > 95"),
];

/// A rule that alerts, as Prometheus has read it.
struct Alert {
    name: String,
    severity: String,
    annotations: Value,
}

// === impl Alert ===

impl Alert {
    /// Returns how long its condition must hold, as the file says it: Prometheus was given a second
    /// for all of them.
    fn waits(&self) -> String {
        let rules = original_rules();
        let opening = format!("{}\n", self.name);
        let severity = format!("severity: {}\n", self.severity);
        let mut rules = rules.split("- alert: ").skip(1);
        let rule = rules.find(|rule| rule.starts_with(&opening) && rule.contains(&severity));
        let mut lines = rule.unwrap().lines();
        let wait = lines.find_map(|line| line.trim().strip_prefix("for: "));
        wait.unwrap_or_default().to_owned()
    }
}

/// Returns every rule, read by a Prometheus that looks at nothing.
fn read() -> Vec<Value> {
    let prometheus = Prometheus::start(&Scene::default());
    let mut rules = Vec::new();
    prometheus.wait_for("the rules", || {
        rules = prometheus.rules();
        !rules.is_empty()
    });
    rules
}

/// Returns every rule that alerts.
fn alerts() -> Vec<Alert> {
    let rules = read();
    let alerts: Vec<Alert> = rules
        .iter()
        .filter(|rule| rule["type"] == "alerting")
        .map(|rule| Alert {
            name: rule["name"].as_str().unwrap().to_owned(),
            severity: rule["labels"]["severity"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            annotations: rule["annotations"].clone(),
        })
        .collect();
    assert!(alerts.len() > 20, "{}", alerts.len());
    alerts
}

#[test]
fn the_rules_and_the_configuration_of_alertmanager_are_valid() {
    let folder = "k8s/monitoring";
    must_succeed("promtool", &["check", "rules", "impetus.rules.yml"], folder);
    if cfg!(target_os = "linux") {
        must_succeed("amtool", &["check-config", "alertmanager.yml"], folder);
    }
}

#[test]
fn the_rules_for_the_operator_are_those_of_the_file() {
    let made = Command::new(repo().join("scripts/render-prometheus-rule.sh"))
        .arg("--stdout")
        .output()
        .unwrap();
    assert!(made.status.success());
    let kept = fs::read_to_string(monitoring("prometheus-rule.yaml")).unwrap();
    assert!(
        String::from_utf8(made.stdout).unwrap() == kept,
        "prometheus-rule.yaml is not what impetus.rules.yml makes: run `make manifests`"
    );
}

#[test]
fn the_documents_alerts_are_there_to_the_letter() {
    let rules = original_rules();
    for (name, condition) in DOCUMENTS_ALERTS {
        let rule = format!("- alert: {name}\n        expr: {condition}\n");
        assert!(rules.contains(&rule), "{rule}");
    }
}

#[test]
fn every_alert_waits_and_has_a_severity_a_summary_a_description_and_its_runbook() {
    for alert in alerts() {
        let name = &alert.name;
        assert!(
            !["", "0s", "0m"].contains(&alert.waits().as_str()),
            "{name} waits for nothing"
        );
        let known = ["critical", "warning", "info"];
        assert!(known.contains(&alert.severity.as_str()), "{name}: severity");
        for annotation in ["summary", "description"] {
            let text = alert.annotations[annotation].as_str().unwrap_or_default();
            assert!(text.ends_with('.'), "{name}: {annotation} is {text:?}");
        }
        let url = alert.annotations["runbook_url"]
            .as_str()
            .unwrap_or_default();
        assert!(
            url.ends_with(&format!("/docs/runbooks/{name}.md")),
            "{name}: {url}"
        );
    }
}

#[test]
fn every_metric_that_a_rule_names_is_exported() {
    let vocabulary = vocabulary();
    for rule in read() {
        let unknown = unknown_in(rule["query"].as_str().unwrap(), &vocabulary);
        assert_eq!(unknown, NOTHING, "{}", rule["name"]);
    }
}

/// No name at all.
const NOTHING: [&str; 0] = [];

/// Returns every name that an expression may use: what the server exports, what rules record, and
/// what Prometheus says itself.
fn vocabulary() -> BTreeSet<String> {
    let output = Command::new(binary())
        .args(["metrics", "--names"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let rules = read();
    let recorded = rules.iter().filter(|rule| rule["type"] == "recording");
    names.extend(recorded.map(|rule| rule["name"].as_str().unwrap().to_owned()));
    names.insert("up".to_owned());
    names
}

/// Returns the metrics of an expression that are not in the vocabulary. A metric is what stands
/// outside of text and begins as ours do, or is recorded, or is `up`.
fn unknown_in<'a>(expression: &'a str, vocabulary: &BTreeSet<String>) -> Vec<&'a str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let ours = ["impetus_", "inference_", "logging_", "process_"];
    let is_metric = |word: &&str| {
        *word == "up" || word.contains(':') || ours.iter().any(|prefix| word.starts_with(prefix))
    };
    expression
        .split('"')
        .step_by(2)
        .flat_map(|part| part.split(|c| !is_of_name(c)))
        .filter(is_metric)
        .filter(|word| !vocabulary.contains(*word))
        .collect()
}
