//! PostgreSQL stands still, is killed, restarted, without room; the server is killed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Postgres, assert_keeps_exactly, forwarding, wait_until_away, wait_until_forwarded};
use crate::harness::disks::Mount;
use crate::harness::scrape::Scrape;
use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup, free_ports};
use crate::survival::{PACE, Senders};

/// For how long PostgreSQL stands still.
const STANDSTILL: Duration = Duration::from_secs(60);
/// Times that PostgreSQL is ended and started again.
const ENDS: usize = 4;
/// Times that the server is killed while it forwards.
const KILLS: usize = 15;
const CLIENTS: usize = 4;

const FORWARDED: &str = "impetus_prediction_sink_forwarded_total";

#[test]
fn a_postgresql_that_stands_still_for_a_minute_costs_no_prediction() {
    under_load(Postgres::start(), |server, postgres, senders| {
        let began = Instant::now();
        postgres.stop();
        let reason = wait_until_away(server);
        assert!(!reason.contains("pass"), "{reason}");
        while began.elapsed() < STANDSTILL {
            senders.wait_for_more(server, 100);
        }
        assert!(
            Scrape::of(server).value("impetus_prediction_sink_failures_total") > 2.0,
            "it was tried again"
        );
        postgres.cont();
    });
}

#[test]
fn a_postgresql_that_is_killed_costs_no_prediction() {
    under_load(Postgres::start(), |server, postgres, senders| {
        for _ in 0..ENDS {
            postgres.kill();
            wait_until_away(server);
            senders.wait_for_more(server, 50);
            postgres.start_again();
            wait_until_taken(server);
        }
    });
}

#[test]
fn a_postgresql_that_is_restarted_in_order_costs_no_prediction() {
    under_load(Postgres::start(), |server, postgres, senders| {
        for _ in 0..ENDS {
            postgres.end_in_order();
            senders.wait_for_more(server, 50);
            postgres.start_again();
            wait_until_taken(server);
        }
    });
}

#[test]
fn a_postgresql_without_room_costs_no_prediction() {
    let Some(disk) = Mount::try_new("size=200m,mode=755") else {
        eprintln!(
            "no disk may be mounted here: a role that may not write stands in for a full one"
        );
        return a_postgresql_that_lets_nothing_be_written_costs_no_prediction();
    };
    under_load(
        Postgres::with_data_dir_on(disk.path()),
        |server, postgres, senders| {
            let filler = disk.fill();
            let reason = wait_until_away(server);
            senders.wait_for_more(server, 100);
            // Whether a row or the write-ahead log was what found no room, PostgreSQL decides.
            let words = ["no room", "cannot be reached", "No space left"];
            assert!(words.iter().any(|word| reason.contains(word)), "{reason}");
            std::fs::remove_file(filler).unwrap();
            let before = taken(server);
            server.wait_for("the sink to take more", || {
                // Without room for its write-ahead log it ends.
                postgres.start_unless_running();
                taken(server) > before
            });
        },
    );
}

/// What a full disk is where nobody may mount one: a database that takes nothing.
#[test]
fn a_postgresql_that_lets_nothing_be_written_costs_no_prediction() {
    under_load(Postgres::start(), |server, postgres, senders| {
        postgres.psql("REVOKE INSERT ON ALL TABLES IN SCHEMA public FROM impetus");
        let reason = wait_until_away(server);
        assert!(reason.contains("grant it"), "{reason}");
        senders.wait_for_more(server, 100);
        postgres.psql("GRANT INSERT ON ALL TABLES IN SCHEMA public TO impetus");
    });
}

#[test]
fn a_server_that_is_killed_while_it_forwards_costs_no_prediction() {
    let postgres = Postgres::start();
    let ports = free_ports();
    let start = |setup: Setup| forwarding(setup, &postgres).on_ports(ports).start();
    let mut server = start(Setup::without_models());
    let acknowledged = std::thread::scope(|scope| {
        let senders = Senders::paced(scope, ports[0], CLIENTS, PACE / 10);
        for kill in 0..KILLS {
            wait_until_taken(&server);
            // Somewhere else in the course of reading, delivering and removing each time.
            senders.wait_for_more(&server, 1 + kill * 7 % 40);
            server.signal(Signal::KILL);
            server.wait_exit();
            server = start(Setup::in_dir(Arc::clone(&server.dir)));
        }
        senders.finish()
    });
    assert_keeps_exactly(&server, &postgres, &acknowledged);
}

/// Has something happen under load, and insists that nobody but PostgreSQL was away and that it has
/// everything in the end.
fn under_load(mut postgres: Postgres, happens: impl FnOnce(&Server, &mut Postgres, &Senders)) {
    let server = forwarding(Setup::without_models(), &postgres).start();
    server.wait_for("the sink", || server.get("/ready").status == 200);
    let watch = LivenessWatch::start(&server);
    let acknowledged = std::thread::scope(|scope| {
        let senders = Senders::paced(scope, server.port, CLIENTS, PACE);
        wait_until_taken(&server);
        happens(&server, &mut postgres, &senders);
        wait_until_taken(&server);
        senders.wait_for_more(&server, 50);
        assert_eq!(senders.refusals(), 0, "only the sink was away");
        senders.finish()
    });
    wait_until_forwarded(&server);
    assert_keeps_exactly(&server, &postgres, &acknowledged);
    watch.assert_always_alive();
}

/// Waits until the sink has taken more.
fn wait_until_taken(server: &Server) {
    let before = taken(server);
    server.wait_for("the sink to take more", || taken(server) > before);
}

/// Returns how many predictions the sink has taken.
fn taken(server: &Server) -> f64 {
    Scrape::of(server).get(FORWARDED).unwrap_or_default()
}
