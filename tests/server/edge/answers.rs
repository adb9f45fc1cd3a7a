//! Clients that do not take their answers, or take them slowly.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};

use super::raw::Raw;
use super::{assert_ends_at_once, closed, wait_until_nothing_is_in_flight};
use crate::database::batch;
use crate::harness::{Server, Setup};

/// Rows of an answer of several MB, more than the kernel keeps for a client that takes nothing.
const ROWS: usize = 1000;
const NOTE: usize = 8 * 1024;
const LARGE: usize = 8 * 1024 * 1024;

/// Starts a server with predictions that make a large page; returns its length too.
fn with_a_large_page(setup: Setup) -> (Server, usize) {
    let server = setup.set("role", "\"logging\"").start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    let mut large = batch("edge", &vec!["good"; ROWS]);
    for (number, prediction) in large["predictions"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        prediction["image_id"] = json!(format!("i-{number}"));
        prediction["processing_notes"] = Value::from("x".repeat(NOTE));
    }
    let logged = server.post_json("/log", &large);
    assert_eq!(logged.status, 200, "{}", logged.text());
    let length = server.get(PAGE).body.len();
    assert!(length > LARGE, "{length}");
    (server, length)
}

const PAGE: &str = "/predictions?limit=1000";

#[test]
fn a_client_that_does_not_take_its_answer_is_let_go_and_leaves_nothing_in_flight() {
    let (server, length) = with_a_large_page(
        Setup::without_models()
            .set("http.write_timeout", "\"700ms\"")
            .set("lifecycle.drain_timeout", "\"10m\""),
    );
    let mut client = Raw::connect_with_little_room(server.port);
    client.get(PAGE);
    server.wait_for("the connection to be closed", || {
        closed(&server, "write_timeout") == 1.0
    });
    wait_until_nothing_is_in_flight(&server);
    assert!(client.read_to_the_end() < length);
    assert_ends_at_once(server);
}

#[test]
fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let (server, length) =
        with_a_large_page(Setup::without_models().set("http.write_timeout", "\"1500ms\""));
    let mut client = Raw::connect_with_little_room(server.port);
    client.get(PAGE);
    // Taking all of it lasts longer than the limit, making room for a part does not.
    let mut buffer = vec![0; 128 * 1024];
    for _ in 0..40 {
        client.0.read_exact(&mut buffer).unwrap();
        std::thread::park_timeout(Duration::from_millis(60));
    }
    let mut taken = 40 * buffer.len();
    while taken < length {
        let read = client.0.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "cut off after {taken} of {length} bytes");
        taken += read;
    }
    assert_eq!(closed(&server, "write_timeout"), 0.0);
}

#[test]
fn a_client_that_asks_and_asks_and_takes_nothing_is_let_go_on_the_health_port_too() {
    let server = Setup::without_models()
        .set("http.write_timeout", "\"700ms\"")
        .start();
    let mut client = Raw::connect_with_little_room(server.health_port);
    // Enough at a time for the answers to outrun the kernel's buffers soon.
    let questions = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
    let _asking = client.drip(questions.leak().as_bytes());
    server.wait_for("the connection to be closed", || {
        closed(&server, "write_timeout") == 1.0
    });
    client.read_to_the_end();
}
