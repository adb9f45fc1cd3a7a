//! Models and requests that are dangerous by themselves: real graphs in the real runtime, no hooks.

mod innocence;
#[cfg(target_os = "linux")]
mod memory;
mod quarantine;
mod spares;

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::killers::{Picture, setup_of};
use crate::harness::processes::freeze;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup, signal_process};

/// A server with one worker for one killer model, whose recovery gets as long as it takes.
fn setup(name: &str, description: &str) -> Setup {
    setup_of(name, description).set("models.run_timeout", "\"1s\"")
}

fn model(server: &Server) -> Value {
    server.status()["models"][0].clone()
}

/// Waits until so many requests are with the worker.
fn wait_until_running(server: &Server, batches: u64) {
    server.wait_for("the run to begin", || {
        model(server)["workers"][0]["in_flight"] == batches
    });
}

#[test]
fn in_a_batch_of_sixteen_with_one_killer_the_fifteen_others_get_their_right_answers() {
    let server = setup("endless", "")
        .set("models.max_batch", "16")
        .set("models.in_flight", "1")
        .set("models.run_timeout", "\"5s\"")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    // While the worker stands still for a moment, sixteen gather behind the one it has.
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let send = |number: usize| {
            let server = &server;
            scope.spawn(move || {
                let picture = Picture::new(number).with_marker(if number == 9 { 2.0 } else { 0.1 });
                let answer = picture.send(server, "endless");
                (number, picture, answer)
            })
        };
        let first = send(100);
        wait_until_running(&server, 1);
        let batch: Vec<_> = (0..16).map(send).collect();
        server.wait_for("sixteen to wait", || model(&server)["queued"] == 16);
        signal_process(worker, Signal::CONT);
        let (_, picture, answer) = first.join().unwrap();
        picture.assert_right(&answer);
        for member in batch {
            let (number, picture, answer) = member.join().unwrap();
            if number == 9 {
                assert_eq!(answer.status, 422, "{}", answer.text());
                assert_eq!(answer.json()["code"], "quarantined");
            } else {
                picture.assert_right(&answer);
            }
        }
    });
    watch.assert_always_alive();
    assert_eq!(
        model(&server)["losses"]["hang"],
        2,
        "once together, once alone"
    );
}

#[test]
fn a_run_that_never_ends_is_found_by_its_budget_and_the_request_refused_from_then_on() {
    let server = setup("endless", "").start_ready();
    let killer = Picture::new(0).with_marker(2.0);
    let answer = killer.send(&server, "endless");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(
        answer.text().contains("its budget is 1.00 s"),
        "{}",
        answer.text()
    );
    server.wait_all_workers();
    let worker = server.workers();
    let again = killer.send(&server, "endless");
    assert_eq!(again.status, 422, "{}", again.text());
    Picture::new(1).assert_answered(&server, "endless");
    assert_eq!(
        server.workers(),
        worker,
        "the second time it reached no worker"
    );
    let metrics = server.get("/metrics").text();
    for line in [
        "impetus_quarantined_requests 1",
        "impetus_quarantine_added_total 1",
        "impetus_quarantine_refused_total 1",
        "impetus_worker_losses_total{cause=\"hang\",model=\"endless\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn the_budget_of_a_model_is_learned_unless_its_description_states_it() {
    let learned = setup("slow", "")
        .set("models.run_timeout", "\"0s\"")
        .start_ready();
    assert_eq!(model(&learned)["run_budget_ms"], 1000.0, "the floor");
    let stated = setup("slow", "budgets.run = \"9s 500ms\"\n").start_ready();
    assert_eq!(model(&stated)["run_budget_ms"], 9500.0);
    // A run that is long but within its budget is no hang.
    Picture::new(0)
        .with_marker(301.0)
        .assert_answered(&stated, "slow");
    assert_eq!(model(&stated)["losses"]["hang"], 0);
}

#[test]
fn a_request_that_fails_at_run_time_fails_alone_and_costs_no_worker() {
    let server = setup("fail", "").start_ready();
    let worker = server.workers();
    std::thread::scope(|scope| {
        let answers: Vec<_> = (0..8)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let marker = if number == 3 { 2.0 } else { 0.1 };
                    let picture = Picture::new(number).with_marker(marker);
                    (number, picture.send(server, "fail"), picture)
                })
            })
            .collect();
        for answer in answers {
            let (number, answer, picture) = answer.join().unwrap();
            match number {
                3 => {
                    assert_eq!(answer.status, 500, "{}", answer.text());
                    assert_eq!(answer.json()["code"], "run_failed");
                }
                _ => picture.assert_right(&answer),
            }
        }
    });
    assert_eq!(server.workers(), worker);
}

