//! What an operator sees of requests that are refused, and can do about them.

use serde_json::{Value, json};

use crate::harness::killers::Picture;
use crate::harness::{Server, new_agent};

use super::{model, setup, wait_until_running};

fn list(server: &Server) -> Value {
    server.get_health("/api/admin/quarantine").json()
}

fn clear(server: &Server, path: &str) -> u16 {
    let url = server.health_url(&format!("/api/admin/quarantine{path}"));
    new_agent().delete(url).call().unwrap().status().as_u16()
}

#[test]
fn a_quarantined_request_is_listed_and_let_in_again_when_it_is_cleared() {
    let server = setup("endless", "")
        .set("quarantine.keep_bodies", "true")
        .start_ready();
    let killer = Picture::new(3).with_marker(2.0);
    let answer = killer.try_send(&server, "endless", Some("the-killer"));
    assert_eq!(answer.unwrap().status, 422);

    let listed = list(&server);
    let entry = &listed["quarantined"][0];
    assert_eq!(listed["quarantined"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&entry["model"], &entry["cause"], &entry["request_id"]),
        (&"endless".into(), &"hang".into(), &"the-killer".into()),
        "{entry:#}"
    );
    let fingerprint = entry["fingerprint"].as_str().unwrap().to_owned();
    // What was sent is kept, since that is configured.
    let body = server
        .dir
        .path()
        .join(format!("data/quarantine/{fingerprint}.tensors"));
    server.wait_for("the body", || {
        std::fs::metadata(&body).is_ok_and(|meta| meta.len() > 3072 * 4)
    });

    let unknown = server.delete_health("/api/admin/quarantine/0000");
    assert_eq!(unknown.status, 404);
    assert_eq!(
        unknown.json()["error"],
        "no request is quarantined as \"0000\"; GET /api/admin/quarantine lists them"
    );
    assert_eq!(clear(&server, &format!("/{fingerprint}")), 200);
    assert_eq!(list(&server)["quarantined"], json!([]));
    // It is run again, and found out again.
    assert_eq!(killer.send(&server, "endless").status, 422);
    assert_eq!(model(&server)["losses"]["hang"], 4);
    assert_eq!(clear(&server, ""), 200);
    assert_eq!(list(&server)["quarantined"], json!([]));
    let events = server.get("/api/health/events?actor=root").text();
    assert!(events.contains("clears the quarantine"), "{events}");
}

#[test]
fn by_default_nothing_of_what_was_sent_is_kept() {
    let server = setup("endless", "").start_ready();
    let killer = Picture::new(3).with_marker(2.0);
    assert_eq!(killer.send(&server, "endless").status, 422);
    assert!(!server.dir.path().join("data/quarantine").exists());
}

#[test]
fn a_quarantine_expires() {
    let server = setup("endless", "")
        .set("quarantine.expires_after", "\"10ms\"")
        .start_ready();
    let killer = Picture::new(3).with_marker(2.0);
    assert_eq!(killer.send(&server, "endless").status, 422);
    server.wait_for("the list to be empty", || {
        list(&server)["quarantined"] == json!([])
    });
    assert_eq!(killer.send(&server, "endless").status, 422);
    assert_eq!(model(&server)["losses"]["hang"], 4, "it was run again");
}

#[test]
fn while_healing_is_paused_a_worker_that_hangs_is_left_for_whoever_looks_at_it() {
    let server = setup("endless", "").start_ready();
    let worker = server.workers();
    let pause = json!({"paused": true, "for": "5m"});
    assert_eq!(server.post_json("/api/admin/healing", &pause).status, 200);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            Picture::new(0)
                .with_marker(2.0)
                .send(&server, "endless")
                .status
        });
        wait_until_running(&server, 1);
        let paused_at = server.status()["uptime_seconds"].as_f64().unwrap();
        server.wait_for("three budgets to pass", || {
            server.status()["uptime_seconds"].as_f64().unwrap() > paused_at + 3.0
        });
        assert_eq!(server.workers(), worker);
        let resume = json!({"paused": false});
        assert_eq!(server.post_json("/api/admin/healing", &resume).status, 200);
        assert_eq!(sent.join().unwrap(), 422);
    });
    assert_eq!(model(&server)["losses"]["hang"], 2);
}
