//! How a server ends: when it is asked to, when it is asked twice, and when nobody asks.

mod moments;
mod steps;

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::processes::{freeze, has_ended, wait_until};
use crate::harness::{Answer, Server, Setup, load, new_agent, signal_process};
use crate::liveness::block_a_worker;

const LIVE: &str = "/api/health/live";
const READY: &str = "/api/health/ready";

#[test]
fn sigterm_under_load_is_a_lame_duck_time_in_which_everything_is_answered_and_then_exit_0() {
    let mut server = Setup::new()
        .set("lifecycle.lame_duck", "\"5s\"")
        .start_ready();
    let answered = AtomicUsize::new(0);
    let failures: Vec<Failure> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| send_until_refused(&server, &answered)))
            .collect();
        server.wait_for("some answers", || answered.load(Ordering::SeqCst) > 50);
        server.signal(Signal::TERM);
        server.wait_for("not being ready", || server.get_health(READY).status == 503);
        let when_unready = answered.load(Ordering::SeqCst);
        for answer in server.get_both(READY) {
            assert_eq!(answer.status, 503);
            assert!(
                answer.json()["reasons"].to_string().contains("draining"),
                "{}",
                answer.text()
            );
        }
        for answer in server.get_both(LIVE) {
            assert_eq!(
                answer.status,
                200,
                "draining is no reason to be killed: {}",
                answer.text()
            );
        }
        assert_eq!(server.get("/ready").status, 503);
        server.wait_for("answers in the lame-duck time", || {
            answered.load(Ordering::SeqCst) > when_unready + 50
        });
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    for failure in failures {
        match failure {
            Failure::Wrong(complaint) => panic!("{complaint}"),
            Failure::Refused { phase } => assert!(
                phase != "serving" && phase != "lame_duck",
                "refused while the server was {phase}"
            ),
        }
    }
    assert_eq!(server.wait_exit_code(), Some(0));
    assert!(
        last_run(&server)["reason"]
            .as_str()
            .unwrap()
            .contains("SIGTERM received")
    );

    let next = Setup::in_dir(Arc::clone(&server.dir)).start_ready();
    let previous = next.status()["previous_run"].clone();
    assert_eq!(previous["reason"], "SIGTERM received", "{previous:#}");
    assert!(previous["ended_at"].is_string(), "{previous:#}");
    assert!(
        !previous["events"].as_array().unwrap().is_empty(),
        "{previous:#}"
    );
}

#[test]
fn after_sigterm_each_answer_closes_its_connection_so_that_clients_go_elsewhere() {
    let server = Setup::new()
        .set("lifecycle.lame_duck", "\"10m\"")
        .start_ready();
    let sample = &load::requests()[0];
    let predict = || server.post("/predict", sample.content_type, &sample.body);
    assert!(!predict().headers.contains_key("connection"));
    server.signal(Signal::TERM);
    server.wait_for("not being ready", || server.get_health(READY).status == 503);
    for answer in [predict(), server.get(READY), server.get("/nowhere")] {
        let connection = answer.headers.get("connection").map(String::as_str);
        assert_eq!(connection, Some("close"), "{answer:?}");
    }
}

#[test]
fn what_is_in_flight_at_sigterm_is_answered_before_the_end() {
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.max_batch", "1")
        .start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..4)
            .map(|number| load::hold(scope, &server, number))
            .collect();
        load::wait_until_held(&server, held.len());
        server.signal(Signal::TERM);
        server.wait_for("draining", || server.status()["phase"] == "draining");
        assert_eq!(server.get_health(LIVE).status, 200);
        signal_process(worker, Signal::CONT);
        for request in held {
            let complaint = request.join().unwrap();
            assert_eq!(complaint, None);
        }
    });
    assert_eq!(server.wait_exit_code(), Some(0));
}

#[test]
fn a_second_sigterm_ends_the_server_at_once_with_a_code_of_its_own() {
    let mut server = Setup::new()
        .set("lifecycle.lame_duck", "\"10m\"")
        .start_ready();
    server.signal(Signal::TERM);
    server.wait_for("not being ready", || server.get_health(READY).status == 503);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(75));
    let reason = last_run(&server)["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("SIGTERM") && reason.contains("second"),
        "{reason}"
    );
}

#[test]
fn sigint_ends_the_server_in_order_as_well() {
    let mut server = Setup::new().start_ready();
    server.signal(Signal::INT);
    assert_eq!(server.wait_exit_code(), Some(0));
    assert_eq!(last_run(&server)["reason"], "SIGINT received");
}

#[test]
fn a_request_that_outlives_the_drain_deadline_makes_the_end_a_forced_one() {
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.shutdown_timeout", "\"300ms\"")
        .set("lifecycle.drain_timeout", "\"300ms\"")
        .start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let held = load::hold(scope, &server, 0);
        load::wait_until_held(&server, 1);
        server.signal(Signal::TERM);
        let complaint = held.join().unwrap();
        assert!(complaint.is_some(), "a stopped worker has answered");
    });
    assert_eq!(server.wait_exit_code(), Some(75));
    let reason = last_run(&server)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("deadline"), "{reason}");
    wait_until("the stopped worker has ended", || has_ended(worker));
}

