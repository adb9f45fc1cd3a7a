//! Workers that take more memory than they should.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::harness::killers::Picture;
use crate::harness::watch::LivenessWatch;

use super::{model, setup};

#[test]
fn a_memory_explosion_fails_inside_its_worker() {
    let server = setup("explode", "")
        .set("memory.headroom", "\"200MiB\"")
        .set("memory.recycle_pause", "\"1h\"")
        .set("models.run_timeout", "\"30s\"")
        .start_ready();
    let memory = model(&server)["workers"][0]["memory"].clone();
    let (base, hard) = (
        memory["base_bytes"].as_u64(),
        memory["hard_limit_bytes"].as_u64(),
    );
    assert!(hard.unwrap() - base.unwrap() >= 200 << 20, "{memory:#}");
    let guard = server.status()["components"]["memory"]["detail"]["guard"].clone();
    assert_eq!(guard["workers_bytes"].as_u64(), hard, "{guard:#}");
    let watch = LivenessWatch::start(&server);
    // A hundred gigabytes.
    let answer = Picture::new(0)
        .with_marker(100_000.0)
        .send(&server, "explode");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(answer.json()["code"], "out_of_memory", "{}", answer.text());
    Picture::new(1).assert_answered(&server, "explode");
    watch.assert_always_alive();
    // Nobody was killed for it.
    let status = model(&server);
    assert_eq!(status["losses"]["memory"], 0, "{status:#}");
}

#[test]
fn a_worker_over_its_soft_limit_makes_room_for_a_fresh_one_and_nobody_waits_for_a_load() {
    let server = setup("explode", "")
        .set("memory.headroom", "\"200MiB\"")
        .set("memory.recycle_pause", "\"1h\"")
        .set("models.run_timeout", "\"30s\"")
        .start_ready();
    let before = server.workers();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::SeqCst) || sent < 20 {
                Picture::new(sent).assert_answered(&server, "explode");
                sent += 1;
            }
        });
        let large = Picture::new(0)
            .with_marker(100_000.0)
            .send(&server, "explode");
        assert_eq!(large.status, 500, "{}", large.text());
        server.wait_for("the worker to be replaced", || {
            model(&server)["recycled"] == 1 && model(&server)["workers"][0]["state"] == "ready"
        });
        done.store(true, Ordering::SeqCst);
        load.join().unwrap();
    });
    assert_ne!(server.workers(), before);
    server.wait_for_log("a fresh worker takes over");
    let actor = server.expect_actor("worker:explode/0");
    assert_eq!(actor["last_exit"]["reason"], "normal", "{actor:#}");
    let losses = model(&server)["losses"].clone();
    assert!(
        losses.as_object().unwrap().values().all(|n| n == 0),
        "{losses:#}"
    );
}

#[test]
fn a_worker_over_its_hard_limit_is_killed_for_it() {
    let server = setup("explode", "")
        .set("memory.headroom", "\"64MiB\"")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    // What the kernel's limit does not see comes about by lifting it.
    let lift = || {
        for pid in server.workers() {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap());
            let unlimited = Rlimit {
                current: None,
                maximum: None,
            };
            prlimit(pid, Resource::Data, unlimited).unwrap();
        }
    };
    std::thread::scope(|scope| {
        lift();
        let sent = scope.spawn(|| {
            let answer = Picture::new(0)
                .with_marker(3_000.0)
                .send(&server, "explode");
            answer.status
        });
        server.wait_for("the kill", || model(&server)["losses"]["memory"] == 1);
        // The second time it is alone with its worker, and the kernel's limit holds.
        let status = sent.join().unwrap();
        assert!(matches!(status, 422 | 500), "{status}");
    });
    Picture::new(1).assert_answered(&server, "explode");
    watch.assert_always_alive();
}

#[test]
fn a_load_that_would_not_fit_is_refused_with_the_arithmetic() {
    let server = setup("plain", "").set("memory.limit", "\"150MiB\"").start();
    server.wait_for("the refusal", || {
        let reason = model(&server)["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        reason.contains("it does not fit into memory") && reason.contains("of 150.0 MiB")
    });
    assert_eq!(model(&server)["state"], "failed");
    assert_eq!(server.get_health("/api/health/live").status, 200);
    assert_eq!(server.get_health("/api/health/ready").status, 503);
}
