//! A Prometheus of the test's own, which scrapes and evaluates rules every second.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::harness::free_ports;
use crate::tools::{Daemon, monitoring, wait_for};

/// What it is to look at.
#[derive(Default)]
pub(crate) struct Scene<'a> {
    /// Address of the server to scrape.
    pub(crate) target: Option<&'a str>,
    /// Port of the Alertmanager that is told.
    pub(crate) alertmanager: Option<u16>,
}

pub(crate) struct Prometheus {
    daemon: Daemon,
    // The rules it reads, made quicker.
    _rules: TempDir,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one with the rules that people are given, and waits until it answers. Alerts wait
    /// for a second instead of as long as the rules say.
    pub(crate) fn start(scene: &Scene<'_>) -> Self {
        let rules = tempfile::tempdir().unwrap();
        let file = rules.path().join("rules.yml");
        fs::write(&file, impatient(&original_rules())).unwrap();
        let config = configuration(file.to_str().unwrap(), scene);
        let [port, ..] = free_ports();
        let daemon = Daemon::start("prometheus", port, &config, |dir| {
            vec![
                format!("--config.file={}", dir.join("config.yml").display()),
                format!("--storage.tsdb.path={}", dir.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
                "--log.level=warn".to_owned(),
            ]
        });
        Self {
            daemon,
            _rules: rules,
        }
    }

    /// Returns every rule it has read.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let groups = self.get("rules", &[])["groups"].clone();
        let groups = groups.as_array().unwrap();
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect()
    }

    /// Returns the samples of an expression, at a time or now.
    pub(crate) fn samples(&self, expression: &str, at: Option<f64>) -> Vec<Value> {
        let mut parameters = vec![("query", expression.to_owned())];
        parameters.extend(at.map(|at| ("time", format!("{at:.3}"))));
        let data = self.get("query", &parameters);
        data["result"].as_array().unwrap().clone()
    }

    /// Returns the value of an expression that gives one sample or none, at a time or now.
    pub(crate) fn query(&self, expression: &str, at: Option<f64>) -> Option<f64> {
        let samples = self.samples(expression, at);
        assert!(samples.len() <= 1, "{expression}: {samples:?}");
        let value = samples.first()?["value"][1].as_str()?;
        Some(value.parse().unwrap())
    }

    /// Returns the time and the value of the newest sample of a metric. A scrape that failed has
    /// none, so it waits for one that has not.
    pub(crate) fn newest(&self, metric: &str) -> (f64, f64) {
        let mut found = None;
        self.wait_for(metric, || {
            let at = self.query(&format!("timestamp({metric})"), None);
            found = at.and_then(|at| Some((at, self.query(metric, Some(at))?)));
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until a metric has been scraped with that value.
    pub(crate) fn wait_for_sample(&self, metric: &str, value: f64) {
        self.wait_for(&format!("{metric} to be {value}"), || {
            self.query(metric, None) == Some(value)
        });
    }

    /// Waits until a rule, evaluated on scraped samples, says `firing` or `inactive`.
    pub(crate) fn wait_for_alert(&self, name: &str, state: &str) {
        let (scraped_at, _) = self.newest("impetus_health_status");
        self.wait_for(&format!("{name} to be {state}"), || {
            // "inactive" is also what a rule says that has never been evaluated.
            self.rules().iter().any(|rule| {
                rule["name"] == name && rule["state"] == state && evaluated_at(rule) > scraped_at
            })
        });
    }

    fn get(&self, path: &str, parameters: &[(&str, String)]) -> Value {
        let body = self.daemon.get(&format!("/api/v1/{path}"), parameters);
        assert_eq!(body["status"], "success", "{path}: {body}");
        body["data"].clone()
    }

    pub(crate) fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        wait_for(condition, || {
            let targets = self.get("targets", &[]);
            let log = self.daemon.log();
            format!("waited in vain for {what}: {targets:#}\n{log}")
        });
    }
}

/// Returns the rules as people are given them.
pub(crate) fn original_rules() -> String {
    fs::read_to_string(monitoring("impetus.rules.yml")).unwrap()
}

/// Has alerts wait for a second; nothing else is changed.
fn impatient(rules: &str) -> String {
    let line = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => format!("{line}\n"),
    };
    rules.lines().map(line).collect()
}

/// Returns when a rule was last evaluated, in seconds since 1970; 0 when it never was.
fn evaluated_at(rule: &Value) -> f64 {
    let text = rule["lastEvaluation"].as_str().unwrap_or_default();
    let at = OffsetDateTime::parse(text, &Rfc3339);
    at.map_or(0.0, |at| at.unix_timestamp_nanos() as f64 / 1e9)
}

/// A configuration in which the target has the labels that the operator gives a pod, and the
/// relabelling of the PodMonitor.
fn configuration(rules: &str, scene: &Scene<'_>) -> String {
    let mut text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [{rules:?}]\n"
    );
    if let Some(port) = scene.alertmanager {
        text += &format!(
            "alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]}}\n"
        );
    }
    if let Some(target) = scene.target {
        text += &format!(
            "scrape_configs:\n\
             - job_name: podMonitor/mlops/impetus/0\n\
             \x20 metrics_path: /api/health/metrics\n\
             \x20 static_configs:\n\
             \x20 - targets: [{target:?}]\n\
             \x20   labels: {{namespace: mlops, pod: impetus-0, container: impetus, endpoint: health}}\n\
             \x20 relabel_configs:\n{}",
            relabelling()
        );
    }
    text
}

/// Returns the relabelling of the PodMonitor, in Prometheus' own words.
fn relabelling() -> String {
    let monitor = fs::read_to_string(monitoring("pod-monitor.yaml")).unwrap();
    let (_, steps) = monitor.split_once("relabelings:\n").unwrap();
    steps.replace("targetLabel", "target_label")
}
