//! What a server does that has given itself up: it says why where the kubelet looks, and ends by
//! itself when nobody restarts it.

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::processes::{freeze, has_ended, wait_until};
use crate::harness::{Server, Setup, signal_process};
use crate::liveness::block_a_worker;

const LIVE: &str = "/api/health/live";
const NO_LONGER_ALIVE: &str = "the server is no longer alive";

#[test]
fn a_blocked_root_is_written_down_at_once_and_the_server_ends_by_itself_with_its_workers() {
    let mut server = setup()
        .set("health.root_stale_after", "\"2s\"")
        .set("lifecycle.exit_after_verdict", "\"2s\"")
        .start_ready();
    server.wait_all_workers();
    let workers = server.workers();
    server.fault("root", "block", 1, None);
    wait_until("the reason is written", || {
        !termination_log(&server).is_empty()
    });
    assert!(!has_ended(server.pid()), "it is written before the end");
    let text = termination_log(&server);
    let first = text.lines().next().unwrap();
    for word in ["root", "impetus 0.", "not alive since 20"] {
        assert!(first.contains(word), "{word} is not in {text}");
    }
    assert!(first.contains(&format!("pid {}", server.pid())), "{text}");
    assert!(text.lines().nth(1).unwrap().contains("root"), "{text}");
    assert!(text.lines().count() > 3, "no events: {text}");
    assert!(text.len() <= 4096);

    assert_eq!(server.wait_exit_code(), Some(76));
    wait_until("the workers have ended", || {
        workers.iter().all(|worker| has_ended(*worker))
    });
    assert_eq!(server.log().matches(NO_LONGER_ALIVE).count(), 1);
    assert!(server.log().contains("nobody restarted it"));
    let next = Setup::in_dir(Arc::clone(&server.dir)).start_ready();
    let previous = next.status()["previous_run"].clone();
    let reason = previous["reason"].as_str().unwrap();
    assert!(reason.contains("nobody restarted it: root"), "{previous:#}");
    assert!(
        previous.to_string().contains("no longer alive"),
        "{previous:#}"
    );
}

#[test]
fn with_root_workers_and_heart_blocked_and_a_worker_stopped_the_server_still_ends_by_itself() {
    let mut server = setup()
        .set("http.workers", "2")
        .set("health.root_stale_after", "\"2s\"")
        .set("supervision.handle_timeout", "\"1h\"")
        .set("lifecycle.exit_after_verdict", "\"3s\"")
        .start_ready();
    server.wait_all_workers();
    let workers = server.workers();
    freeze(workers[0]);
    server.fault("heartbeat", "block", 1, None);
    server.fault("root", "block", 1, None);
    let _blocked: Vec<TcpStream> = (0..4).map(|_| block_a_worker(&server, None)).collect();
    assert_eq!(server.wait_exit_code(), Some(76));
    wait_until("the workers have ended", || {
        workers.iter().all(|worker| has_ended(*worker))
    });
}

#[test]
fn a_heart_that_has_stopped_for_good_ends_the_server_by_itself() {
    let mut server = stale_heart()
        .set("lifecycle.exit_after_verdict", "\"1s\"")
        .start_ready();
    server.fault("heartbeat", "starve", 1000, None);
    assert_eq!(server.wait_exit_code(), Some(76));
    let text = termination_log(&server);
    assert!(text.contains("heartbeat_stale"), "{text}");
}

#[test]
fn the_record_has_the_verdict_at_once_for_a_kubelet_that_kills() {
    let mut server = stale_heart()
        .set("health.evaluate_every", "\"1h\"")
        .start_ready();
    server.fault("heartbeat", "starve", 1000, None);
    wait_until("the verdict is in the record", || {
        last_run(&server)["verdict"].is_string()
    });
    server.signal(Signal::KILL);
    server.wait_exit();
    let next = Setup::in_dir(Arc::clone(&server.dir)).start_ready();
    let reason = next.status()["previous_run"]["reason"].to_string();
    assert!(
        reason.contains("heartbeat_stale") && reason.contains("without a word"),
        "{reason}"
    );
}

#[test]
fn an_edge_that_turns_again_takes_the_verdict_back_and_the_server_lives_on() {
    let mut server = setup()
        .set("http.workers", "2")
        .set("health.edge_stalled_after", "\"2s\"")
        .set("lifecycle.exit_after_verdict", "\"1m\"")
        .start_ready();
    let for_a_while = "3s";
    let _blocked: Vec<TcpStream> = (0..4)
        .map(|_| block_a_worker(&server, Some(for_a_while)))
        .collect();
    wait_until("the reason is written", || {
        termination_log(&server).contains("edge_stalled: all 2")
    });
    wait_until("the reason is gone", || {
        fs::read(server.dir.path().join("termination-log")).is_ok_and(|text| text.is_empty())
    });
    server.wait_for_log("the server is alive again");
    server.wait_for("liveness", || server.get_health(LIVE).status == 200);
    wait_until("the verdict is out of the record", || {
        last_run(&server)["verdict"].is_null()
    });
    server.assert_predicts();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(0));
    assert_eq!(last_run(&server)["reason"], "SIGTERM received");
}

