//! The signal comes when it suits least: while a model is loaded, while a worker hangs or is being
//! replaced, while the queue is full, while a client takes its time. Each time the server ends
//! within its deadlines with the code that is due, its workers are gone, and what it took in is
//! answered. (While it starts: see `pid1`.)

use rustix::process::Signal;
use serde_json::Value;

use super::last_run;
use crate::edge::raw::Raw;
use crate::harness::processes::{children, freeze, has_ended, wait_until};
use crate::harness::{Server, Setup, load, signal_process};

#[test]
fn sigterm_while_a_model_is_loaded_ends_the_load_and_exits_0() {
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.shutdown_timeout", "\"300ms\"")
        .start();
    // Whether it has come to reading its model or not: it does not come to the end of it.
    let worker = first_worker(&server);
    freeze(worker);
    server.wait_for("the load", || {
        let state = server.status()["models"][0]["state"].clone();
        state == "loading" || state == "warming"
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(0));
    assert_gone(&[worker]);
}

#[test]
fn sigterm_while_a_worker_hangs_answers_what_it_had_and_exits_0() {
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.max_batch", "1")
        .set("models.run_timeout", "\"1s\"")
        .start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..3).map(|n| load::hold(scope, &server, n)).collect();
        load::wait_until_held(&server, held.len());
        server.signal(Signal::TERM);
        for request in held {
            assert_eq!(request.join().unwrap(), None);
        }
    });
    assert_eq!(server.wait_exit_code(), Some(0));
    let workers = those_that_served(&server);
    assert_eq!((workers[0], workers.len()), (worker, 2));
    assert_gone(&workers);
}

#[test]
fn sigterm_while_a_worker_is_being_replaced_answers_what_waits_for_it_and_exits_0() {
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.max_batch", "1")
        .set("models.recovery_floor", "\"30s\"")
        .start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..3).map(|n| load::hold(scope, &server, n)).collect();
        load::wait_until_held(&server, held.len());
        signal_process(worker, Signal::KILL);
        let next = next_worker(&server, worker);
        freeze(next);
        server.signal(Signal::TERM);
        server.wait_for("draining", || server.status()["phase"] == "draining");
        signal_process(next, Signal::CONT);
        for request in held {
            assert_eq!(request.join().unwrap(), None);
        }
    });
    assert_eq!(server.wait_exit_code(), Some(0));
    assert_gone(&[worker]);
}

#[test]
fn sigterm_while_the_queue_is_full_answers_all_that_is_in_it_and_exits_0() {
    const QUEUE: usize = 4;
    let mut server = Setup::new()
        .set("models.workers", "1")
        .set("models.max_batch", "1")
        .set("models.queue", &QUEUE.to_string())
        .start_ready();
    let worker = server.workers()[0];
    freeze(worker);
    std::thread::scope(|scope| {
        let mut held = Vec::new();
        server.wait_for("a full queue", || {
            if server.status()["models"][0]["queued"] == QUEUE {
                return true;
            }
            held.push(load::hold(scope, &server, held.len() % 8));
            load::wait_until_held(&server, held.len());
            false
        });
        server.signal(Signal::TERM);
        server.wait_for("draining", || server.status()["phase"] == "draining");
        signal_process(worker, Signal::CONT);
        for request in held {
            assert_eq!(request.join().unwrap(), None);
        }
    });
    assert_eq!(server.wait_exit_code(), Some(0));
    assert_gone(&[worker]);
}

#[test]
fn sigterm_while_a_client_stops_in_the_middle_of_its_request_tells_it_so_and_exits_0() {
    let mut server = Setup::new()
        .set("http.client_idle_timeout", "\"500ms\"")
        .start_ready();
    let mut client = half_a_request(&server);
    server.signal(Signal::TERM);
    assert_eq!(client.answer().status, 408);
    assert_eq!(server.wait_exit_code(), Some(0));
}

#[test]
fn a_client_that_is_slower_than_the_drain_deadline_makes_the_end_a_forced_one() {
    let mut server = Setup::new()
        .set("lifecycle.drain_timeout", "\"300ms\"")
        .start_ready();
    let _client = half_a_request(&server);
    let workers = server.workers();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(75));
    let step = last_run(&server)["steps"][1].clone();
    assert_eq!(step["outcome"], "overran", "{step:#}");
    assert_eq!(step["detail"], "1 requests are unanswered", "{step:#}");
    assert_gone(&workers);
}

fn half_a_request(server: &Server) -> Raw {
    let mut client = Raw::connect(server.port);
    client.send(
        b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
          content-length: 1000\r\n\r\n{\"data\": [0.1,",
    );
    server.wait_for("the request", || {
        let metrics = server.get_health("/metrics").text();
        metrics.contains("impetus_http_requests_in_flight 1")
    });
    client
}

fn first_worker(server: &Server) -> u32 {
    next_worker(server, 0)
}

/// Waits for a child of the server other than `before`.
fn next_worker(server: &Server, before: u32) -> u32 {
    let mut found = None;
    server.wait_for("a worker's process", || {
        let mut children = children(server.pid()).into_iter();
        found = children.find(|child| child.pid != before && child.state != 'Z');
        found.is_some()
    });
    found.unwrap().pid
}

/// Returns the processes of all workers of a server that has ended, by its log: it ends as soon as
/// the last answer is out, too soon to be asked.
fn those_that_served(server: &Server) -> Vec<u32> {
    server.wait_for_log("server ends");
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("worker serves"));
    let pids = lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["pid"].as_u64());
    pids.map(|pid| u32::try_from(pid.unwrap()).unwrap())
        .collect()
}

fn assert_gone(workers: &[u32]) {
    wait_until("the workers have ended", || {
        workers.iter().all(|worker| has_ended(*worker))
    });
}
