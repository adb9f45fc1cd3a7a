//! What breaks under a call: each call is answered, and in words that say what happened.

use std::time::Duration;

use rustix::process::Signal;
use tonic::Code;

use super::client::{Client, picture, within};
use crate::harness::killers::setup_of;
use crate::harness::processes::freeze;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, signal_process};

fn model(server: &Server) -> serde_json::Value {
    server.status()["models"][0].clone()
}

/// Waits until so many batches are with the worker.
fn wait_until_running(server: &Server, batches: u64) {
    server.wait_for("the run to begin", || {
        model(server)["workers"][0]["in_flight"] == batches
    });
}

#[test]
fn a_worker_killed_mid_batch_answers_every_call() {
    let server = setup_of("plain", "")
        .set("models.max_batch", "16")
        .set("models.in_flight", "1")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let watch = LivenessWatch::start(&server);
    let worker = server.workers()[0];
    freeze(worker);
    let first = client.start(picture("plain", 0.1));
    wait_until_running(&server, 1);
    let batch: Vec<_> = (0..16)
        .map(|_| client.start(picture("plain", 0.2)))
        .collect();
    server.wait_for("sixteen to wait", || model(&server)["queued"] == 16);
    signal_process(worker, Signal::KILL);
    for call in batch.into_iter().chain([first]) {
        let answer = client.wait(call).unwrap();
        assert_eq!(answer.outputs[0].shape, [1, 4]);
    }
    watch.assert_always_alive();
    assert_eq!(model(&server)["losses"]["outside"], 1);
}

#[test]
fn in_a_batch_of_sixteen_with_one_killer_the_fifteen_others_are_answered() {
    let server = setup_of("endless", "")
        .set("models.max_batch", "16")
        .set("models.in_flight", "1")
        .set("models.run_timeout", "\"5s\"")
        .start_ready();
    let client = Client::of(&server);
    let worker = server.workers()[0];
    freeze(worker);
    let first = client.start(picture("endless", 0.1));
    wait_until_running(&server, 1);
    let marker = |number| if number == 9 { 2.0 } else { 0.1 };
    let batch: Vec<_> = (0..16)
        .map(|number| client.start(picture("endless", marker(number))))
        .collect();
    server.wait_for("sixteen to wait", || model(&server)["queued"] == 16);
    signal_process(worker, Signal::CONT);
    client.wait(first).unwrap();
    for (number, call) in batch.into_iter().enumerate() {
        match (number, client.wait(call)) {
            (9, Err(refused)) => assert_eq!(refused.code(), Code::FailedPrecondition),
            (_, answer) => assert_eq!(answer.unwrap().outputs[0].shape, [1, 4], "{number}"),
        }
    }
    assert_eq!(model(&server)["losses"]["hang"], 2, "together, and alone");
}

#[test]
fn a_run_that_never_ends_is_found_and_its_call_refused_with_its_fingerprint() {
    let server = setup_of("endless", "")
        .set("models.run_timeout", "\"1s\"")
        .start_ready();
    let client = Client::of(&server);
    for attempt in ["the first time", "and without being run again"] {
        let refused = client.infer(picture("endless", 2.0)).unwrap_err();
        assert_eq!(
            refused.code(),
            Code::FailedPrecondition,
            "{attempt}: {refused}"
        );
        assert!(
            refused.message().contains("quarantined as "),
            "{attempt}: {refused}"
        );
    }
    assert_eq!(model(&server)["losses"]["hang"], 2);
    client.infer(picture("endless", 0.1)).unwrap();
}

/// Twice while it is alone with a worker.
#[test]
fn a_call_whose_worker_crashes_is_run_once_more_and_then_refused() {
    let server = setup_of("slow", "")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let call = client.start(picture("slow", 30_001.0));
    for generation in 1..=2 {
        server.wait_for_actor("worker:slow/0", "at the next generation", |actor| {
            actor["generation"] == generation && actor["state"] == "running"
        });
        wait_until_running(&server, 1);
        signal_process(server.workers()[0], Signal::SEGV);
    }
    let refused = client.wait(call).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    client.infer(picture("slow", 0.1)).unwrap();
}