#[test]
fn a_termination_log_that_cannot_be_written_costs_one_line_and_nothing_else() {
    let mut server = stale_heart()
        .set(
            "lifecycle.termination_log",
            "\"/proc/no-folder/termination-log\"",
        )
        .set("lifecycle.exit_after_verdict", "\"1s\"")
        .start_ready();
    server.fault("heartbeat", "starve", 1000, None);
    assert_eq!(server.wait_exit_code(), Some(76));
    let log = server.log();
    assert_eq!(log.matches("termination log not written").count(), 1);
    assert!(
        last_run(&server)["reason"]
            .to_string()
            .contains("heartbeat_stale"),
        "{log}"
    );
}

/// A pipe that nobody reads hangs whoever opens it to write, like a disk whose server is gone.
#[test]
fn a_termination_log_that_hangs_holds_up_neither_liveness_nor_the_end() {
    let setup = stale_heart().set("lifecycle.exit_after_verdict", "\"1s\"");
    let made = std::process::Command::new("mkfifo")
        .arg(setup.path().join("termination-log"))
        .status();
    assert!(made.unwrap().success());
    let mut server = setup.start_ready();
    server.fault("heartbeat", "starve", 1000, None);
    server.wait_for_log(NO_LONGER_ALIVE);
    assert_eq!(server.wait_exit_code(), Some(76));
}

#[test]
fn sigterm_while_a_server_waits_to_be_restarted_ends_it_in_order_and_says_what_it_had_given_up_for()
{
    let mut server = setup()
        .set("supervision.restarts", "1")
        .set("supervision.backoff_max", "\"100ms\"")
        .set("lifecycle.exit_after_verdict", "\"1h\"")
        .start_ready();
    server.fault("heartbeat", "panic", 1000, None);
    server.wait_for_log(NO_LONGER_ALIVE);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(70));
    assert!(server.log().contains("all actors have stopped"));
    let reason = last_run(&server)["reason"].to_string();
    assert!(
        reason.contains("SIGTERM received") && reason.contains("heartbeat was given up"),
        "{reason}"
    );
    assert!(termination_log(&server).contains("heartbeat was given up"));
}

#[test]
fn with_no_limit_a_server_that_is_not_alive_stays() {
    let server = stale_heart()
        .set("lifecycle.exit_after_verdict", "\"0s\"")
        .start_ready();
    server.fault("heartbeat", "starve", 1000, None);
    server.wait_for_log(NO_LONGER_ALIVE);
    // Longer than any other test lets a server wait.
    let verdict = Instant::now();
    server.wait_for("time to pass", || {
        assert_eq!(server.get_health(LIVE).status, 503);
        verdict.elapsed() > Duration::from_secs(3)
    });
    server.assert_predicts();
}

#[test]
fn a_server_that_was_frozen_and_goes_on_is_not_given_up() {
    let server = stale_heart()
        .set("health.root_stale_after", "\"2s\"")
        .set("health.edge_stalled_after", "\"2s\"")
        .set("lifecycle.exit_after_verdict", "\"10ms\"")
        .start_ready();
    let beats = || {
        let heart = server.expect_actor("heartbeat");
        let beats = heart["details"]["beats"].as_str().unwrap().to_owned();
        beats.parse::<u64>().unwrap()
    };
    // Who turns first when all go on, those that are watched or the watch, is chance.
    for _ in 0..4 {
        freeze(server.pid());
        let frozen = Instant::now();
        wait_until("every limit has passed", || {
            frozen.elapsed() > Duration::from_millis(2500)
        });
        signal_process(server.pid(), Signal::CONT);
        let before = beats();
        server.wait_for("the heart to beat on", || beats() > before + 10);
    }
    assert_eq!(server.get_health(LIVE).status, 200);
    assert!(!server.log().contains(NO_LONGER_ALIVE), "{}", server.log());
    assert_eq!(termination_log(&server), "");
    server.assert_predicts();
}

/// A server whose heart is soon missed.
fn stale_heart() -> Setup {
    setup()
        .set("health.heartbeat_interval", "\"100ms\"")
        .set("health.heartbeat_stale_after", "\"2s\"")
        .set("supervision.handle_timeout", "\"1h\"")
}

fn setup() -> Setup {
    let setup = Setup::new();
    let file = setup.path().join("termination-log");
    let file = format!("{:?}", file.to_str().unwrap());
    setup.set("lifecycle.termination_log", &file)
}

fn termination_log(server: &Server) -> String {
    fs::read_to_string(server.dir.path().join("termination-log")).unwrap_or_default()
}

fn last_run(server: &Server) -> Value {
    let text = fs::read_to_string(server.dir.path().join("data/last-run.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