#[test]
fn workers_end_with_a_server_that_is_killed_and_the_next_start_knows_of_it() {
    let mut server = Setup::new()
        .set("health.evaluate_every", "\"200ms\"")
        .start_ready();
    server.wait_all_workers();
    let workers = server.workers();
    assert!(!workers.is_empty());
    server.signal(Signal::KILL);
    server.wait_exit();
    wait_until("the workers have ended", || {
        workers.iter().all(|worker| has_ended(*worker))
    });

    let next = Setup::in_dir(Arc::clone(&server.dir)).start_ready();
    let previous = next.status()["previous_run"].clone();
    assert!(
        previous["reason"]
            .as_str()
            .unwrap()
            .contains("without a word"),
        "{previous:#}"
    );
    assert_eq!(previous["ended_at"], Value::Null, "{previous:#}");
}

#[test]
fn a_server_that_has_given_up_says_so_to_the_next_one() {
    let mut server = Setup::new()
        .set("supervision.restarts", "1")
        .set("supervision.backoff_max", "\"100ms\"")
        .set("health.evaluate_every", "\"100ms\"")
        .start_ready();
    server.fault("heartbeat", "panic", 1000, None);
    server.wait_for("the verdict", || server.get_health(LIVE).status == 503);
    server.wait_for("the verdict in the record", || {
        last_run(&server)["verdict"].is_string()
    });
    // As the kubelet does with a pod whose liveness probe fails.
    server.signal(Signal::KILL);
    server.wait_exit();
    let next = Setup::in_dir(Arc::clone(&server.dir)).start_ready();
    let reason = next.status()["previous_run"]["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(reason.contains("heartbeat was given up"), "{reason}");
}

#[test]
fn a_server_that_has_given_up_skips_the_lame_duck_time_and_ends_with_a_code_of_its_own() {
    let mut server = Setup::new()
        .set("supervision.restarts", "1")
        .set("supervision.backoff_max", "\"100ms\"")
        .set("lifecycle.lame_duck", "\"10m\"")
        .start_ready();
    server.fault("heartbeat", "panic", 1000, None);
    server.wait_for("the verdict", || server.get_health(LIVE).status == 503);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(70));
}

#[test]
fn a_thread_that_was_abandoned_does_not_hold_up_the_end() {
    let mut server = Setup::new()
        .set("supervision.handle_timeout", "\"2s\"")
        .start_ready();
    server.fault("metrics", "block", 1, None);
    server.wait_for_actor("metrics", "replaced", |actor| {
        actor["generation"] == 2 && actor["state"] == "running"
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(0));
}

#[test]
fn a_server_whose_http_workers_are_blocked_ends_at_its_deadline() {
    let mut server = Setup::new()
        .set("http.workers", "2")
        .set("lifecycle.drain_timeout", "\"300ms\"")
        .start_ready();
    let _blocked: Vec<TcpStream> = (0..4).map(|_| block_a_worker(&server, None)).collect();
    server.wait_for("both workers to stand still", || {
        server.status()["components"]["edge"]["detail"]["standing_still"] == 2
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(75));
}

#[test]
fn a_server_whose_root_is_blocked_ends_at_its_deadline_and_its_workers_with_it() {
    let mut server = Setup::new()
        .set("models.shutdown_timeout", "\"300ms\"")
        .set("lifecycle.stop_timeout", "\"300ms\"")
        .set("lifecycle.flush_timeout", "\"300ms\"")
        .start_ready();
    server.wait_all_workers();
    let workers = server.workers();
    server.fault("root", "block", 1, None);
    server.wait_for("the root to be at it", || {
        server.expect_actor("root")["progress"]["item"] == "fault"
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(75));
    wait_until("the workers have ended", || {
        workers.iter().all(|worker| has_ended(*worker))
    });
}

/// How a client's last request ended.
enum Failure {
    /// With an answer that is not the right one.
    Wrong(String),
    /// With none, or with one that says so; and this is what the health port said then.
    Refused { phase: String },
}

/// Sends requests one after the other until one is not answered as it should be.
fn send_until_refused(server: &Server, answered: &AtomicUsize) -> Failure {
    let agent = new_agent();
    for sample in load::requests().iter().cycle() {
        match load::send(&agent, server, sample) {
            Ok(answer) if answer.status == 503 && answer.json()["code"] == "draining" => {
                return Failure::Refused {
                    phase: phase(&agent, server),
                };
            }
            Ok(answer) => match load::complaint(sample, &answer) {
                None => answered.fetch_add(1, Ordering::SeqCst),
                Some(complaint) => return Failure::Wrong(complaint),
            },
            Err(_) => {
                return Failure::Refused {
                    phase: phase(&agent, server),
                };
            }
        };
    }
    unreachable!("a cycle has no end")
}

fn phase(agent: &ureq::Agent, server: &Server) -> String {
    let status = agent.get(server.health_url("/api/health/status")).call();
    let phase = status
        .ok()
        .map(|status| Answer::from(status).json()["phase"].clone());
    phase
        .as_ref()
        .and_then(Value::as_str)
        .unwrap_or("gone")
        .to_owned()
}

pub fn last_run(server: &Server) -> Value {
    let text = fs::read_to_string(server.dir.path().join("data/last-run.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
