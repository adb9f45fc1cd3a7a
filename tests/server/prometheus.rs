//! The metrics as Prometheus takes them: its own linter, and a real one that scrapes and alerts.

mod real;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use crate::contract::{ask, mend, with_a_corrupt_model};
use crate::database::batch;
use crate::harness::scrape::wait_until_complete;
use crate::harness::{Server, Setup, repo, signal_process};
use real::Prometheus;

/// The four alerts of the first document: name of the rule, metric, condition.
const ALERTS: [(&str, &str, &str); 4] = [
    ("Unhealthy", "impetus_health_status", "== 0"),
    (
        "RepeatedFailures",
        "impetus_consecutive_health_failures",
        "> 2",
    ),
    ("HighCpu", "impetus_cpu_usage_percent", "> 90"),
    ("MemoryPressure", "impetus_memory_usage_percent", "> 95"),
];

/// Returns a program of Prometheus' package: the one the tests fetched, or the system's.
fn program(name: &str) -> PathBuf {
    let fetched = repo().join(".test/bin").join(name);
    if fetched.exists() {
        fetched
    } else {
        PathBuf::from(name)
    }
}

fn promtool(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program("promtool"))
        .args(args)
        .current_dir(rules_file().parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("promtool does not start ({error}): run scripts/install-prometheus.sh")
        });
    let mut stdin = child.stdin.take().unwrap();
    // Ends with the input, so that promtool sees its end.
    std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn rules_file() -> PathBuf {
    repo().join("tests/fixtures/prometheus/alerts.yml")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_linter_has_nothing_to_say_but_about_the_one_name_the_documents_ask_for() {
    for role in ["both", "inference", "logging"] {
        let server = Setup::new().set("role", &format!("{role:?}")).start_ready();
        server.wait_for("the services", || server.get("/ready").status == 200);
        if role != "logging" {
            server.assert_predicts();
            signal_process(server.workers()[0], Signal::KILL);
            server.wait_for("the death of a worker to be counted", || {
                let text = server.get("/metrics").text();
                text.contains("reason=\"outside\"} 1\n")
            });
        }
        if role != "inference" {
            let answer = server.post_json("/log", &batch("lint", &["image"]));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        for path in ["/metrics", "/api/metrics", "/api/health/metrics"] {
            let output = promtool(&["check", "metrics"], &server.get(path).text());
            let said = said(&output);
            let about = |line: &str| line.starts_with("impetus_average_latency_ms ");
            assert!(
                !said.trim().is_empty() && said.lines().all(about),
                "{role}{path}: {said}"
            );
        }
    }
}

#[test]
fn the_linter_reads_what_is_not_well_too() {
    let server = with_a_corrupt_model("\"20ms\"").start();
    server.wait_for("a failure", || {
        server.get("/metrics").text().contains("failures_total 1")
    });
    let output = promtool(&["check", "metrics"], &server.get("/metrics").text());
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
}

#[test]
fn the_documents_alerts_are_rules_that_fire_beyond_their_thresholds_and_not_at_them() {
    for args in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = promtool(&args, "");
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    }
    let rules = std::fs::read_to_string(rules_file()).unwrap();
    for (name, metric, condition) in ALERTS {
        let rule = format!("- alert: {name}\n        expr: {metric} {condition}\n");
        assert!(rules.contains(&rule), "{rule}");
    }
}

#[test]
fn nothing_is_alerted_about_a_healthy_server() {
    let server = Setup::new().start_ready();
    server.wait_for("a full score", || server.status()["score"] == 100);
    let prometheus = scraping(&server);
    prometheus.wait_for_sample("impetus_health_status", 1.0);
    for (name, metric, condition) in ALERTS {
        let (at, value) = prometheus.newest(metric);
        let fires = prometheus
            .query(&format!("{metric} {condition}"), Some(at))
            .is_some();
        let expected = match metric {
            // How busy the machine is that runs the tests is not ours to say; that the alert
            // goes by it is.
            "impetus_cpu_usage_percent" => value > 90.0,
            "impetus_memory_usage_percent" => value > 95.0,
            _ => false,
        };
        assert_eq!(fires, expected, "{name} at {value}");
    }
    for name in ["Unhealthy", "RepeatedFailures"] {
        prometheus.wait_for_alert(name, "inactive");
    }
}

/// Prometheus asks for OpenMetrics, and takes nothing of a scrape of which it cannot parse a line.
#[test]
fn a_real_prometheus_parses_every_line_and_computes_quantiles() {
    let server = Setup::new().start_ready();
    server.wait_for("the services", || server.get("/ready").status == 200);
    server.assert_predicts();
    server.wait_all_workers();
    wait_until_complete(&server);
    let accept = [("accept", "application/openmetrics-text")];
    let open = ask("GET", &server.health_url("/metrics"), &accept).text();
    let samples = open.lines().filter(|line| !line.starts_with('#')).count();
    assert!(samples > 300 && open.ends_with("# EOF\n"), "{open}");
    let prometheus = scraping(&server);
    prometheus.wait_for_sample("scrape_samples_scraped", samples as f64);
    let counted = "impetus_request_duration_seconds_count{endpoint=\"predict\",model=\"surface\",status=\"2xx\"}";
    prometheus.wait_for_sample(counted, 1.0);
    let quantile = "histogram_quantile(0.99, sum by (le) \
                    (impetus_request_duration_seconds_bucket{endpoint=\"predict\"}))";
    let seconds = prometheus.query(quantile, None).unwrap();
    assert!(seconds > 0.0 && seconds <= 10.0, "{seconds}");
    prometheus.wait_for_sample("impetus_worker_restarts_total{reason=\"outside\"}", 0.0);
}

#[test]
fn a_corrupt_model_is_alerted_about_until_it_is_mended() {
    let server = with_a_corrupt_model("\"50ms\"").start();
    let prometheus = scraping(&server);
    for name in ["Unhealthy", "RepeatedFailures"] {
        prometheus.wait_for_alert(name, "firing");
    }
    for (_, metric, condition) in &ALERTS[..2] {
        let fires = prometheus.query(&format!("{metric} {condition}"), None);
        assert!(fires.is_some(), "{metric} {condition}");
    }
    mend(&server);
    for name in ["Unhealthy", "RepeatedFailures"] {
        prometheus.wait_for_alert(name, "inactive");
    }
    prometheus.wait_for_sample("impetus_models_loaded", 1.0);
    let failures = prometheus.query("impetus_health_failures_total", None);
    assert!(
        failures.is_some_and(|failures| failures >= 3.0),
        "{failures:?}"
    );
}

/// Starts a Prometheus that scrapes the server's health port every second.
fn scraping(server: &Server) -> Prometheus {
    let target = format!("127.0.0.1:{}", server.health_port);
    Prometheus::start(&program("prometheus"), &rules_file(), &target)
}
