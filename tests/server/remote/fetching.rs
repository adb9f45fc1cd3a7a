//! Models from a web server: by request and by configuration, interrupted, refused, cancelled, resumed.

use std::sync::Arc;

use impetus_sources::fetch::Hasher;
use serde_json::{Value, json};

use super::fake::{Fake, Manner};
use super::{
    ask_for, assert_answers, cancel, download, graph, impatient, large_graph, text, versions,
    wait_for_download, wait_for_incoming, wait_until_usable,
};
use crate::harness::Setup;

/// The file, and how much of it comes at first.
const FILE: &str = "/model.onnx";
const HALF: usize = 2 << 20;

fn order(fake: &Fake) -> Value {
    json!({"source": fake.url(FILE), "name": "surface"})
}

fn has_half(download: &Value) -> bool {
    download["bytes_done"].as_u64() == Some(u64::try_from(HALF).unwrap())
}

fn is(state: &str) -> impl Fn(&Value) -> bool {
    move |download| download["state"] == state
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::for_checksum(None);
    hasher.update(bytes);
    hasher.finish().sha256
}

#[test]
fn a_file_that_is_asked_for_shows_how_far_it_is_is_resumed_when_interrupted_and_answers() {
    let fake = Fake::start();
    let graph = large_graph(1);
    fake.put(FILE, &graph, "one");
    fake.handle(FILE, Manner::Stall(HALF));
    let server = impatient().start();
    let asked = ask_for(&server, &json!({"source": fake.url(FILE)}));
    assert_eq!(asked.status, 202, "{}", asked.text());
    let asked = asked.json();
    assert_eq!(asked["name"], "model", "{asked}");
    let id = &asked["id"];
    let running = wait_for_download(&server, id, "to have half of it", has_half);
    assert_eq!(running["state"], "running", "{running:#}");
    assert_eq!(running["bytes_total"], graph.len(), "{running:#}");
    assert_eq!(running["ended"], Value::Null);
    server.wait_for("the list to say so", || {
        versions(&server, "model")
            .iter()
            .any(|m| m["state"] == "downloading")
    });
    assert_ne!(server.get("/v2/models/model/ready").status, 200);
    // One that is under way is not begun twice.
    let again = ask_for(&server, &json!({"source": fake.url(FILE)})).json();
    assert_eq!(again["id"], *id);

    fake.handle(FILE, Manner::Well);
    let done = wait_for_download(&server, id, "to be done", is("done"));
    assert_eq!(done["bytes_done"], graph.len(), "{done:#}");
    let reads = fake.reads(FILE);
    let begun: Vec<usize> = reads.iter().map(|read| read.from).collect();
    assert_eq!(begun, [0, HALF], "{reads:?}");
    assert_eq!(fake.sent(FILE), graph.len(), "{reads:?}");
    wait_until_usable(&server, "model");
    assert_answers(&server, "model");
}

#[test]
fn a_file_without_the_digest_that_was_promised_is_refused_and_the_last_good_one_serves() {
    let fake = Fake::start();
    fake.put(FILE, &graph(1), "one");
    let source = text(&fake.url(FILE));
    let server = impatient()
        .set("models.remote.surface", &source)
        .start_ready();
    assert_answers(&server, "surface");
    let next = graph(2);
    let beside = format!("{FILE}.sha256");
    fake.put(&beside, sha256(&graph(1)).as_bytes(), "one");
    fake.put(FILE, &next, "two");
    wait_for_incoming(&server, "surface", &["failed"], "checksum");
    assert_answers(&server, "surface");
    assert_eq!(server.get("/api/health/ready").status, 200);
    fake.put(
        &beside,
        format!("{}  model.onnx\n", sha256(&next)).as_bytes(),
        "two",
    );
    server.wait_for("the right one to serve alone", || {
        let list = server.get("/api/models/downloads").json();
        list["downloads"][0]["state"] == "done" && versions(&server, "surface").len() == 1
    });
    assert_answers(&server, "surface");
}