#[test]
fn a_run_that_fails_is_an_internal_error_of_that_call_alone() {
    let server = setup_of("fail", "").start_ready();
    let client = Client::of(&server);
    let calls = [0.1, 2.0, 0.2].map(|marker| client.start(picture("fail", marker)));
    let answers = calls.map(|call| client.wait(call));
    assert!(answers[0].is_ok() && answers[2].is_ok());
    let failed = answers[1].as_ref().unwrap_err();
    assert_eq!(failed.code(), Code::Internal, "{failed}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_takes_too_much_memory_fails_and_its_worker_lives() {
    let server = setup_of("explode", "")
        .set("memory.headroom", "\"256MiB\"")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let worker = server.workers();
    let failed = client.infer(picture("explode", 100_000.0)).unwrap_err();
    assert_eq!(failed.code(), Code::Internal, "{failed}");
    assert!(failed.message().contains("memory"), "{failed}");
    client.infer(picture("explode", 0.1)).unwrap();
    assert_eq!(server.workers(), worker);
}

#[test]
fn work_that_its_client_has_given_up_is_ended_and_its_worker_lives_on() {
    let server = setup_of("endless", "")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let worker = server.workers();
    let client = Client::of(&server);
    let call = client.start(picture("endless", 2.0));
    wait_until_running(&server, 1);
    call.abort();
    // The run would go on for ever, and the budget is far away.
    client.infer(picture("endless", 0.1)).unwrap();
    assert_eq!(server.workers(), worker);
    assert_eq!(model(&server)["errors"], 0);
}

#[test]
fn a_clients_deadline_is_the_calls_and_what_it_asked_for_is_given_up() {
    let server = setup_of("endless", "")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let request = within(picture("endless", 2.0), Duration::from_millis(300));
    let late = client.infer(request).unwrap_err();
    // The client's own clock may be the first of the two.
    assert!(
        matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{late}"
    );
    client.infer(picture("endless", 0.1)).unwrap();
}

#[test]
fn a_call_without_a_deadline_has_the_servers() {
    let server = setup_of("endless", "")
        .set("models.run_timeout", "\"50s\"")
        .set("grpc.request_timeout", "\"500ms\"")
        .start_ready();
    let client = Client::of(&server);
    let late = client.infer(picture("endless", 2.0)).unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    assert!(late.message().contains("0.5 s"), "{late}");
}

#[test]
fn a_full_queue_is_an_exhausted_resource_and_says_when_to_ask_again() {
    let server = setup_of("plain", "")
        .set("models.queue", "1")
        .set("models.in_flight", "1")
        .set("models.max_batch", "1")
        .set("models.run_timeout", "\"50s\"")
        .start_ready();
    let client = Client::of(&server);
    let worker = server.workers()[0];
    freeze(worker);
    let running = client.start(picture("plain", 0.1));
    wait_until_running(&server, 1);
    let waiting = client.start(picture("plain", 0.1));
    server.wait_for("one to wait", || model(&server)["queued"] == 1);
    let refused = client.infer(picture("plain", 0.1)).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(
        refused.metadata().get("grpc-retry-pushback-ms").is_some(),
        "{refused:?}"
    );
    signal_process(worker, Signal::CONT);
    for call in [running, waiting] {
        client.wait(call).unwrap();
    }
}

#[test]
fn a_model_that_is_not_ready_is_unavailable() {
    let server = setup_of("plain", "")
        .set("models.load_timeout", "\"1ms\"")
        .start();
    server.wait_for("the model to fail", || model(&server)["state"] == "failed");
    let client = Client::of(&server);
    let refused = client.infer(picture("plain", 0.1)).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
}
