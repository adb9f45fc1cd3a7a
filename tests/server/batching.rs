//! Requests that wait, and become batches: real clients, one worker, and a queue behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::killers::Picture;
use crate::harness::processes::{freeze, thread_states};
use crate::harness::scrape::Scrape;
use crate::harness::{Answer, PATIENCE, Server, Setup, signal_process};

/// A server with one worker for a model that does nothing wrong, which holds one batch at a time and
/// may take its time.
fn setup(name: &str, description: &str) -> Setup {
    Setup::without_models()
        .with_killer(name, description)
        .set("models.workers", "1")
        .set("models.in_flight", "1")
        .set("models.run_timeout", "\"50s\"")
        .set("http.request_timeout", "\"40s\"")
}

fn model(server: &Server) -> Value {
    server.status()["models"][0].clone()
}

fn wait_until_queued(server: &Server, requests: u64) {
    server.wait_for(&format!("{requests} to wait"), || {
        model(server)["queued"] == requests
    });
}

/// Has the worker stand still with one request, while `then` happens, and insists on its answer.
fn while_the_worker_stands_still<T>(server: &Server, name: &str, then: impl FnOnce() -> T) -> T {
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| Picture::new(0).assert_answered(server, name));
        server.wait_for("the run to begin", || {
            model(server)["workers"][0]["in_flight"] == 1
        });
        let result = then();
        signal_process(worker, Signal::CONT);
        first.join().unwrap();
        result
    })
}

/// Waits until two models serve; readiness depends on neither of several.
fn wait_for_both(server: &Server) {
    server.wait_for("both models", || server.workers().len() == 2);
}

/// Sends so many pictures at a time and insists on the right answers.
fn assert_answered_together(server: &Server, name: &str, count: usize) {
    std::thread::scope(|scope| {
        for number in 0..count {
            scope.spawn(move || Picture::new(number).assert_answered(server, name));
        }
    });
}

/// Returns how many batches were run, and how many rows they had together.
fn batches(server: &Server, name: &str) -> (f64, f64) {
    let scrape = Scrape::of(server);
    let of = |what: &str| {
        let labels = format!("{{model=\"{name}\",version=\"1\"}}");
        scrape.value(&format!("impetus_inference_batch_size_{what}{labels}"))
    };
    (of("count"), of("sum"))
}

fn rejected(server: &Server, name: &str, reason: &str) -> f64 {
    let labels = format!("{{model=\"{name}\",reason=\"{reason}\"}}");
    Scrape::of(server).value(&format!("impetus_requests_rejected_total{labels}"))
}

fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["code"], code, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}

#[test]
fn a_delay_that_a_model_states_gathers_requests_into_one_batch() {
    let server = setup("plain", "batching.delay = \"5s\"").start_ready();
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| assert_answered_together(&server, "plain", 3));
        wait_until_queued(&server, 3);
        sent.join().unwrap();
    });
    assert_eq!(batches(&server, "plain"), (1.0, 3.0));
}

#[test]
fn a_batch_of_a_preferred_size_does_not_wait_for_its_delay() {
    let description = "batching.delay = \"1m\"\nbatching.preferred = [3]";
    let server = setup("plain", description).start_ready();
    // The delay is longer than anybody waits for an answer.
    assert_answered_together(&server, "plain", 3);
    assert_eq!(batches(&server, "plain"), (1.0, 3.0));
}

#[test]
fn a_full_batch_does_not_wait_for_its_delay() {
    let description = "batching.delay = \"1m\"\nbatching.max_rows = 2";
    let server = setup("plain", description).start_ready();
    assert_answered_together(&server, "plain", 2);
    assert_eq!(batches(&server, "plain"), (1.0, 2.0));
}

