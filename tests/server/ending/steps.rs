//! Every step of the end shows: in the status while it lasts, in the log, and in the record that the
//! next run reads.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::{LIVE, READY, last_run};
use crate::database::batch;
use crate::edge::raw::Raw;
use crate::harness::processes::freeze;
use crate::harness::scrape::Scrape;
use crate::harness::{Answer, Server, Setup, binary, load, new_agent, signal_process};

#[test]
fn each_step_of_the_end_is_in_the_status_the_log_and_the_record() {
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.max_batch", "1")
        .start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let held = load::hold(scope, &server, 0);
        load::wait_until_held(&server, 1);
        server.signal(Signal::TERM);
        server.wait_for("draining", || server.status()["phase"] == "draining");
        let lifecycle = server.status()["lifecycle"].clone();
        assert_eq!(lifecycle["phase"], "draining");
        assert_eq!(
            outcomes(&lifecycle["steps"]),
            [("lame_duck", "done"), ("draining", "running")].map(owned)
        );
        let left = lifecycle["left_seconds"].as_f64().unwrap();
        assert!((0.0..=30.0).contains(&left), "{lifecycle:#}");
        assert!(drawn(&server).contains("! end: draining running for "));
        signal_process(worker, Signal::CONT);
        assert_eq!(held.join().unwrap(), None);
    });
    assert_eq!(server.wait_exit_code(), Some(0));
    let all = ["lame_duck", "draining", "flushing", "stopping"].map(|step| (step, "done"));
    assert_eq!(outcomes(&last_run(&server)["steps"]), all.map(owned));
    let lines = log_lines(&server, "step of the end is over");
    assert_eq!(outcomes(&Value::Array(lines)), all.map(owned));
    // In the reverse of their order.
    let stopped = log_lines(&server, "actor stopped");
    let stopped: Vec<&str> = stopped.iter().filter_map(|l| l["actor"].as_str()).collect();
    let place = |actor: &str| stopped.iter().position(|name| *name == actor).unwrap();
    let order = ["model_loader", "db_writer", "metrics", "heartbeat"].map(place);
    assert!(order.is_sorted(), "{stopped:?}");
    assert!(
        place("worker:surface/0") < place("db_writer"),
        "{stopped:?}"
    );
}

#[test]
fn who_comes_while_the_server_drains_is_told_to_go_elsewhere_and_a_probe_gets_its_answer() {
    let server = Setup::new()
        .set("models.workers", "1")
        .set("models.max_batch", "1")
        .set("lifecycle.drain_timeout", "\"10m\"")
        .start_ready();
    // Made before, and so taken for one that could not know.
    let mut early = Raw::connect(server.port);
    early.get(READY);
    assert_eq!(early.answer().status, 200);
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let held = load::hold(scope, &server, 0);
        load::wait_until_held(&server, 1);
        server.signal(Signal::TERM);
        server.wait_for("draining", || server.status()["phase"] == "draining");
        let sample = &load::requests()[0];
        let refused = load::send(&new_agent(), &server, sample).unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.json()["code"], "draining");
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(refused.headers["connection"], "close");
        let scrape = Scrape::of(&server);
        let turned_away = r#"impetus_requests_rejected_total{model="none",reason="draining"}"#;
        assert_eq!(scrape.get(turned_away), Some(1.0));
        for (path, status) in [(LIVE, 200), (READY, 503), ("/ready", 503)] {
            for answer in fresh_answers(&server, path) {
                assert_eq!(answer.status, status, "{path}: {}", answer.text());
            }
        }
        early.get("/stats");
        assert_eq!(
            early.answer().status,
            200,
            "in flight when it was told to end"
        );
        signal_process(worker, Signal::CONT);
        assert_eq!(held.join().unwrap(), None);
    });
}

#[test]
fn the_health_port_answers_until_the_very_end() {
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.shutdown_timeout", "\"2s\"")
        .set("lifecycle.drain_timeout", "\"300ms\"")
        .start_ready();
    // What it has it does not finish, and so each step takes its time.
    freeze(server.workers()[0]);
    let phases = std::thread::scope(|scope| {
        let held = load::hold(scope, &server, 0);
        load::wait_until_held(&server, 1);
        server.signal(Signal::TERM);
        let phases = phases_until_gone(&server);
        assert!(held.join().unwrap().is_some());
        phases
    });
    assert_eq!(phases.last().map(String::as_str), Some("stopping"));
    assert_eq!(server.wait_exit_code(), Some(75));
}

/// Asks on the health port until nobody answers, insists that each answer is the one that is due, and
/// returns the phases it has seen.
fn phases_until_gone(server: &Server) -> Vec<String> {
    let mut phases: Vec<String> = Vec::new();
    let agent = new_agent();
    let ask = |path: &str| agent.get(server.health_url(path)).call().map(Answer::from);
    while let (Ok(status), Ok(live), Ok(ready)) = (ask("/api/health/status"), ask(LIVE), ask(READY))
    {
        let phase = status.json()["phase"].as_str().unwrap().to_owned();
        assert_eq!(live.status, 200, "{phase}: {}", live.text());
        if phase != "serving" {
            assert_eq!(ready.status, 503, "{phase}: {}", ready.text());
        }
        if phases.last() != Some(&phase) {
            phases.push(phase);
        }
    }
    phases
}

