//! The metrics as Prometheus takes them: its own linter, and a real one that scrapes.

use rustix::process::Signal;

use crate::harness::corrupt::with_a_corrupt_model;
use crate::harness::scrape::wait_until_complete;
use crate::harness::{Answer, Server, Setup, new_agent, signal_process};
use crate::prometheus::{Prometheus, Scene};
use crate::tools::{log_a_prediction, run, said};

fn lint(metrics: &str) -> String {
    said(&run("promtool", &["check", "metrics"], ".", metrics))
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
            log_a_prediction(&server);
        }
        for path in ["/metrics", "/api/metrics", "/api/health/metrics"] {
            let said = lint(&server.get(path).text());
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
    let said = lint(&server.get("/metrics").text());
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Prometheus asks for OpenMetrics, and takes nothing of a scrape of which it cannot parse a line.
#[test]
fn a_real_prometheus_parses_every_line_and_computes_quantiles() {
    let server = Setup::new().start_ready();
    server.wait_for("the services", || server.get("/ready").status == 200);
    server.assert_predicts();
    server.wait_all_workers();
    wait_until_complete(&server);
    // The log has one series more from its first commit on.
    server.wait_for("the prediction to be logged", || {
        let committed = "impetus_prediction_log_rows_committed_total 1\n";
        server.get_health("/metrics").text().contains(committed)
    });
    let open = open_metrics(&server);
    let samples = open.lines().filter(|line| !line.starts_with('#')).count();
    assert!(samples > 300 && open.ends_with("# EOF\n"), "{open}");
    let target = format!("127.0.0.1:{}", server.health_port);
    let prometheus = Prometheus::start(&Scene {
        target: Some(&target),
        ..Scene::default()
    });
    prometheus.wait_for_sample("scrape_samples_scraped", samples as f64);
    let counted = "impetus_request_duration_seconds_count{endpoint=\"predict\",model=\"surface\",status=\"2xx\"}";
    prometheus.wait_for_sample(counted, 1.0);
    let quantile = "histogram_quantile(0.99, sum by (le) \
                    (impetus_request_duration_seconds_bucket{endpoint=\"predict\"}))";
    let seconds = prometheus.query(quantile, None).unwrap();
    assert!(seconds > 0.0 && seconds <= 10.0, "{seconds}");
    prometheus.wait_for_sample("impetus_worker_restarts_total{reason=\"outside\"}", 0.0);
}

fn open_metrics(server: &Server) -> String {
    let request = new_agent()
        .get(server.health_url("/metrics"))
        .header("accept", "application/openmetrics-text");
    Answer::from(request.call().unwrap()).text()
}