#[test]
fn a_worker_that_has_nothing_to_do_is_given_what_waits_whatever_the_servers_delay() {
    let server = setup("plain", "")
        .set("models.batch_delay", "\"1m\"")
        .start_ready();
    assert_answered_together(&server, "plain", 1);
    assert_eq!(batches(&server, "plain"), (1.0, 1.0));
    // And what comes while it has something to do goes when that is done.
    std::thread::scope(|scope| {
        let server = &server;
        let waits = while_the_worker_stands_still(server, "plain", || {
            let waits = scope.spawn(|| assert_answered_together(server, "plain", 2));
            wait_until_queued(server, 2);
            waits
        });
        waits.join().unwrap();
    });
    assert_eq!(batches(&server, "plain"), (3.0, 4.0));
}

#[test]
fn requests_that_come_while_the_worker_is_busy_share_the_next_batch() {
    let server = setup("plain", "batching.max_rows = 4").start_ready();
    std::thread::scope(|scope| {
        let server = &server;
        let waiting: Vec<_> = while_the_worker_stands_still(server, "plain", || {
            let waiting = (0..6).map(|number| {
                scope.spawn(move || Picture::new(number).assert_answered(server, "plain"))
            });
            let waiting = waiting.collect();
            wait_until_queued(server, 6);
            waiting
        });
        waiting.into_iter().for_each(|sent| sent.join().unwrap());
    });
    assert_eq!(batches(&server, "plain"), (3.0, 7.0), "one, four and two");
}

#[test]
fn a_request_that_no_worker_takes_in_time_is_refused_while_it_still_waits() {
    let server = setup("plain", "")
        .set("models.queue_timeout", "\"200ms\"")
        .start_ready();
    while_the_worker_stands_still(&server, "plain", || {
        let refused = Picture::new(1).send(&server, "plain");
        assert_refused(&refused, 503, "queue_timeout");
        assert_eq!(model(&server)["queued"], 0);
    });
    assert_eq!(rejected(&server, "plain", "queue_timeout"), 1.0);
    assert_eq!(model(&server)["errors"], 0, "nothing was executed");
}

#[test]
fn a_full_queue_refuses_whoever_comes_unless_the_oldest_is_to_go() {
    let server = setup("plain", "batching.queue = 1").start_ready();
    std::thread::scope(|scope| {
        let waits = while_the_worker_stands_still(&server, "plain", || {
            let waits = scope.spawn(|| Picture::new(1).assert_answered(&server, "plain"));
            wait_until_queued(&server, 1);
            let refused = Picture::new(2).send(&server, "plain");
            assert_refused(&refused, 429, "queue_full");
            waits
        });
        waits.join().unwrap();
    });
    let description = "batching.queue = 1\nbatching.when_full = \"drop_oldest\"";
    let server = setup("plain", description).start_ready();
    std::thread::scope(|scope| {
        let newest = while_the_worker_stands_still(&server, "plain", || {
            let oldest = scope.spawn(|| Picture::new(1).send(&server, "plain"));
            wait_until_queued(&server, 1);
            let newest = scope.spawn(|| Picture::new(2).assert_answered(&server, "plain"));
            assert_refused(&oldest.join().unwrap(), 429, "shed");
            newest
        });
        newest.join().unwrap();
    });
    assert_eq!(rejected(&server, "plain", "shed"), 1.0);
    assert_eq!(rejected(&server, "plain", "queue_full"), 0.0);
}

#[test]
fn how_long_requests_waited_and_ran_is_told_apart() {
    let server = setup("slow", "").start_ready();
    let picture = Picture::new(1).with_marker(201.0);
    picture.assert_answered(&server, "slow");
    let scrape = Scrape::of(&server);
    let of = |what: &str| {
        let labels = "{model=\"slow\",protocol=\"predict\",version=\"1\"}";
        let count = scrape.value(&format!(
            "impetus_inference_{what}_duration_seconds_count{labels}"
        ));
        assert_eq!(count, 1.0, "{what}");
        scrape.value(&format!(
            "impetus_inference_{what}_duration_seconds_sum{labels}"
        ))
    };
    let [request, queue, compute] = ["request", "queue", "compute"].map(of);
    // About 0.2 s of work on the slowest machine there is, and next to no waiting.
    assert!(compute > 0.0, "{compute}");
    assert!(request >= queue + compute, "{request} {queue} {compute}");
    let unused = "impetus_inference_queue_duration_seconds_count\
                  {model=\"slow\",protocol=\"v2_grpc\",version=\"1\"}";
    assert_eq!(scrape.get(unused), None, "nobody has asked over it");
}

