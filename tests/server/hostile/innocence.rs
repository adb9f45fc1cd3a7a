//! What looks like a worker's fault, or a request's, and is nobody's.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::killers::Picture;
use crate::harness::processes::{freeze, wait_until};
use crate::harness::signal_process;

use super::{model, setup, wait_until_running};

#[test]
fn what_stood_still_together_with_the_server_is_not_taken_for_hung() {
    // Wide apart, because a busy machine makes a run take several times as long.
    let server = setup("slow", "")
        .set("models.self_check_every", "\"100ms\"")
        .set("models.run_timeout", "\"4s\"")
        .start_ready();
    let worker = server.workers();
    let picture = Picture::new(0).with_marker(301.0);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| picture.send(&server, "slow"));
        wait_until_running(&server, 1);
        // As a container that is paused: all of its processes.
        freeze(server.pid());
        freeze(worker[0]);
        let frozen = Instant::now();
        wait_until("every limit has passed", || {
            frozen.elapsed() > Duration::from_millis(6500)
        });
        signal_process(worker[0], Signal::CONT);
        signal_process(server.pid(), Signal::CONT);
        picture.assert_right(&sent.join().unwrap());
    });
    // And once more with nothing to do but to check itself.
    freeze(server.pid());
    let frozen = Instant::now();
    wait_until("an idle worker may be silent", || {
        frozen.elapsed() > Duration::from_millis(6500)
    });
    signal_process(server.pid(), Signal::CONT);
    Picture::new(1).assert_answered(&server, "slow");
    assert_eq!(server.workers(), worker);
}

#[test]
fn a_worker_that_somebody_has_stopped_is_replaced_and_no_request_blamed() {
    let server = setup("plain", "").start_ready();
    for generation in 1..=3 {
        server.wait_for_actor("worker:plain/0", "at the next generation", |actor| {
            actor["generation"] == generation && actor["state"] == "running"
        });
        freeze(server.workers()[0]);
        Picture::new(0).assert_answered(&server, "plain");
    }
    let status = model(&server);
    assert_eq!(status["losses"]["outside"], 3, "{status:#}");
}

#[test]
fn many_copies_of_one_killer_cost_a_few_workers_and_not_one_each() {
    let server = setup("endless", "")
        .set("models.run_timeout", "\"500ms\"")
        .set("models.max_batch", "32")
        .set("models.in_flight", "1")
        .start_ready();
    let killer = Picture::new(0).with_marker(2.0);
    let worker = server.workers()[0];
    std::thread::scope(|scope| {
        let copies: Vec<_> = (0..24)
            .map(|_| scope.spawn(|| killer.send(&server, "endless").status))
            .collect();
        for copy in copies {
            assert_eq!(copy.join().unwrap(), 422);
        }
    });
    assert_ne!(server.workers(), [worker]);
    let losses = model(&server)["losses"]["hang"].as_u64().unwrap();
    // Those that were with the worker, those that waited, and the one that was found out.
    assert!(losses <= 4, "{losses} workers for one killer");
}

#[test]
fn a_worker_that_serves_is_kept_when_no_other_could_be_loaded_in_its_place() {
    let server = setup("explode", "")
        .set("memory.headroom", "\"200MiB\"")
        .set("memory.recycle_pause", "\"1h\"")
        .set("models.run_timeout", "\"30s\"")
        .start_ready();
    let worker = server.workers();
    fs::write(
        server.dir.path().join("models/explode/model.onnx"),
        "no model",
    )
    .unwrap();
    let large = Picture::new(0)
        .with_marker(100_000.0)
        .send(&server, "explode");
    assert_eq!(large.json()["code"], "out_of_memory", "{}", large.text());
    server.wait_for_log("no worker could be loaded in place of the one that is too large");
    Picture::new(1).assert_answered(&server, "explode");
    assert_eq!(server.workers(), worker);
    assert_eq!(model(&server)["recycled"], 0);
}

#[test]
fn while_healing_is_paused_no_worker_makes_room_for_one_that_could_not_start() {
    let server = setup("explode", "")
        .set("memory.headroom", "\"200MiB\"")
        .set("memory.recycle_pause", "\"1h\"")
        .set("models.run_timeout", "\"30s\"")
        .start_ready();
    let worker = server.workers();
    let pause = json!({"paused": true, "for": "5m"});
    assert_eq!(server.post_json("/api/admin/healing", &pause).status, 200);
    let large = Picture::new(0)
        .with_marker(100_000.0)
        .send(&server, "explode");
    assert_eq!(large.status, 500, "{}", large.text());
    let grown = |server: &crate::harness::Server| {
        let worker = model(server)["workers"][0].clone();
        worker["resident_bytes"].as_u64() > worker["memory"]["soft_limit_bytes"].as_u64()
    };
    server.wait_for("the worker to be seen to have grown", || grown(&server));
    Picture::new(1).assert_answered(&server, "explode");
    assert_eq!(server.workers(), worker);
    let resume = json!({"paused": false});
    assert_eq!(server.post_json("/api/admin/healing", &resume).status, 200);
    server.wait_for("the worker to be replaced", || {
        model(&server)["recycled"] == 1 && model(&server)["workers"][0]["state"] == "ready"
    });
    assert_ne!(server.workers(), worker);
}

#[test]
fn claims_of_memory_are_given_back_with_the_workers_that_had_them() {
    let server = setup("plain", "").start_ready();
    let claimed = || {
        let guard = server.status()["components"]["memory"]["detail"]["guard"].clone();
        guard["workers_bytes"].as_u64().unwrap()
    };
    assert!(claimed() > 0);
    for generation in 1..=5 {
        server.wait_for_actor("worker:plain/0", "at the next generation", |actor| {
            actor["generation"] == generation && actor["state"] == "running"
        });
        signal_process(server.workers()[0], Signal::KILL);
    }
    server.wait_for_actor("worker:plain/0", "at the last generation", |actor| {
        actor["generation"] == 6 && actor["state"] == "running"
    });
    let worker = model(&server)["workers"][0].clone();
    assert_eq!(
        Some(claimed()),
        worker["memory"]["hard_limit_bytes"].as_u64()
    );
    fs::remove_dir_all(server.dir.path().join("models/plain")).unwrap();
    server.wait_for("the model to be out", || claimed() == 0);
}
