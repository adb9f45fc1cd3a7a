//! The metrics as Prometheus' own linter reads them.

use crate::harness::Setup;
use crate::harness::corrupt::with_a_corrupt_model;
use crate::tools::{run, said};

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
