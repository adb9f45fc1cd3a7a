//! Workers that are lost while clients send: nobody is to notice but by waiting.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::harness::processes::{children, freeze, has_ended};
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup, binary, load, signal_process};

const CLIENTS: usize = 32;
const EACH: usize = 30;

#[test]
fn workers_killed_by_sigkill_under_load_cost_no_request_its_right_answer() {
    lose_every_worker(Signal::KILL);
}

#[test]
fn workers_that_crash_by_sigsegv_under_load_cost_no_request_its_right_answer() {
    lose_every_worker(Signal::SEGV);
}

/// Ends every worker by `signal` in the middle of the load.
fn lose_every_worker(signal: Signal) {
    let server = server();
    let watch = LivenessWatch::start(&server);
    let lost = server.workers();
    assert!(!lost.is_empty());
    let answered = AtomicUsize::new(0);
    let complaints = std::thread::scope(|scope| {
        let load = scope.spawn(|| load::run(&server, CLIENTS, EACH, &answered));
        server.wait_for("a part of the answers", || {
            answered.load(Ordering::SeqCst) > CLIENTS
        });
        for pid in &lost {
            signal_process(*pid, signal);
        }
        assert!(
            answered.load(Ordering::SeqCst) < CLIENTS * EACH,
            "the load was over too early"
        );
        load.join().unwrap()
    });
    assert!(complaints.is_empty(), "{complaints:#?}");

    for index in 0..lost.len() {
        let name = format!("worker:surface/{index}");
        let actor = server.wait_for_actor(&name, "back", |actor| {
            actor["generation"] == 2 && actor["state"] == "running"
        });
        assert_eq!(actor["restarts"], 1, "{actor:#}");
        assert_eq!(actor["last_exit"]["reason"], "process_lost", "{actor:#}");
        let message = actor["last_exit"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("signal {}", signal.as_raw())),
            "{message}"
        );
        assert!(
            lost.iter().any(|pid| message.contains(&pid.to_string())),
            "{message}"
        );
    }
    server.wait_all_workers();
    watch.assert_always_alive();
    let ready = server.get("/ready").json();
    assert_eq!(
        ready["errors"], 0,
        "a lost worker is no failure of a request: {ready}"
    );
    assert_eq!(ready["predictions_served"], CLIENTS * EACH, "{ready}");
    assert_only_workers_are_left(&server, &lost);
}

/// The children of the server are the workers that serve: no corpse, and nobody forgotten.
fn assert_only_workers_are_left(server: &Server, lost: &[u32]) {
    assert!(lost.iter().all(|pid| has_ended(*pid)));
    let mut serving = server.workers();
    serving.sort_unstable();
    server.wait_for("every lost worker to be reaped", || {
        let mut left: Vec<u32> = children(server.pid())
            .iter()
            .map(|child| child.pid)
            .collect();
        left.sort_unstable();
        left == serving
    });
    assert!(
        children(server.pid())
            .iter()
            .all(|child| child.state != 'Z')
    );
}

/// Recovery gets as long as it takes, because the machine may be busy.
fn server() -> Server {
    let server = Setup::new()
        .set("models.recovery_floor", "\"1m\"")
        .set("http.request_timeout", "\"55s\"")
        .start_ready();
    server.wait_all_workers();
    server
}

#[test]
fn workers_killed_over_and_over_under_load_cost_no_request_its_right_answer() {
    let server = Setup::new()
        .set("models.recovery_floor", "\"1m\"")
        .set("http.request_timeout", "\"55s\"")
        .set("models.backoff_max", "\"100ms\"")
        .set("models.retries", "10")
        .set("supervision.restarts", "1000")
        .start_ready();
    server.wait_all_workers();
    let watch = LivenessWatch::start(&server);
    let answered = AtomicUsize::new(0);
    let mut lost = Vec::new();
    let complaints = std::thread::scope(|scope| {
        let load = scope.spawn(|| load::run(&server, CLIENTS, EACH, &answered));
        // As many rounds as one request may lose workers, so that none can lose one too many.
        for round in 1..=8 {
            let part = CLIENTS * EACH * round / 10;
            server.wait_for("a part of the answers", || {
                answered.load(Ordering::SeqCst) >= part
            });
            let workers = server.workers();
            workers
                .iter()
                .for_each(|pid| signal_process(*pid, Signal::KILL));
            lost.extend(workers);
        }
        load.join().unwrap()
    });
    assert!(complaints.is_empty(), "{complaints:#?}");
    server.wait_all_workers();
    watch.assert_always_alive();
    assert_only_workers_are_left(&server, &lost);
}

#[test]
fn a_worker_that_is_lost_once_costs_a_request_one_try_and_no_more() {
    let server = one_worker().set("models.retries", "1").start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let held = load::hold(scope, &server, 0);
        load::wait_until_held(&server, 1);
        signal_process(worker, Signal::KILL);
        assert_eq!(held.join().unwrap(), None);
    });
    let ready = server.get("/ready").json();
    assert_eq!(ready["errors"], 0, "{ready}");
}