/// Has the worker run something that takes its time, and strikes whenever it does.
fn strike_while_it_runs(server: &Server, picture: &Picture, signal: Signal, times: u64) -> u16 {
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| picture.send(server, "slow").status);
        for generation in 1..=times {
            server.wait_for_actor("worker:slow/0", "at the next generation", |actor| {
                actor["generation"] == generation && actor["state"] == "running"
            });
            wait_until_running(server, 1);
            signal_process(server.workers()[0], signal);
        }
        sent.join().unwrap()
    })
}

#[test]
fn a_request_whose_worker_crashes_twice_while_it_is_alone_with_it_is_quarantined() {
    let server = setup("slow", "")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    let picture = Picture::new(0).with_marker(30_001.0);
    assert_eq!(
        strike_while_it_runs(&server, &picture, Signal::SEGV, 2),
        422
    );
    assert_eq!(picture.send(&server, "slow").status, 422);
    Picture::new(1).assert_answered(&server, "slow");
    watch.assert_always_alive();
    let losses = model(&server)["losses"].clone();
    assert_eq!(losses["crash"], 2, "{losses:#}");
}

#[test]
fn kills_from_outside_however_many_quarantine_nothing_and_rest_no_worker() {
    let server = setup("slow", "")
        .set("models.run_timeout", "\"50s\"")
        .set("supervision.restarts", "2")
        .start_ready();
    let watch = LivenessWatch::start(&server);
    let picture = Picture::new(2).with_marker(1_501.0);
    assert_eq!(
        strike_while_it_runs(&server, &picture, Signal::KILL, 9),
        200
    );
    watch.assert_always_alive();
    let model = model(&server);
    assert_eq!(model["losses"]["outside"], 9, "{model:#}");
    assert!(
        server
            .get("/metrics")
            .text()
            .contains("impetus_quarantined_requests 0")
    );
    let actor = server.expect_actor("worker:slow/0");
    assert_eq!(actor["generation"], 10, "{actor:#}");
}

#[test]
fn work_that_nobody_waits_for_any_more_is_ended_and_its_worker_lives_on() {
    let server = setup("endless", "")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let worker = server.workers();
    // A client that hangs up: the connection is closed while the model runs.
    let mut client = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let request = Picture::new(0).with_marker(2.0).as_http("endless");
    client.write_all(&request).unwrap();
    wait_until_running(&server, 1);
    drop(client);
    // The run would go on for ever, and the budget is far away.
    Picture::new(1).assert_answered(&server, "endless");
    assert_eq!(server.workers(), worker);
    assert_eq!(model(&server)["errors"], 0);
}

#[test]
fn what_is_known_of_a_worker_is_kept_before_it_is_killed_and_no_more_than_the_cap() {
    let server = setup("endless", "")
        .set("forensics.max_files", "3")
        .start_ready();
    for number in 0..2 {
        let killer = Picture::new(number).with_marker(2.0);
        let id = format!("killer-{number}");
        let answer = killer.try_send(&server, "endless", Some(&id)).unwrap();
        assert_eq!(answer.status, 422, "{}", answer.text());
        server.wait_all_workers();
    }
    let folder = server.dir.path().join("data/forensics");
    let files = || -> Vec<_> {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    server.wait_for("four deaths to leave three files", || {
        let newest = files()
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .count();
        newest == 3 && server.log().matches("forensics in").count() == 4
    });
    for file in files() {
        let scene: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(
            (&scene["model"], &scene["cause"]),
            (&"endless".into(), &"hang".into())
        );
        let batch = &scene["batches"][0];
        let id = batch["request_ids"][0].as_str().unwrap();
        assert!(
            id.starts_with("killer-") && batch["running"] == true,
            "{scene:#}"
        );
        if cfg!(target_os = "linux") {
            let threads = scene["process"]["threads"].as_array().unwrap();
            let inference = threads.iter().find(|t| t["name"] == "inference").unwrap();
            assert_eq!(inference["state"], "R", "it spins: {scene:#}");
            assert!(scene["process"]["VmRSS"].is_string(), "{scene:#}");
        }
    }
}

#[test]
fn a_model_that_takes_longer_to_load_than_it_may_is_failed_with_that_reason() {
    let server = setup("slow", "")
        .set("models.load_timeout", "\"1ms\"")
        .start();
    server.wait_for("the reason", || {
        let reason = model(&server)["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        reason.contains("could not load the model: no answer within 1 ms")
    });
    assert_eq!(model(&server)["state"], "failed");
    assert_eq!(server.get_health("/api/health/live").status, 200);
}