#[test]
fn workers_and_threads_are_as_the_description_says() {
    let server = setup("plain", "instances = 3\nthreads = 1")
        .with_killer("slow", "threads = 3")
        .start();
    server.wait_for("every worker", || server.workers().len() == 4);
    let status = server.status();
    let workers = |index: usize| {
        status["models"][index]["workers"]
            .as_array()
            .unwrap()
            .clone()
    };
    let (plain, slow) = (workers(0), workers(1));
    assert_eq!((plain.len(), slow.len()), (3, 1));
    if cfg!(target_os = "linux") {
        let threads = |worker: &Value| thread_states(worker["pid"].as_u64().unwrap() as u32).len();
        assert_eq!(threads(&slow[0]), threads(&plain[0]) + 2);
    }
}

#[test]
fn a_description_that_no_batch_can_keep_is_the_reason_why_a_model_is_not_loaded() {
    let server = setup("plain", "batching.preferred = [9]\nbatching.max_rows = 8").start();
    server.wait_for("the reason", || {
        let reason = model(&server)["reason"].to_string();
        reason.contains("batching.preferred must be sizes of 1 to 8 rows")
    });
}

#[test]
fn two_models_that_have_work_at_one_time_both_get_it_done() {
    let server = setup("plain", "share = 3")
        .with_killer("slow", "")
        .set("models.shared_runs", "1")
        .start();
    wait_for_both(&server);
    let shared = AtomicBool::new(false);
    let deadline = Instant::now() + PATIENCE;
    std::thread::scope(|scope| {
        for client in 0..6 {
            let (server, shared) = (&server, &shared);
            let (name, marker) = [("plain", 0.1), ("slow", 3.0)][client % 2];
            scope.spawn(move || {
                while !shared.load(Ordering::Relaxed) && Instant::now() < deadline {
                    let picture = Picture::new(client).with_marker(marker);
                    picture.assert_answered(server, name);
                }
            });
        }
        server.wait_for("one to wait for the other", || {
            let scrape = Scrape::of(&server);
            let waits = ["plain", "slow"].map(|name| {
                let labels = format!("{{model=\"{name}\",version=\"1\"}}");
                scrape.value(&format!("impetus_inference_share_waits_total{labels}"))
            });
            waits.iter().sum::<f64>() > 10.0
        });
        shared.store(true, Ordering::Relaxed);
    });
    for name in ["plain", "slow"] {
        let (count, rows) = batches(&server, name);
        assert!(count > 0.0 && rows >= count, "{name}: {count} {rows}");
    }
}

#[test]
fn a_model_whose_worker_hangs_keeps_no_other_from_its_work() {
    let server = setup("plain", "")
        .with_killer("endless", "")
        .set("models.shared_runs", "1")
        .set("http.request_timeout", "\"6s\"")
        .start();
    wait_for_both(&server);
    std::thread::scope(|scope| {
        let hung = scope.spawn(|| Picture::new(0).with_marker(2.0).send(&server, "endless"));
        server.wait_for("it to hang", || {
            let status = server.status();
            let mut models = status["models"].as_array().unwrap().iter();
            models.any(|model| model["name"] == "endless" && model["workers"][0]["in_flight"] == 1)
        });
        // It has the only seat, for longer than anybody here waits.
        for number in 0..5 {
            Picture::new(number).assert_answered(&server, "plain");
        }
        assert!(!hung.is_finished(), "it hangs on");
        assert_eq!(hung.join().unwrap().status, 504);
    });
}
