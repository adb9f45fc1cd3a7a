//! One Impetus predicts, another one keeps the predictions: whatever happens to the second, each
//! answered prediction is there once, by the id of its request.

mod addresses;
mod secure;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::processes::freeze;
use crate::harness::scrape::Scrape;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Answer, Server, Setup, free_ports, new_agent};
use crate::postgres::{
    Postgres, assert_keeps_exactly, forwarding, wait_until_away, wait_until_forwarded,
};
use crate::predict::numbers_of_a_sample;
use crate::survival::{PACE, all_rows, assert_holds_exactly};

/// Times that the logging service is ended or stands still.
const ENDS: usize = 5;
const CLIENTS: usize = 3;

/// A server whose predictions go to the logging service at this address, a few at a time.
fn forwarding_to(setup: Setup, url: &str) -> Setup {
    setup
        .set("sink.kind", "\"impetus\"")
        .set("sink.url", &format!("{url:?}"))
        .set("sink.batch", "8")
        .set("sink.batch_timeout", "\"100ms\"")
        .set("sink.timeout", "\"500ms\"")
        .set("sink.retries", "1")
        .set("sink.retry_after", "\"50ms\"")
        .set("sink.cool_down", "\"200ms\"")
}

/// An inference service that forwards to this port.
fn inference(port: u16) -> Server {
    let setup = Setup::new()
        .set("role", "\"inference\"")
        .set("models.workers", "1");
    forwarding_to(setup, &format!("http://127.0.0.1:{port}")).start_ready()
}

fn logging(setup: Setup, ports: [u16; 3]) -> Server {
    let server = setup.set("role", "\"logging\"").on_ports(ports).start();
    server.wait_for("the database", || server.get("/ready").status == 200);
    server
}

/// Has predictions made, each under an id of its own, while `happens` does what it does; returns the
/// ids of those that were answered, which are all that were asked for.
fn predict_while(server: &Server, happens: impl FnOnce(&dyn Fn(usize))) -> BTreeSet<String> {
    let answered = Mutex::new(BTreeSet::new());
    let (count, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let body = json!({"data": numbers_of_a_sample().1, "model": "surface"}).to_string();
    std::thread::scope(|scope| {
        // A test that fails in the middle ends its clients as well.
        let _end = Over(&is_over);
        for client in 0..CLIENTS {
            let (answered, count, is_over, body) = (&answered, &count, &is_over, &body);
            scope.spawn(move || {
                let agent = new_agent();
                for number in 0.. {
                    let id = format!("{client}-{number}");
                    let request = agent
                        .post(server.url("/predict"))
                        .header("content-type", "application/json")
                        .header("x-request-id", &id);
                    let answer = request.send(body.as_bytes()).map(Answer::from).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.lock().unwrap().insert(id);
                    count.fetch_add(1, Ordering::AcqRel);
                    if is_over.load(Ordering::Acquire) {
                        return;
                    }
                    std::thread::park_timeout(PACE);
                }
            });
        }
        happens(&|more| {
            let enough = count.load(Ordering::Acquire) + more;
            server.wait_for("predictions", || count.load(Ordering::Acquire) >= enough);
        });
    });
    answered.into_inner().unwrap()
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_logging_service_that_is_killed_and_started_again_has_each_prediction_once() {
    let ports = free_ports();
    let mut keeper = logging(Setup::without_models(), ports);
    let server = inference(ports[0]);
    let watch = LivenessWatch::start(&server);
    let answered = predict_while(&server, |wait_for_more| {
        for end in 0..ENDS {
            wait_for_more(20 + 7 * end);
            keeper.signal(Signal::KILL);
            keeper.wait_exit();
            wait_until_away(&server);
            wait_for_more(20);
            keeper = logging(Setup::in_dir(Arc::clone(&keeper.dir)), ports);
        }
        wait_for_more(20);
    });
    wait_until_forwarded(&server);
    assert_holds_exactly(&keeper, &answered);
    let rows = all_rows(&keeper);
    assert!(rows.iter().all(|row| row["image_id"] == row["request_id"]));
    watch.assert_always_alive();
}

#[test]
fn a_logging_service_that_is_restarted_in_order_has_each_prediction_once() {
    let ports = free_ports();
    let mut keeper = logging(Setup::without_models(), ports);
    let server = inference(ports[0]);
    let answered = predict_while(&server, |wait_for_more| {
        for _ in 0..ENDS {
            wait_for_more(20);
            keeper.signal(Signal::TERM);
            assert_eq!(keeper.wait_exit_code(), Some(0), "{}", keeper.log());
            keeper = logging(Setup::in_dir(Arc::clone(&keeper.dir)), ports);
        }
    });
    wait_until_forwarded(&server);
    assert_holds_exactly(&keeper, &answered);
}

/// It has the batch when it goes on, and so has whoever sent it once more.
#[test]
fn a_logging_service_that_stands_still_for_longer_than_it_may_has_each_prediction_once() {
    let ports = free_ports();
    let keeper = logging(Setup::without_models(), ports);
    let server = inference(ports[0]);
    let answered = predict_while(&server, |wait_for_more| {
        for _ in 0..ENDS {
            wait_for_more(20);
            freeze(keeper.pid());
            let reason = wait_until_away(&server);
            assert!(reason.contains("in time"), "{reason}");
            wait_for_more(20);
            keeper.signal(Signal::CONT);
            server.wait_for("it to be back", || {
                Scrape::of(&server).value("impetus_prediction_sink_up") == 1.0
            });
        }
    });
    wait_until_forwarded(&server);
    assert_holds_exactly(&keeper, &answered);
    let replayed = "a batch was sent again";
    assert!(
        Scrape::of(&server).value("impetus_prediction_sink_failures_total") >= ENDS as f64,
        "{replayed}"
    );
}

#[test]
fn a_prediction_keeps_its_key_over_two_servers_and_into_postgresql() {
    let postgres = Postgres::start();
    let last = forwarding(Setup::without_models(), &postgres).start();
    let hop = |to: u16| {
        let setup = Setup::without_models().set("role", "\"logging\"");
        forwarding_to(setup, &format!("http://127.0.0.1:{to}")).start()
    };
    let middle = hop(last.port);
    let first = hop(middle.port);
    let servers = [&first, &middle, &last];
    for server in servers {
        server.wait_for("the sink", || server.get("/ready").status == 200);
    }
    let images: Vec<String> = (0..50).map(|number| format!("image-{number}")).collect();
    let names: Vec<&str> = images.iter().map(String::as_str).collect();
    let body = crate::database::batch("line-1", &names);
    // To each of them, so that the same predictions come by ways of different lengths and in batches
    // of different sizes.
    for server in servers {
        let logged = server.post_json("/log", &body);
        assert_eq!(logged.status, 200, "{}", logged.text());
    }
    for server in servers {
        wait_until_forwarded(server);
    }
    assert_keeps_exactly(&last, &postgres, &images.into_iter().collect());
}
