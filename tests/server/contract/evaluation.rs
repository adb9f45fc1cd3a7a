//! Health is evaluated whether or not anybody asks, and failures in a row are counted.

use std::fs;

use serde_json::{Value, json};

use super::sample;
use crate::harness::corrupt::{mend, with_a_corrupt_model};
use crate::harness::{Server, Setup};

/// Health as the endpoint and as the metrics have it, from one answer each.
struct Seen {
    status: u16,
    body: Value,
    health_status: f64,
    in_a_row: f64,
    in_all: f64,
}

impl Seen {
    fn of(server: &Server) -> Self {
        let health = server.get_health("/api/health");
        let metrics = server.get_health("/metrics").text();
        let of = |series| sample(&metrics, series).unwrap();
        Self {
            status: health.status,
            body: health.json(),
            health_status: of("impetus_health_status"),
            in_a_row: of("impetus_consecutive_health_failures"),
            in_all: of("impetus_health_failures_total"),
        }
    }
}

#[test]
fn failures_in_a_row_are_counted_while_a_required_model_is_corrupt_and_end_with_its_mending() {
    let server = with_a_corrupt_model("\"50ms\"").start();
    server.wait_for("three failures in a row", || {
        server.get_health("/api/health").json()["consecutive_failures"].as_u64() >= Some(3)
    });
    let ill = Seen::of(&server);
    assert_eq!(
        (ill.status, &ill.body["status"]),
        (503, &json!("unhealthy"))
    );
    assert_eq!(ill.health_status, 0.0);
    // The one is counted just before the other, and a scrape may come in between.
    assert!(
        ill.in_a_row >= 3.0 && ill.in_all >= ill.in_a_row - 1.0,
        "{}",
        ill.in_a_row
    );
    let detail = &server.status()["components"]["models"];
    assert_eq!(
        (&detail["score"], &detail["status"]),
        (&json!(0), &json!("unhealthy"))
    );

    mend(&server);
    server.wait_for("an evaluation that passes", || {
        let health = server.get_health("/api/health");
        health.status == 200 && health.json()["consecutive_failures"] == 0
    });
    let well = Seen::of(&server);
    assert_eq!((well.health_status, well.in_a_row), (1.0, 0.0));
    assert!(well.in_all >= ill.in_all, "a counter never goes back");
    server.wait_for_log("health evaluation passes again");
}

#[test]
fn health_is_evaluated_when_nobody_asks() {
    let server = with_a_corrupt_model("\"20ms\"").spawn();
    server.wait_for_log("\"in_a_row\":3");
    server.wait_for_log("health evaluation failed");
}

#[test]
fn asking_is_no_evaluation() {
    let server = with_a_corrupt_model("\"1h\"").start();
    server.wait_for("a verdict", || {
        server.get_health("/api/health").status == 503
    });
    for _ in 0..20 {
        for answer in server.get_both("/api/health/status") {
            assert_eq!(
                (answer.status, &answer.json()["consecutive_failures"]),
                (503, &json!(0))
            );
        }
    }
    assert_eq!(Seen::of(&server).in_all, 0.0);
}

#[test]
fn a_degraded_server_is_healthy_enough_and_says_what_is_wrong() {
    let setup = Setup::new().set("health.evaluate_every", "\"20ms\"");
    let other = setup.path().join("models/other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("model.onnx"), b"this is no model").unwrap();
    let server = setup.set("models.required", "[\"surface\"]").start_ready();
    server.wait_for("the other model to fail", || {
        server.status()["components"]["models"]["detail"]["failed"] == 1
    });
    let seen = Seen::of(&server);
    assert_eq!(
        (seen.status, &seen.body["status"]),
        (200, &json!("degraded"))
    );
    assert_eq!((seen.health_status, seen.in_a_row), (1.0, 0.0));
    let status = server.status();
    assert_eq!(status["components"]["models"]["score"], 70, "{status:#}");
    let reason = status["components"]["models"]["detail"]["reasons"]["other"].clone();
    assert!(
        reason.as_str().is_some_and(|reason| !reason.is_empty()),
        "{status:#}"
    );
}
