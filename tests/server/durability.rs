//! `POST /log`, `GET /predictions`, `GET /stats`: what was acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database::batch;
use crate::harness::{Answer, Server, Setup, new_agent};

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_a_replay_makes_no_second_row() {
    let images: Vec<String> = (0..20)
        .map(|n| format!("{}-{n}", if n % 4 == 0 { "bad" } else { "good" }))
        .collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let mut server = logging();
    let logged = server.post_json("/log", &batch("line-1", &images));
    server.signal(Signal::KILL);
    assert_eq!(logged.status, 200, "{}", logged.text());
    assert_eq!(logged.json()["logged"], images.len());
    server.wait_exit();

    let server = logging_in(&server);
    let all: BTreeSet<String> = images.iter().map(|image| (*image).to_owned()).collect();
    assert_eq!(
        read_all(&server, 1000, "line-1"),
        (all.clone(), images.len())
    );
    let replay = server.post_json("/log", &batch("line-1", &images));
    assert_eq!(replay.status, 200, "{}", replay.text());
    assert_eq!(read_all(&server, 1000, "line-1"), (all, images.len()));
    let stats = server.get("/stats").json();
    assert_eq!(
        (&stats["total"], &stats["defects"]),
        (&json!(20), &json!(5)),
        "{stats:#}"
    );
}

#[test]
fn of_many_clients_cut_off_by_a_kill_none_was_promised_what_is_not_there() {
    let mut server = logging();
    let acknowledged = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, acknowledged) = (&server, &acknowledged);
            scope.spawn(move || log_until_refused(server, client, acknowledged));
        }
        server.wait_for("acknowledgements", || {
            acknowledged.lock().unwrap().len() > 100
        });
        server.signal(Signal::KILL);
    });
    server.wait_exit();
    let acknowledged = acknowledged.into_inner().unwrap();
    let server = logging_in(&server);
    let (there, rows) = read_all(&server, 1000, "line-2");
    let missing: Vec<_> = acknowledged.difference(&there).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    assert_eq!(rows, there.len(), "some are there twice");
}

#[test]
fn pages_and_statistics_agree_about_every_row() {
    let server = logging();
    let images: Vec<String> = (0..53)
        .map(|n| format!("{}-{n}", if n % 3 == 0 { "bad" } else { "good" }))
        .collect();
    for (n, chunk) in images.chunks(10).enumerate() {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let device = if n % 2 == 0 { "even" } else { "odd" };
        assert_eq!(server.post_json("/log", &batch(device, &chunk)).status, 200);
    }
    let (even, odd) = (read_all(&server, 7, "even"), read_all(&server, 7, "odd"));
    assert_eq!((even.1, odd.1), (30, 23));
    assert_eq!(even.0.len() + odd.0.len(), images.len());
    let stats = server.get("/stats").json();
    assert_eq!(
        (&stats["total"], &stats["defects"]),
        (&json!(53), &json!(18)),
        "{stats:#}"
    );
    assert_eq!(stats["by_device"]["even"]["total"], 30, "{stats:#}");
    assert_eq!(stats["by_device"]["odd"]["total"], 23, "{stats:#}");
    let defects = page(&server, "/predictions?limit=1000&defect_only=true");
    assert_eq!(defects["predictions"].as_array().unwrap().len(), 18);
    let ready = server.get("/ready").json();
    assert_eq!(
        (&ready["predictions_logged"], &ready["defects_detected"]),
        (&json!(53), &json!(18))
    );
    for (name, value) in [
        ("cursor", "nonsense"),
        ("limit", "0"),
        ("limit", "x"),
        ("defect_only", "maybe"),
        ("from", "yesterday"),
        ("to", "tomorrow"),
    ] {
        let refused = server.get(&format!("/predictions?{name}={value}"));
        assert_eq!(refused.status, 400, "{name}={value}");
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn a_batch_with_a_mistake_in_it_is_refused_as_a_whole_and_the_mistake_is_named() {
    let server = logging();
    let mut wrong = batch("line-3", &["one", "two"]);
    wrong["predictions"][1]["timestamp"] = json!("yesterday");
    let refused = server.post_json("/log", &wrong);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(
        refused.text().contains("predictions[1].timestamp"),
        "{}",
        refused.text()
    );
    assert_eq!(server.post("/log", "application/json", b"{").status, 400);
    assert_eq!(server.get("/stats").json()["total"], 0);
}

/// Reads all pages of a device; returns the images and how many rows there were.
fn read_all(server: &Server, limit: u32, device: &str) -> (BTreeSet<String>, usize) {
    let (mut images, mut rows) = (BTreeSet::new(), 0);
    let mut cursor = String::new();
    loop {
        let page = page(
            server,
            &format!("/predictions?limit={limit}&edge_device_id={device}{cursor}"),
        );
        let predictions = page["predictions"].as_array().unwrap();
        assert!(predictions.len() <= limit as usize);
        rows += predictions.len();
        for prediction in predictions {
            assert_eq!(prediction["edge_device_id"], device, "{prediction:#}");
            images.insert(prediction["image_id"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (images, rows),
        }
    }
}

fn page(server: &Server, path: &str) -> Value {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Logs one image after the other and notes those that were acknowledged, until one is not.
fn log_until_refused(server: &Server, client: usize, acknowledged: &Mutex<BTreeSet<String>>) {
    let agent = new_agent();
    for number in 0.. {
        let image = format!("{client}-{number}");
        let request = agent
            .post(server.url("/log"))
            .header("content-type", "application/json");
        let answer = request
            .send(batch("line-2", &[&image]).to_string().as_bytes())
            .map(Answer::from);
        match answer {
            Ok(answer) if answer.status == 200 => acknowledged.lock().unwrap().insert(image),
            _ => return,
        };
    }
}

/// A server that keeps the log and does nothing else.
fn logging() -> Server {
    wait_connected(Setup::without_models().set("role", "\"logging\"").start())
}

/// Starts another one on the folder of one that has ended.
fn logging_in(ended: &Server) -> Server {
    wait_connected(
        Setup::in_dir(Arc::clone(&ended.dir))
            .set("role", "\"logging\"")
            .start(),
    )
}

/// Waits until the log can be written.
pub fn wait_connected(server: Server) -> Server {
    server.wait_for("the database", || server.get("/ready").status == 200);
    server
}
