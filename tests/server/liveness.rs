//! When the server says itself that it is beyond healing, and why.

use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::{Answer, Server, Setup};

const LIVE: &str = "/api/health/live";

#[test]
fn a_heart_that_stands_still_fails_liveness_on_both_ports_with_the_reason() {
    let server = Setup::new()
        .set("health.heartbeat_interval", "\"100ms\"")
        .set("health.heartbeat_stale_after", "\"3s\"")
        .set("supervision.handle_timeout", "\"1h\"")
        .start_ready();
    assert_alive(&server);
    server.fault("heartbeat", "starve", 1000, None);
    assert_becomes_dead(&server, "heartbeat_stale");
    let health = server.get("/health");
    assert_eq!(health.status, 500);
    assert!(
        health.json()["reason"]
            .as_str()
            .unwrap()
            .contains("heartbeat_stale")
    );
    let status = server.get_health("/api/health/status");
    assert_eq!(
        (status.status, &status.json()["status"]),
        (503, &Value::from("unhealthy"))
    );
    // The process itself still does what it can.
    server.assert_predicts();
}

#[test]
fn a_blocked_heart_fails_liveness_and_a_beating_one_passes_again() {
    let server = Setup::new()
        .set("health.heartbeat_interval", "\"100ms\"")
        .set("health.heartbeat_stale_after", "\"2s\"")
        .set("supervision.handle_timeout", "\"1h\"")
        .start_ready();
    server.fault("heartbeat", "block", 1, Some("12s"));
    assert_becomes_dead(&server, "heartbeat_stale");
    server.wait_for("liveness", || server.get_health(LIVE).status == 200);
    server.wait_ready();
}

#[test]
fn a_heart_that_cannot_be_healed_is_given_up_and_liveness_says_so() {
    let server = Setup::new()
        .set("supervision.restarts", "2")
        .set("supervision.backoff_max", "\"100ms\"")
        .start_ready();
    assert_alive(&server);
    server.fault("heartbeat", "panic", 1000, None);
    let reason = assert_becomes_dead(&server, "heartbeat was given up");
    assert!(reason.contains("injected panic"), "{reason}");
    assert_eq!(server.expect_actor("heartbeat")["state"], "failed");
    // What still lives stays up, so that the process can answer until it is restarted.
    server.assert_predicts();
}

#[test]
fn a_heart_that_blocks_one_thread_after_the_other_is_given_up_at_the_cap() {
    let server = Setup::new()
        .set("supervision.handle_timeout", "\"2s\"")
        .set("supervision.leak_cap", "2")
        .set("supervision.restarts", "1000")
        .set("supervision.within", "\"1h\"")
        .start_ready();
    server.fault("heartbeat", "block", 1000, None);
    let reason = assert_becomes_dead(&server, "heartbeat was given up");
    assert!(reason.contains("too many threads"), "{reason}");
    assert_eq!(server.expect_actor("heartbeat")["leaked"], 2);
    server.assert_predicts();
}

#[test]
fn a_loader_that_cannot_be_healed_is_given_up_and_liveness_says_so() {
    let server = Setup::new()
        .set("supervision.restarts", "2")
        .set("supervision.backoff_max", "\"100ms\"")
        .start_ready();
    server.fault("model_loader", "panic", 1000, None);
    assert_becomes_dead(&server, "model_loader was given up");
    server.assert_predicts();
}

#[test]
fn a_blocked_root_fails_liveness_on_both_ports_with_the_reason() {
    let server = Setup::new()
        .set("health.root_stale_after", "\"3s\"")
        .start_ready();
    assert_alive(&server);
    server.fault("root", "block", 1, None);
    let reason = assert_becomes_dead(&server, "root");
    assert!(
        reason.contains("has not turned") || reason.contains("last turned"),
        "{reason}"
    );
    assert!(server.get_health(LIVE).json()["last_heartbeat"].is_string());
    server.assert_predicts();
}

#[test]
fn a_root_that_panics_fails_liveness_on_both_ports_with_the_reason() {
    let server = Setup::new()
        .set("health.root_stale_after", "\"3s\"")
        .start_ready();
    server.fault("root", "panic", 1, None);
    assert_becomes_dead(&server, "root");
}

#[test]
fn with_every_http_worker_blocked_the_health_port_answers_and_says_edge_stalled() {
    let server = Setup::new()
        .set("http.workers", "2")
        .set("health.edge_stalled_after", "\"6s\"")
        .start_ready();
    // A connection is one worker's for good, and they are dealt out in turn.
    let _blocked: Vec<TcpStream> = (0..4).map(|_| block_a_worker(&server, None)).collect();
    let standing_still = |server: &Server| {
        server.get_health("/api/health/status").json()["components"]["edge"]["detail"]["standing_still"].clone()
    };
    server.wait_for("both workers to stand still", || {
        standing_still(&server) == 2
    });
    server.wait_for("the verdict", || server.get_health(LIVE).status == 503);
    let live = server.get_health(LIVE);
    let reason = live.json()["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("edge_stalled") && reason.contains("all 2"),
        "{reason}"
    );
    assert_eq!(live.json()["alive"], false);
    assert_eq!(server.get_health("/api/health/ready").status, 503);
    assert_eq!(server.get_health("/metrics").status, 200);
}

#[test]
fn with_one_http_worker_blocked_the_server_is_alive_and_the_status_names_it() {
    let server = Setup::new()
        .set("http.workers", "2")
        .set("health.edge_stalled_after", "\"1s\"")
        .start_ready();
    let _blocked = block_a_worker(&server, None);
    server.wait_for("one worker to stand still", || {
        let edge = server.status()["components"]["edge"].clone();
        edge["detail"]["standing_still"] == 1 && edge["status"] == "degraded"
    });
    assert_eq!(server.get_health(LIVE).status, 200);
}

#[test]
fn startup_latches_whatever_the_models_do() {
    let server = Setup::without_models().start();
    server.wait_for("startup", || {
        server.get_health("/api/health/startup").status == 200
    });
    assert_eq!(server.get("/api/health/startup").json()["started"], true);
    assert_eq!(server.get("/api/health/ready").status, 503);
}

fn assert_alive(server: &Server) {
    for answer in server.get_both(LIVE) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["alive"], true);
        assert!(answer.json().get("reason").is_none());
    }
}

/// Waits until liveness fails and insists that both ports say so with the reason; returns it.
fn assert_becomes_dead(server: &Server, because: &str) -> String {
    let says_so = |answer: &Answer| {
        answer.status == 503
            && answer.json()["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(because))
    };
    server.wait_for(&format!("liveness to fail because of {because}"), || {
        says_so(&server.get_health(LIVE))
    });
    for answer in server.get_both(LIVE) {
        assert!(says_so(&answer), "{}", answer.text());
        assert_eq!(answer.json()["alive"], false);
    }
    let ready = server.get_health("/api/health/ready");
    assert_eq!(
        ready.status,
        503,
        "what is not alive is not ready: {}",
        ready.text()
    );
    server.get_health(LIVE).json()["reason"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Sends an order that blocks whichever worker takes this connection, for a time or for ever, and
/// waits for no answer.
pub fn block_a_worker(server: &Server, lasting: Option<&str>) -> TcpStream {
    let order = serde_json::json!({"target": "http", "fault": "block", "for": lasting}).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    write!(
        stream,
        "POST /api/faults HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{order}",
        order.len()
    )
    .unwrap();
    stream
}
