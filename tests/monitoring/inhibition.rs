//! Which alert silences which, as a real Alertmanager has it.

use serde_json::{Value, json};

use crate::alertmanager::Alertmanager;
use crate::webhook::Webhook;

/// An alert about a pod of the namespace `mlops`.
fn about(pod: &str, name: &str, severity: &str) -> Value {
    json!({"alertname": name, "severity": severity, "job": "impetus", "namespace": "mlops",
        "pod": pod, "instance": format!("{pod}.example:8081")})
}

/// An alert about a server that runs without Kubernetes.
fn plain(name: &str, severity: &str) -> Value {
    json!({"alertname": name, "severity": severity, "job": "impetus",
        "instance": "impetus.example:8081"})
}

/// An alert about no server in particular.
fn about_all(name: &str, severity: &str) -> Value {
    json!({"alertname": name, "severity": severity, "job": "impetus"})
}

/// Has all of them fire and returns the names of those that are silenced.
fn silenced(alerts: &[Value]) -> Vec<String> {
    let webhook = Webhook::listen();
    let alertmanager = Alertmanager::start(webhook.port);
    alertmanager.fire(alerts);
    let mut silenced = Vec::new();
    alertmanager.wait_for("every alert to be known", || {
        silenced.clear();
        alerts.iter().all(|sent| {
            let name = sent["alertname"].as_str().unwrap();
            let known = alertmanager.alerts(name);
            let Some(alert) = known.iter().find(|alert| alert["labels"] == *sent) else {
                return false;
            };
            let inhibited = alert["status"]["inhibitedBy"].as_array().unwrap();
            if !inhibited.is_empty() {
                let place = sent["pod"].as_str().unwrap_or_default();
                let severity = sent["severity"].as_str().unwrap();
                silenced.push(format!("{name} {severity} {place}").trim_end().to_owned());
            }
            true
        })
    });
    silenced
}

#[test]
fn repeated_failures_silence_what_follows_from_them_on_the_same_pod_and_nothing_else() {
    let found = silenced(&[
        about("a", "ImpetusConsecutiveHealthFailures", "critical"),
        about("a", "ImpetusUnhealthy", "critical"),
        about("a", "ImpetusNotReady", "warning"),
        about("a", "ImpetusReadinessFlapping", "warning"),
        about("a", "ImpetusCpuHigh", "info"),
        about("a", "ImpetusModelNotUsable", "warning"),
        about("a", "ImpetusDiskFilling", "warning"),
        about("b", "ImpetusNotReady", "warning"),
        about("b", "ImpetusCpuHigh", "info"),
    ]);
    let expected = [
        "ImpetusUnhealthy critical a",
        "ImpetusNotReady warning a",
        "ImpetusReadinessFlapping warning a",
        "ImpetusCpuHigh info a",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_same_holds_for_a_server_without_namespace_and_pod() {
    let found = silenced(&[
        plain("ImpetusUnhealthy", "critical"),
        plain("ImpetusNotReady", "warning"),
        plain("ImpetusWorkerRestarts", "warning"),
        about("a", "ImpetusReadinessFlapping", "warning"),
    ]);
    assert_eq!(found, ["ImpetusNotReady warning"]);
}

#[test]
fn a_crash_loop_silences_what_each_start_brings_about() {
    let found = silenced(&[
        about("a", "ImpetusCrashLooping", "critical"),
        about("a", "ImpetusReadinessFlapping", "warning"),
        about("a", "ImpetusTargetDown", "warning"),
        about("a", "ImpetusConsecutiveHealthFailures", "critical"),
        about("a", "ImpetusPredictionBacklog", "critical"),
        about("b", "ImpetusReadinessFlapping", "warning"),
    ]);
    let expected = [
        "ImpetusReadinessFlapping warning a",
        "ImpetusTargetDown warning a",
        "ImpetusConsecutiveHealthFailures critical a",
    ];
    assert_eq!(found, expected);
}

#[test]
fn when_nobody_answers_that_alone_is_told() {
    let found = silenced(&[
        about_all("ImpetusTargetAbsent", "critical"),
        about("a", "ImpetusTargetDown", "warning"),
        about("a", "ImpetusCrashLooping", "critical"),
        about_all("ImpetusLatencyBudgetBurnFast", "critical"),
        json!({"alertname": "KubeNodeNotReady", "severity": "warning", "job": "impetus"}),
    ]);
    let expected = [
        "ImpetusTargetDown warning a",
        "ImpetusCrashLooping critical a",
        "ImpetusLatencyBudgetBurnFast critical",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_memory_limit_silences_its_own_announcement_and_what_it_brings_about() {
    let found = silenced(&[
        about("a", "ImpetusMemoryHigh", "critical"),
        about("a", "ImpetusMemoryNearLimit", "warning"),
        about("a", "ImpetusUnhealthy", "critical"),
        about("a", "ImpetusWorkerRestarts", "warning"),
    ]);
    let expected = [
        "ImpetusMemoryNearLimit warning a",
        "ImpetusUnhealthy critical a",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_worse_of_two_alerts_about_the_same_silences_the_other() {
    let found = silenced(&[
        about("a", "ImpetusQueueFull", "critical"),
        about("a", "ImpetusQueueFull", "warning"),
        about("b", "ImpetusQueueFull", "warning"),
        about_all("ImpetusLatencyBudgetBurnFast", "critical"),
        about_all("ImpetusLatencyBudgetBurnSlow", "warning"),
    ]);
    let expected = [
        "ImpetusQueueFull warning a",
        "ImpetusLatencyBudgetBurnSlow warning",
    ];
    assert_eq!(found, expected);
}
