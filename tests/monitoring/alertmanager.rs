//! An Alertmanager of the test's own, with the configuration that people are given.

use std::fs;

use serde_json::{Value, json};

use crate::harness::free_ports;
use crate::tools::{Daemon, monitoring, program, wait_for};

pub(crate) struct Alertmanager {
    daemon: Daemon,
    pub(crate) port: u16,
}

// === impl Alertmanager ===

impl Alertmanager {
    /// Starts one that tells a receiver on `webhook`, after a second instead of as long as the
    /// configuration says, and waits until it answers.
    pub(crate) fn start(webhook: u16) -> Self {
        let config = fs::read_to_string(monitoring("alertmanager.yml")).unwrap();
        let config = impatient(&config, webhook);
        let [port, ..] = free_ports();
        let daemon = Daemon::start(name(), port, &config, |dir| {
            vec![
                format!("--config.file={}", dir.join("config.yml").display()),
                format!("--storage.path={}", dir.join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
                // It has nobody to share with.
                "--cluster.listen-address=".to_owned(),
            ]
        });
        Self { daemon, port }
    }

    /// Has alerts fire, each with the labels given.
    pub(crate) fn fire(&self, alerts: &[Value]) {
        let alerts: Vec<Value> = alerts
            .iter()
            .map(|labels| json!({"labels": labels}))
            .collect();
        self.daemon.post("/api/v2/alerts", &json!(alerts));
    }

    /// Returns the alerts with that name, silenced ones too.
    pub(crate) fn alerts(&self, name: &str) -> Vec<Value> {
        let filter = [("filter", format!("alertname=\"{name}\""))];
        let found = self.daemon.get("/api/v2/alerts", &filter);
        found.as_array().unwrap().clone()
    }

    pub(crate) fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        wait_for(condition, || {
            let alerts = self.daemon.get("/api/v2/alerts", &[]);
            let log = self.daemon.log();
            format!("waited in vain for {what}: {alerts:#}\n{log}")
        });
    }
}

/// Debian calls it otherwise than its makers do.
fn name() -> &'static str {
    let fetched_or_upstream = program("alertmanager");
    let debians = "/usr/bin/prometheus-alertmanager";
    if fetched_or_upstream.is_relative() && fs::metadata(debians).is_ok() {
        "prometheus-alertmanager"
    } else {
        "alertmanager"
    }
}

/// Shortens the periods and fills in the receivers' address; nothing else is changed.
fn impatient(config: &str, webhook: u16) -> String {
    let changes = [
        ("group_wait: 30s", "group_wait: 1s".to_owned()),
        ("group_interval: 5m", "group_interval: 1s".to_owned()),
        ("//127.0.0.1:9095/", format!("//127.0.0.1:{webhook}/")),
    ];
    changes.iter().fold(config.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in alertmanager.yml");
        text.replace(from, to)
    })
}
