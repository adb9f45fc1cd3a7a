//! The rules themselves: valid, complete, explained, tried on both sides, and about metrics that
//! exist.

mod cases;

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
    /// How long its condition must hold, as the file says it.
    waits: String,
    annotations: Value,
}

/// Returns every rule, read by Prometheus.
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
    let text = original_rules();
    let mut waits = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("for: "));
    let rules = read();
    let alerts = rules.iter().filter(|rule| rule["type"] == "alerting");
    let alerts: Vec<Alert> = alerts
        .map(|rule| {
            // Prometheus was given a second for all of them, which stands for whatever the file says.
            let has_for = rule["duration"].as_f64() == Some(1.0);
            assert!(has_for, "{} waits for nothing", rule["name"]);
            Alert {
                name: rule["name"].as_str().unwrap().to_owned(),
                severity: rule["labels"]["severity"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                waits: waits.next().unwrap().to_owned(),
                annotations: rule["annotations"].clone(),
            }
        })
        .collect();
    assert!(alerts.len() > 20 && waits.next().is_none());
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
fn every_alert_has_a_severity_a_summary_a_description_and_its_runbook() {
    for alert in alerts() {
        let name = &alert.name;
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
fn every_alert_has_a_page_and_a_row_and_every_page_an_alert() {
    let alerts = alerts();
    let index = fs::read_to_string(repo().join("docs/alerts.md")).unwrap();
    for Alert {
        name,
        severity,
        waits,
        ..
    } in &alerts
    {
        let row = format!("| [{name}](runbooks/{name}.md) | {severity} | {waits} | ");
        assert!(index.contains(&row), "docs/alerts.md lacks {row}");
        let page = fs::read_to_string(repo().join(format!("docs/runbooks/{name}.md")))
            .unwrap_or_else(|error| panic!("docs/runbooks/{name}.md: {error}"));
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with('#')).collect();
        let expected = [
            &format!("# {name}"),
            "## Meaning",
            "## Impact",
            "## Diagnosis",
            "## Mitigation",
        ];
        assert_eq!(headings, expected, "{name}");
    }
    let names: BTreeSet<String> = alerts.into_iter().map(|alert| alert.name).collect();
    let pages = fs::read_dir(repo().join("docs/runbooks")).unwrap();
    let pages: BTreeSet<String> = pages
        .map(|page| {
            page.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(pages, names);
}

#[test]
fn every_metric_that_a_rule_names_is_exported() {
    let rules = read();
    let recorded: BTreeSet<&str> = rules
        .iter()
        .filter(|rule| rule["type"] == "recording")
        .map(|rule| rule["name"].as_str().unwrap())
        .collect();
    let exported = exported();
    for rule in &rules {
        for name in metrics_of(rule["query"].as_str().unwrap()) {
            let known = name == "up"
                || recorded.contains(name.as_str())
                || exported.contains(family(&name))
                || exported.contains(&name);
            assert!(
                known,
                "{} goes by {name}, which nothing exports",
                rule["name"]
            );
        }
    }
}

/// Returns the names of all metrics that the server exports.
fn exported() -> BTreeSet<String> {
    let output = Command::new(binary())
        .args(["metrics", "--names"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Returns the names of the metrics in an expression: what stands alone and is no word of the
/// language, no label and no text.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let outside_of_text = expression.split('"').step_by(2).collect::<String>();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let names = outside_of_text.split(|c| !is_of_name(c));
    let ours = ["impetus_", "inference_", "logging_", "process_"];
    names
        .filter(|name| {
            *name == "up" || name.contains(':') || ours.iter().any(|p| name.starts_with(p))
        })
        .map(str::to_owned)
        .collect()
}

/// Returns the histogram that a series is part of, or the name as it is.
fn family(name: &str) -> &str {
    let suffixes = ["_bucket", "_count", "_sum"];
    suffixes
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}
