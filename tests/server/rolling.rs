//! Two servers behind a real HAProxy are replaced one after the other, again and again, under a
//! load that does not pause. The balancer tries nothing twice: a request that one server does not
//! answer as it should is a request that failed.
//!
//! What makes it hold is the order of the end: unready first, so that the balancer looks elsewhere;
//! serving on for longer than it needs to notice; every answer meanwhile closing its connection, so
//! that the balancer's pool of connections runs empty; and only then refusing.

mod balancer;
mod client;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Server, Setup, free_ports};
use balancer::{Balancer, Reuse};
use client::Crowd;

/// How many requests are sent, unless `ROLLING_REQUESTS` says otherwise: `make rolling` sends
/// 100,000.
const REQUESTS: usize = 12_000;
/// Rounds at least, in each of which both servers are replaced.
const ROUNDS: usize = 2;
const CLIENTS: usize = 8;

#[test]
fn two_servers_replaced_in_turn_behind_a_balancer_that_reuses_connections_fail_no_request() {
    roll(Reuse::Always);
}

#[test]
fn two_servers_replaced_in_turn_behind_a_balancer_that_keeps_no_connections_fail_no_request() {
    roll(Reuse::Never);
}

/// A server that has a successor on the same ports.
struct Place {
    dir: Arc<TempDir>,
    ports: [u16; 3],
    server: Server,
}

// === impl Place ===

impl Place {
    fn new() -> Self {
        let ports = free_ports();
        let setup = as_in_production(Setup::new());
        let server = setup.on_ports(ports).start_ready();
        Self {
            dir: Arc::clone(&server.dir),
            ports,
            server,
        }
    }

    /// Has the server end, and another one take its place.
    fn replace(&mut self) {
        self.server.signal(Signal::TERM);
        let code = self.server.wait_exit_code();
        assert_eq!(code, Some(0), "{}", self.server.log());
        let setup = as_in_production(Setup::in_dir(Arc::clone(&self.dir)));
        self.server = setup.on_ports(self.ports).start_ready();
    }
}

/// The lame-duck time is many times what the balancer needs to notice: twice 200 ms. On a machine
/// that is busy with other things that may take longer.
fn as_in_production(setup: Setup) -> Setup {
    setup
        .set("lifecycle.lame_duck", "\"4s\"")
        .set("models.workers", "1")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test is told by its caller how long to go on"
)]
fn requests() -> usize {
    env::var("ROLLING_REQUESTS").map_or(REQUESTS, |number| number.parse().unwrap())
}

fn roll(reuse: Reuse) {
    let requests = requests();
    let mut places = [Place::new(), Place::new()];
    let balancer = Balancer::start(reuse, places.each_ref().map(|place| place.ports[0]));
    balancer.wait_until_up(0);
    balancer.wait_until_up(1);
    let rounds = AtomicUsize::new(0);
    let crowd = Crowd::new(balancer.port());
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (crowd, rounds) = (&crowd, &rounds);
            scope.spawn(move || {
                let enough = || rounds.load(Ordering::SeqCst) >= ROUNDS;
                crowd.send_while(number, |answered| answered < requests || !enough());
            });
        }
        while crowd.answered() < requests || rounds.load(Ordering::SeqCst) < ROUNDS {
            for (number, place) in places.iter_mut().enumerate() {
                place.replace();
                balancer.wait_until_up(number);
            }
            rounds.fetch_add(1, Ordering::SeqCst);
            if !crowd.failures().is_empty() {
                // The clients go on until there is enough of both; what has failed is known.
                crowd.stop();
                break;
            }
        }
    });
    let (answered, failures) = (crowd.answered(), crowd.failures());
    assert!(
        failures.is_empty(),
        "{} of {answered} requests failed, such as:\n{}\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n"),
        balancer.log()
    );
    let rounds = rounds.into_inner();
    assert!(answered >= requests && rounds >= ROUNDS);
    eprintln!("{answered} requests, {rounds} rounds, {reuse:?}: none failed");
    assert_all_logged(&places, &crowd);
}

/// What was acknowledged is in one of the two logs.
fn assert_all_logged(places: &[Place; 2], crowd: &Crowd) {
    let rows = |place: &Place| place.server.get("/stats").json();
    // What the servers predicted themselves is there as well.
    let rows = |place: &Place| {
        rows(place)["by_device"]["rolling"]["total"]
            .as_u64()
            // One of the two may have been asked for none of them.
            .unwrap_or_default()
    };
    let rows: u64 = places.iter().map(rows).sum();
    assert_eq!(rows, crowd.logged(), "acknowledged and there");
}
