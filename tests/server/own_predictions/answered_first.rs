//! Predictions that are answered before they are on the disk: nobody waits for it, nothing is lost
//! in an orderly end, and what finds no room is counted.

use super::{expect_predicted, images, rows_at_the_end, wait_for_database, wait_for_rows};
use crate::contract::sample;
use crate::harness::database::Lock;
use crate::harness::{Server, Setup};

#[test]
fn a_locked_database_holds_up_no_answer_and_gets_everything_afterwards() {
    let server = Setup::new().start_ready();
    wait_for_database(&server);
    let lock = Lock::take(&server.dir.path().join("data/predictions.db"));
    for number in 0..5 {
        expect_predicted(&server, &format!("request-{number}"));
    }
    lock.release();
    let rows = wait_for_rows(&server, 5);
    assert_eq!(images(&rows)[4], "request-4");
    assert_eq!(dropped(&server), 0.0);
}

#[test]
fn what_finds_no_room_is_answered_and_counted() {
    let server = Setup::new().set("predlog.buffer", "3").start_ready();
    wait_for_database(&server);
    let lock = Lock::take(&server.dir.path().join("data/predictions.db"));
    for number in 0..8 {
        expect_predicted(&server, &format!("request-{number}"));
    }
    assert_eq!(dropped(&server), 5.0);
    server.wait_for_log("without being logged");
    let warnings = server.log().matches("without being logged").count();
    assert_eq!(warnings, 1, "one warning in a while is enough");
    lock.release();
    let rows = wait_for_rows(&server, 3);
    assert_eq!(images(&rows), ["request-0", "request-1", "request-2"]);
}

#[test]
fn an_end_in_order_commits_what_waited() {
    let server = Setup::new()
        .set("predlog.flush_interval", "\"10s\"")
        .start_ready();
    wait_for_database(&server);
    for number in 0..5 {
        expect_predicted(&server, &format!("request-{number}"));
    }
    assert_eq!(rows_at_the_end(server).len(), 5);
}

fn dropped(server: &Server) -> f64 {
    let metrics = server.get("/metrics").text();
    sample(&metrics, "impetus_prediction_log_dropped_total").unwrap()
}