#[test]
fn a_server_that_ceases_to_be_alive_in_the_lame_duck_time_does_not_wait_for_its_end() {
    let mut server = Setup::new()
        .set("supervision.restarts", "1")
        .set("supervision.backoff_max", "\"100ms\"")
        .set("lifecycle.lame_duck", "\"10m\"")
        .start_ready();
    server.signal(Signal::TERM);
    server.wait_for("the lame-duck time", || {
        server.status()["phase"] == "lame_duck"
    });
    server.fault("heartbeat", "panic", 1000, None);
    assert_eq!(server.wait_exit_code(), Some(70));
    let steps = last_run(&server)["steps"].clone();
    assert_eq!(steps[0]["outcome"], "cut_short", "{steps:#}");
    let detail = steps[0]["detail"].as_str().unwrap();
    assert!(detail.contains("not alive: heartbeat"), "{steps:#}");
}

#[test]
fn a_second_signal_shows_which_step_it_cut_short() {
    let mut server = Setup::new()
        .set("lifecycle.lame_duck", "\"10m\"")
        .start_ready();
    server.signal(Signal::TERM);
    server.wait_for("the lame-duck time", || {
        server.status()["phase"] == "lame_duck"
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(75));
    let steps = last_run(&server)["steps"].clone();
    assert_eq!(outcomes(&steps), [("lame_duck", "cut_short")].map(owned));
}

#[test]
fn a_server_killed_while_it_ends_leaves_behind_how_far_it_came() {
    let mut server = Setup::new()
        .set("lifecycle.lame_duck", "\"10m\"")
        .start_ready();
    server.signal(Signal::TERM);
    server.wait_for("the step in the record", || {
        last_run(&server)["steps"][0]["outcome"] == "running"
    });
    // As the kubelet does when the grace period is over.
    server.signal(Signal::KILL);
    server.wait_exit();
    let next = Setup::in_dir(std::sync::Arc::clone(&server.dir)).start_ready();
    let previous = next.status()["previous_run"].clone();
    let reason = previous["reason"].as_str().unwrap();
    assert!(reason.contains("while lame_duck"), "{previous:#}");
}

#[test]
fn predictions_whose_sender_is_gone_are_committed_in_a_step_of_their_own() {
    let mut server = Setup::new()
        .set("predlog.write_timeout", "\"20s\"")
        .start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    let blocked = server.fault("db_writer", "block", 1, Some("5s"));
    assert_eq!(blocked.status, 200, "{}", blocked.text());
    server.wait_for("the writer to be at it", || {
        server.expect_actor("db_writer")["progress"]["item"] == "fault"
    });
    let body = batch("line-9", &["good-1", "bad-1"]).to_string();
    let mut client = Raw::connect(server.port);
    client.send(
        format!(
            "POST /log HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    server.wait_for("the batch to wait", || {
        server.expect_actor("db_writer")["mailbox"]["depth"] != 0
    });
    client.vanish();
    server.signal(Signal::TERM);
    server.wait_for("the flush", || {
        let steps = server.status()["lifecycle"]["steps"].clone();
        outcomes(&steps).last() == Some(&owned(("flushing", "running")))
    });
    assert_eq!(server.wait_exit_code(), Some(0));
    let next = Setup::in_dir(std::sync::Arc::clone(&server.dir)).start_ready();
    next.wait_for("the database", || next.get("/ready").status == 200);
    assert_eq!(next.get("/stats").json()["total"], 2);
}

/// Asks each port over a connection made now.
fn fresh_answers(server: &Server, path: &str) -> [Answer; 2] {
    [server.url(path), server.health_url(path)]
        .map(|url| Answer::from(new_agent().get(url).call().unwrap()))
}

fn owned((step, outcome): (&str, &str)) -> (String, String) {
    (step.to_owned(), outcome.to_owned())
}

/// Returns the name and the outcome of each step; each has a duration as well.
fn outcomes(steps: &Value) -> Vec<(String, String)> {
    let steps = steps.as_array().unwrap_or_else(|| panic!("{steps}"));
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    steps
        .iter()
        .map(|step| {
            assert!(step["seconds"].is_f64(), "{step}");
            (text(step, "step"), text(step, "outcome"))
        })
        .collect()
}

fn log_lines(server: &Server, message: &str) -> Vec<Value> {
    server.wait_for_log("server ends");
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

fn drawn(server: &Server) -> String {
    let url = server.health_url("");
    let output = Command::new(binary())
        .args(["status", "--url", &url])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
