//! Actors that panic and actors that hang: each comes back alone, and what it left behind is
//! harmless and counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

#[cfg(target_os = "linux")]
use crate::harness::processes::threads;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup, load};

const METRICS: &str = "metrics";

#[test]
fn the_status_shows_every_actor_and_each_worker_under_the_loader() {
    let server = server();
    let tree = server.status()["actors"].clone();
    assert_eq!(tree[0]["name"], "root", "{tree:#}");
    for name in ["heartbeat", METRICS, "db_writer", "models", "model_loader"] {
        let actor = server.expect_actor(name);
        assert_eq!(
            (&actor["parent"], &actor["state"]),
            (&json!("root"), &json!("running"))
        );
        assert_eq!(
            (&actor["generation"], &actor["restarts"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(actor["last_exit"], Value::Null);
    }
    let loader = server.expect_actor("model_loader");
    assert_eq!(loader["children"][0]["name"], "model:surface", "{loader:#}");
    assert_eq!(
        loader["children"][0]["children"][0]["name"], "worker:surface/0",
        "{loader:#}"
    );
}

// A panic in each actor in turn.

#[test]
fn a_panic_in_the_heartbeat_heals_and_touches_nobody_else() {
    panic_heals("heartbeat", &[]);
}

#[test]
fn a_panic_in_the_metrics_actor_heals_and_touches_nobody_else() {
    panic_heals(METRICS, &[]);
}

#[test]
fn a_panic_in_the_database_writer_heals_and_touches_nobody_else() {
    panic_heals("db_writer", &[]);
}

#[test]
fn a_panic_in_the_model_loader_heals_and_touches_nobody_else() {
    panic_heals("model_loader", &[]);
}

#[test]
fn a_panic_in_the_supervisor_of_models_takes_along_the_models_and_nobody_else() {
    panic_heals("models", &["model:surface", "worker:surface/"]);
}

#[test]
fn a_panic_in_the_supervisor_of_a_model_takes_along_its_workers_and_nobody_else() {
    panic_heals("model:surface", &["worker:surface/"]);
}

#[test]
fn a_panic_in_the_actor_of_a_worker_heals_and_touches_nobody_else() {
    panic_heals("worker:surface/0", &[]);
}

fn panic_heals(name: &str, below: &[&str]) {
    let server = server();
    let watch = LivenessWatch::start(&server);
    let before = generations(&server);
    let answered = AtomicUsize::new(0);
    let complaints = std::thread::scope(|scope| {
        let load = scope.spawn(|| load::run(&server, 4, 50, &answered));
        server.wait_for("some answers", || answered.load(Ordering::SeqCst) > 10);
        assert_eq!(server.fault(name, "panic", 1, None).status, 200);
        load.join().unwrap()
    });
    assert!(complaints.is_empty(), "{complaints:#?}");
    let actor = server.wait_for_actor(name, "back", |actor| {
        actor["generation"] == before[name] + 1 && actor["state"] == "running"
    });
    assert_eq!(actor["restarts"], before[name], "{actor:#}");
    assert_eq!(actor["last_exit"]["reason"], "panic", "{actor:#}");
    assert_eq!(actor["last_exit"]["message"], "injected panic", "{actor:#}");
    assert!(
        actor["last_exit"]["at"].as_str().unwrap().ends_with('Z'),
        "{actor:#}"
    );
    server.wait_all_workers();
    server.wait_ready();
    server.assert_predicts();
    assert_eq!(log_one(&server, name).status, 200);
    for (other, generation) in generations(&server) {
        let fell = other == name || below.iter().any(|below| other.starts_with(below));
        let expected = before[&other] + u64::from(fell);
        assert_eq!(
            generation, expected,
            "generation of {other} after a panic in {name}"
        );
    }
    watch.assert_always_alive();
}

// An actor that blocks its thread.

#[test]
fn a_blocked_actor_is_fenced_and_replaced_and_its_thread_is_counted() {
    let server = quick_to_judge().start_ready();
    let watch = LivenessWatch::start(&server);
    assert_eq!(server.fault(METRICS, "block", 1, None).status, 200);
    let actor = server.wait_for_actor(METRICS, "replaced", |actor| {
        actor["generation"] == 2 && actor["state"] == "running"
    });
    assert_eq!(actor["restarts"], 1, "{actor:#}");
    assert_eq!(actor["leaked"], 1, "{actor:#}");
    assert_eq!(actor["last_exit"]["reason"], "hang", "{actor:#}");
    assert!(
        actor["last_exit"]["message"]
            .as_str()
            .unwrap()
            .contains("fault overdue"),
        "{actor:#}"
    );
    #[cfg(target_os = "linux")]
    assert_eq!(
        count(&server, METRICS),
        2,
        "the blocked thread and its successor's"
    );
    server.assert_predicts();
    watch.assert_always_alive();
}

#[test]
fn a_thousand_blocked_actors_end_at_the_cap_and_not_in_a_thousand_threads() {
    let server = quick_to_judge()
        .set("supervision.leak_cap", "3")
        .set("supervision.restarts", "1000")
        .set("supervision.within", "\"1h\"")
        .set("supervision.backoff_max", "\"100ms\"")
        .set("supervision.cool_down", "\"50ms\"")
        .start_ready();
    server.wait_all_workers();
    let watch = LivenessWatch::start(&server);
    #[cfg(target_os = "linux")]
    let before = threads(server.pid()).len();
    assert_eq!(server.fault(METRICS, "block", 1000, None).status, 200);
    let failed = server.wait_for_actor(METRICS, "given up", |actor| actor["state"] == "failed");
    assert_eq!(failed["leaked"], 3, "{failed:#}");
    assert_eq!(failed["generation"], 3, "{failed:#}");
    // Each prediction takes longer than nothing, and the cool-down is over again and again.
    for _ in 0..100 {
        server.assert_predicts();
        let actor = server.expect_actor(METRICS);
        assert_eq!(
            (&actor["state"], &actor["leaked"]),
            (&json!("failed"), &json!(3))
        );
    }
    #[cfg(target_os = "linux")]
    {
        assert_eq!(count(&server, METRICS), 3);
        let now = threads(server.pid());
        // One of the three is the thread that was there before; a pool's may have come meanwhile.
        assert!(
            now.len() <= before + 2 + 32,
            "{} threads, {now:?}",
            now.len()
        );
    }
    assert_eq!(server.expect_actor(METRICS)["generation"], 3);
    assert_eq!(server.get("/api/health/ready").status, 200);
    watch.assert_always_alive();
}

#[test]
fn a_blocked_actor_that_wakes_changes_nothing_any_more() {
    let server = quick_to_judge().start_ready();
    server.fault(METRICS, "block", 1, Some("8s"));
    let replaced = server.wait_for_actor(METRICS, "replaced", |actor| {
        actor["generation"] == 2 && actor["state"] == "running"
    });
    assert_eq!(replaced["leaked"], 1, "{replaced:#}");
    let before = generations(&server);
    let awake = server.wait_for_actor(METRICS, "rid of its old thread", |actor| {
        actor["leaked"] == 0
    });
    assert_eq!(awake["state"], "running", "{awake:#}");
    assert_eq!(awake["last_exit"], replaced["last_exit"]);
    #[cfg(target_os = "linux")]
    assert_eq!(count(&server, METRICS), 1);
    assert_eq!(generations(&server), before);
    server.assert_predicts();
}

#[test]
fn an_actor_given_up_at_the_cap_comes_back_when_its_thread_has_ended() {
    let server = quick_to_judge()
        .set("supervision.leak_cap", "1")
        .set("supervision.cool_down", "\"200ms\"")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    server.fault(METRICS, "block", 1, Some("10s"));
    let failed = server.wait_for_actor(METRICS, "given up", |actor| actor["state"] == "failed");
    assert_eq!(
        (&failed["generation"], &failed["leaked"]),
        (&json!(1), &json!(1))
    );
    let back = server.wait_for_actor(METRICS, "back", |actor| actor["state"] == "running");
    assert_eq!(
        (&back["generation"], &back["leaked"]),
        (&json!(2), &json!(0))
    );
    watch.assert_always_alive();
}

#[test]
fn an_actor_that_waits_for_ever_is_replaced_without_a_thread_left_behind() {
    let server = quick_to_judge().start_ready();
    server.fault(METRICS, "starve", 1, None);
    let actor = server.wait_for_actor(METRICS, "replaced", |actor| {
        actor["generation"] == 2 && actor["state"] == "running"
    });
    assert_eq!(actor["last_exit"]["reason"], "hang", "{actor:#}");
    server.wait_for_actor(METRICS, "without a leak", |actor| actor["leaked"] == 0);
    server.assert_predicts();
}

#[test]
fn an_actor_whose_task_is_dropped_is_replaced() {
    let server = server();
    server.fault("db_writer", "kill", 1, None);
    let actor = server.wait_for_actor("db_writer", "replaced", |actor| {
        actor["generation"] == 2 && actor["state"] == "running"
    });
    assert_eq!(actor["last_exit"]["reason"], "killed", "{actor:#}");
    assert_eq!(log_one(&server, "killed").status, 200);
}

#[test]
fn an_insignificant_actor_that_keeps_failing_rests_and_is_tried_for_ever() {
    let server = Setup::new()
        .set("supervision.restarts", "2")
        .set("supervision.backoff_max", "\"100ms\"")
        .set("supervision.cool_down", "\"300ms\"")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    server.fault(METRICS, "error", 1000, None);
    // The first life and two restarts make a round, and no round is the last.
    let tired = server.wait_for_actor(METRICS, "in its fourth round", |actor| {
        actor["generation"].as_u64() > Some(9)
    });
    assert_eq!(tired["last_exit"]["reason"], "error", "{tired:#}");
    server.assert_predicts();
    server.fault(METRICS, "none", 0, None);
    server.wait_for_actor(METRICS, "well again", |actor| {
        actor["state"] == "running" && actor["status_age_seconds"].is_number()
    });
    watch.assert_always_alive();
}

/// A ready server with all its workers, whose models may take long to recover on a busy machine.
fn server() -> Server {
    let server = Setup::new()
        .set("models.recovery_floor", "\"1m\"")
        .start_ready();
    server.wait_all_workers();
    server
}

/// A server whose actors may not take long over anything.
fn quick_to_judge() -> Setup {
    Setup::new().set("supervision.handle_timeout", "\"2s\"")
}

fn generations(server: &Server) -> BTreeMap<String, u64> {
    let mut generations = BTreeMap::new();
    let mut left = server.status()["actors"].as_array().unwrap().clone();
    while let Some(actor) = left.pop() {
        let name = actor["name"].as_str().unwrap().to_owned();
        generations.insert(name, actor["generation"].as_u64().unwrap());
        left.extend(actor["children"].as_array().unwrap().iter().cloned());
    }
    generations
}

fn log_one(server: &Server, image: &str) -> crate::harness::Answer {
    server.post_json("/log", &crate::database::batch("actors", &[image]))
}

#[cfg(target_os = "linux")]
fn count(server: &Server, name: &str) -> usize {
    threads(server.pid())
        .iter()
        .filter(|thread| *thread == name)
        .count()
}