#[test]
fn a_download_that_is_cancelled_rests_until_it_is_asked_for_again_and_is_resumed() {
    let fake = Fake::start();
    let graph = large_graph(1);
    fake.put(FILE, &graph, "one");
    fake.handle(FILE, Manner::Stall(HALF));
    let server = impatient().start();
    let id = ask_for(&server, &order(&fake)).json()["id"].clone();
    wait_for_download(&server, &id, "to have half of it", has_half);
    let cancelled = cancel(&server, &id.to_string());
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    let cancelled = wait_for_download(&server, &id, "to be cancelled", is("cancelled"));
    assert!(
        cancelled["reason"]
            .as_str()
            .unwrap()
            .contains("ask for it again")
    );
    assert_ne!(cancelled["ended"], Value::Null);
    let reads = fake.reads(FILE).len();
    fake.handle(FILE, Manner::Well);
    // What lies there is looked at again, twice, and the file is not.
    let looks = || fake.asked(FILE, "HEAD");
    let before = looks();
    server.wait_for("two more looks", || looks() >= before + 2);
    assert_eq!(fake.reads(FILE).len(), reads);
    assert_eq!(download(&server, &id)["state"], "cancelled");

    let again = ask_for(&server, &order(&fake)).json()["id"].clone();
    assert_ne!(again, id);
    wait_for_download(&server, &again, "to be done", is("done"));
    let last = fake.reads(FILE).pop().unwrap();
    assert!(last.from > 0, "{last:?}");
    assert!(
        fake.sent(FILE) < graph.len() * 3 / 2,
        "{:?}",
        fake.reads(FILE)
    );
    wait_until_usable(&server, "surface");
    assert_answers(&server, "surface");
    // One that is over stays as it is.
    assert_eq!(cancel(&server, &again.to_string()).json()["state"], "done");
}

#[test]
fn what_cannot_be_fetched_is_refused_with_the_reason_and_the_way_to_ask() {
    let fake = Fake::start();
    let source = text(&fake.url(FILE));
    let server = impatient().set("models.remote.surface", &source).start();
    let refused = |order: &Value, status: u16, code: &str, words: &str| {
        let answer = ask_for(&server, order);
        let said = (answer.status, answer.json()["code"].clone());
        assert_eq!(said, (status, Value::from(code)), "{}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    };
    let bad = json!({"source": "surface@champion"});
    refused(&bad, 400, "bad_order", "models:/");
    refused(&json!({}), 400, "bad_order", "\"source\"");
    let named = json!({"source": fake.url(FILE), "name": "../surface"});
    refused(&named, 400, "bad_order", "is not a name for a model");
    let other = json!({"source": fake.url("/other.onnx"), "name": "surface"});
    refused(&other, 409, "configured", "models.remote");
    let registered = json!({"source": "models:/surface@champion", "name": "other"});
    refused(&registered, 422, "no_registry", "registry.url");
    for id in ["77", "nothing"] {
        let unknown = cancel(&server, id);
        let said = (unknown.status, unknown.json()["code"].clone());
        assert_eq!(said, (404, "unknown_download".into()), "{}", unknown.text());
    }
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_download_resumes_it_when_it_is_started_again() {
    let fake = Fake::start();
    let graph = large_graph(1);
    fake.put(FILE, &graph, "one");
    fake.handle(FILE, Manner::Stall(HALF));
    let source = text(&fake.url(FILE));
    let mut killed = impatient().set("models.remote.surface", &source).start();
    killed.wait_for("half of it", || {
        let list = killed.get("/api/models/downloads").json();
        has_half(&list["downloads"][0])
    });
    killed.signal(rustix::process::Signal::KILL);
    killed.wait_exit();
    fake.handle(FILE, Manner::Well);

    let again = Setup::in_dir(Arc::clone(&killed.dir))
        .set("models.workers", "1")
        .set("downloads.lease", "\"1s\"")
        .set("models.remote.surface", &source)
        .start_ready();
    assert_answers(&again, "surface");
    let reads = fake.reads(FILE);
    assert!(reads.last().unwrap().from > 0, "{reads:?}");
    assert!(fake.sent(FILE) < graph.len() * 3 / 2, "{reads:?}");
}
