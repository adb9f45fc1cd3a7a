//! The whole way: a real server, a real Prometheus with the rules that people are given, a real
//! Alertmanager, and somebody who is told.

use serde_json::Value;

use crate::alertmanager::Alertmanager;
use crate::harness::corrupt::{mend, with_a_corrupt_model};
use crate::harness::{Server, Setup};
use crate::prometheus::{Prometheus, Scene};
use crate::webhook::Webhook;

/// What is fired by three failed evaluations.
const REPEATED: &str = "ImpetusConsecutiveHealthFailures";

/// What may be said of a healthy server by the machine that runs the tests: how busy it is, how
/// full, and that one scrape came too late, which is enough where alerts wait for a second.
const SAYS_THE_MACHINE: [&str; 7] = [
    "ImpetusTargetAbsent",
    "ImpetusTargetDown",
    "ImpetusHeartbeatAgeing",
    "ImpetusCpuHigh",
    "ImpetusMemoryHigh",
    "ImpetusMemoryNearLimit",
    "ImpetusDiskFilling",
];

/// A server, and everybody who has an eye on it.
struct Stage {
    server: Server,
    webhook: Webhook,
    alertmanager: Alertmanager,
    prometheus: Prometheus,
}

// === impl Stage ===

impl Stage {
    fn around(server: Server) -> Self {
        let webhook = Webhook::listen();
        let alertmanager = Alertmanager::start(webhook.port);
        let target = format!("127.0.0.1:{}", server.health_port);
        let prometheus = Prometheus::start(&Scene {
            target: Some(&target),
            alertmanager: Some(alertmanager.port),
        });
        Self {
            server,
            webhook,
            alertmanager,
            prometheus,
        }
    }

    /// Waits until the pager goes with that alert.
    fn wait_for_call(&self, name: &str, status: &str) -> Value {
        let mut told = None;
        self.alertmanager.wait_for(&format!("{name} {status}"), || {
            told = self.webhook.told("/pager", name, status);
            told.is_some()
        });
        told.unwrap()
    }
}

#[test]
fn three_failed_evaluations_call_somebody_who_is_told_when_it_is_over() {
    let stage = Stage::around(with_a_corrupt_model("\"300ms\"").start());
    let alert = stage.wait_for_call(REPEATED, "firing");
    let labels = serde_json::json!({"alertname": REPEATED, "severity": "critical",
        "job": "impetus", "namespace": "mlops", "pod": "impetus-0", "container": "impetus",
        "instance": format!("127.0.0.1:{}", stage.server.health_port)});
    assert_eq!(alert["labels"], labels);
    let annotations = &alert["annotations"];
    assert_eq!(
        annotations["summary"],
        "An Impetus server fails one health evaluation after another."
    );
    let description = annotations["description"].as_str().unwrap();
    let count = description
        .strip_prefix("mlops/impetus-0 has failed ")
        .and_then(|rest| rest.strip_suffix(" health evaluations in a row."))
        .unwrap_or_else(|| panic!("{description}"));
    assert!(count.parse::<f64>().unwrap() >= 3.0, "{description}");
    let runbook = annotations["runbook_url"].as_str().unwrap();
    assert!(
        runbook.ends_with(&format!("/docs/runbooks/{REPEATED}.md")),
        "{runbook}"
    );

    // It says more than the other alert about the same, which is known and silenced.
    stage.alertmanager.wait_for("the silenced alert", || {
        let known = stage.alertmanager.alerts("ImpetusUnhealthy");
        known
            .iter()
            .any(|alert| alert["status"]["state"] == "suppressed")
    });

    mend(&stage.server);
    let over = stage.wait_for_call(REPEATED, "resolved");
    assert_eq!(over["labels"], labels);
    for name in ["ImpetusUnhealthy", REPEATED] {
        stage.prometheus.wait_for_alert(name, "inactive");
    }
    stage
        .prometheus
        .wait_for_sample("impetus_models_loaded", 1.0);
    let failures = stage
        .prometheus
        .query("impetus_health_failures_total", None);
    assert!(failures.is_some_and(|n| n >= 3.0), "{failures:?}");
}

#[test]
fn nobody_is_called_about_a_healthy_server() {
    let server = Setup::new().start_ready();
    server.wait_for("a full score", || server.status()["score"] == 100);
    let stage = Stage::around(server);
    stage
        .prometheus
        .wait_for_sample("impetus_health_status", 1.0);
    for rule in stage.prometheus.rules() {
        let name = rule["name"].as_str().unwrap();
        if rule["type"] == "alerting" && !SAYS_THE_MACHINE.contains(&name) {
            stage.prometheus.wait_for_alert(name, "inactive");
        }
    }
    let ours = |alert: &&Value| {
        let name = alert["labels"]["alertname"].as_str().unwrap();
        !SAYS_THE_MACHINE.contains(&name)
    };
    for message in stage.webhook.messages() {
        let alerts = message.body["alerts"].as_array().unwrap();
        let unexpected: Vec<&Value> = alerts.iter().filter(ours).collect();
        assert!(unexpected.is_empty(), "{unexpected:#?}");
    }
}
