//! What the server predicts itself is in its prediction log: as it was answered, whichever way the
//! request came, and as surely as its model says.

mod answered_first;
mod chosen;
mod durable;
mod protocols;

use std::fs;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, Setup};
use crate::predict::numbers_of_a_sample;
use crate::v2::post;

/// Posts the numbers of a scratch to `/predict` under an id.
fn predict(server: &Server, id: &str) -> Answer {
    predict_by(server, "surface", id)
}

fn predict_by(server: &Server, model: &str, id: &str) -> Answer {
    let (_, numbers) = numbers_of_a_sample();
    let body = json!({"data": numbers, "model": model}).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", id)];
    post(server, "/predict", &headers, body.as_bytes())
}

/// Posts it to `/predict` and insists on its class.
#[track_caller]
fn expect_predicted(server: &Server, id: &str) {
    let answer = predict(server, id);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["class"], "scratch", "{}", answer.text());
}

/// Returns what is in the log, in the order of the images' names.
#[track_caller]
fn in_log(server: &Server) -> Vec<Value> {
    let answer = server.get("/predictions?limit=1000");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut rows: Vec<Value> =
        serde_json::from_value(answer.json()["predictions"].clone()).unwrap();
    rows.sort_by_key(|row| image_of(row).to_owned());
    rows
}

/// Waits until as many are in the log, and returns them.
#[track_caller]
fn wait_for_rows(server: &Server, number: usize) -> Vec<Value> {
    wait_for_database(server);
    server.wait_for("the log", || in_log(server).len() >= number);
    let rows = in_log(server);
    assert_eq!(rows.len(), number, "{rows:#?}");
    rows
}

fn image_of(row: &Value) -> &str {
    row["image_id"].as_str().unwrap()
}

fn images(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(image_of).collect()
}

/// Has the server end in order, and returns everything that is in its log then.
fn rows_at_the_end(mut server: Server) -> Vec<Value> {
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit_code(), Some(0), "{}", server.log());
    rows_left_by(&server)
}

/// Returns everything that is in the log of a server that has ended.
fn rows_left_by(ended: &Server) -> Vec<Value> {
    let setup = Setup::in_dir(Arc::clone(&ended.dir)).set("role", "\"logging\"");
    let server = setup.start();
    server.wait_for("the database", || server.get("/ready").status == 200);
    in_log(&server)
}

fn wait_for_database(server: &Server) {
    server.wait_for("the database", || server.get("/ready").status == 200);
}

/// Adds a section about the log to the demo model's description.
fn describe(setup: Setup, section: &str) -> Setup {
    let file = setup.path().join("models/surface/model.toml");
    let own = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{own}\n{section}\n")).unwrap();
    setup
}