#[test]
fn workers_that_are_lost_together_cost_a_request_one_try_and_no_more() {
    let server = one_worker()
        .set("models.workers", "4")
        .set("models.max_batch", "1")
        .set("models.retries", "1")
        .start_ready();
    server.wait_all_workers();
    let workers = server.workers();
    workers.iter().for_each(|worker| freeze(*worker));
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..4)
            .map(|number| load::hold(scope, &server, number))
            .collect();
        load::wait_until_held(&server, held.len());
        for worker in &workers {
            signal_process(*worker, Signal::KILL);
        }
        for request in held {
            assert_eq!(request.join().unwrap(), None);
        }
    });
}

#[test]
fn a_worker_that_hangs_is_killed_and_what_it_held_is_answered_by_the_next_one() {
    let server = one_worker()
        .set("models.run_timeout", "\"3s\"")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    let hung = server.workers();
    freeze(hung[0]);
    let complaints = load::run(&server, 4, 5, &AtomicUsize::new(0));
    assert!(complaints.is_empty(), "{complaints:#?}");
    let actor = server.expect_actor("worker:surface/0");
    assert_eq!(actor["generation"], 2, "{actor:#}");
    assert_eq!(actor["last_exit"]["reason"], "process_lost", "{actor:#}");
    let message = actor["last_exit"]["message"].as_str().unwrap();
    assert!(
        message.contains("signal 9") && message.contains("its budget is 3.00 s"),
        "{message}"
    );
    watch.assert_always_alive();
    assert_only_workers_are_left(&server, &hung);
}

#[test]
fn by_default_a_request_waits_longer_than_it_takes_to_find_that_its_worker_hangs() {
    let output = Command::new(binary()).arg("check-config").output().unwrap();
    let config: toml::Table = toml::from_str(str::from_utf8(&output.stdout).unwrap()).unwrap();
    let duration = |table: &str, key: &str| {
        humantime::parse_duration(config[table][key].as_str().unwrap()).unwrap()
    };
    let found = duration("models", "run_timeout_ceiling");
    let waits = duration("http", "request_timeout");
    // The same again for the second run, with whatever the load of a new worker takes.
    assert!(
        waits >= found * 2,
        "waits {waits:?}, a hang is found after {found:?}"
    );
}

#[test]
fn an_idle_worker_that_hangs_is_replaced_before_a_request_finds_it() {
    let server = one_worker()
        .set("models.self_check_every", "\"200ms\"")
        .start_ready();
    let hung = server.workers();
    freeze(hung[0]);
    let actor = server.wait_for_actor("worker:surface/0", "replaced", |actor| {
        actor["generation"] == 2 && actor["state"] == "running"
    });
    let message = actor["last_exit"]["message"].as_str().unwrap();
    assert!(message.contains("idle worker was silent"), "{message}");
    server.assert_predicts();
    assert_only_workers_are_left(&server, &hung);
}

#[test]
fn a_worker_whose_actor_is_blocked_is_replaced_and_what_it_held_is_answered() {
    let server = one_worker().start_ready();
    let watch = LivenessWatch::start(&server);
    let lost = server.workers();
    assert_eq!(
        server.fault("worker:surface/0", "block", 1, None).status,
        200
    );
    let complaints = load::run(&server, 4, 5, &AtomicUsize::new(0));
    assert!(complaints.is_empty(), "{complaints:#?}");
    let actor = server.expect_actor("worker:surface/0");
    assert_eq!(
        (&actor["generation"], &actor["leaked"]),
        (&2.into(), &1.into()),
        "{actor:#}"
    );
    assert_eq!(actor["last_exit"]["reason"], "hang", "{actor:#}");
    watch.assert_always_alive();
    // The thread is lost for good, the process is not.
    assert_only_workers_are_left(&server, &lost);
}

/// A server with one worker, whose recovery gets as long as it takes.
fn one_worker() -> Setup {
    Setup::new()
        .set("models.workers", "1")
        .set("models.recovery_floor", "\"1m\"")
        .set("http.request_timeout", "\"55s\"")
}

#[test]
fn a_worker_that_crashes_again_and_again_is_rested_and_tried_again() {
    let server = one_worker()
        .set("models.backoff_max", "\"100ms\"")
        .set("supervision.restarts", "2")
        .set("supervision.cool_down", "\"300ms\"")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    for generation in 1..=3 {
        server.wait_for_actor("worker:surface/0", "serving", |actor| {
            actor["generation"] == generation && actor["state"] == "running"
        });
        server.wait_all_workers();
        signal_process(server.workers()[0], Signal::SEGV);
    }
    server.wait_for_actor("worker:surface/0", "back after its rest", |actor| {
        actor["generation"] == 4 && actor["state"] == "running"
    });
    server.wait_ready();
    server.assert_predicts();
    watch.assert_always_alive();
    // The third loss within the window was one too many, and nobody but the worker paid for it.
    server.wait_for_log("failed");
    assert_eq!(server.expect_actor("model:surface")["restarts"], 0);
}
