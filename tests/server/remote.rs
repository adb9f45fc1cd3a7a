//! Models that come from elsewhere, as their users meet them: registries and stores that are followed,
//! that fail, and that come back, while the version that is here serves on.
//!
//! MLflow is the real one, of both releases. What a real one does not do (pages instead of answers,
//! connections that end in the middle, files that change) is done by a server in the test.

mod command;
mod fake;
mod fetching;
mod followed;
mod mlflow;
mod registry;
mod shared;
mod webhook;
mod wrong;

#[path = "../../sources/tests/mlflow_server/server.rs"]
mod mlflow_server;

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Answer, Server, Setup, new_agent, repo};

/// What `mlflow.onnx` writes of a model without a signature.
const MLMODEL: &str = "flavors:\n  onnx:\n    data: model.onnx\n    onnx_version: 1.23.2\n  \
    python_function:\n    data: model.onnx\n    loader_module: mlflow.onnx\nmodel_uuid: m-1\n";

/// Returns the demo model's graph with a mark in it by which it is told from others.
fn graph(mark: u8) -> Vec<u8> {
    let mut graph = fs::read(repo().join("models/surface/model.onnx")).unwrap();
    // A field that is there twice counts as it stands last: `doc_string`, of one character.
    graph.extend([0x32, 1, b'a' + mark]);
    graph
}

/// Returns such a graph with so much beside it that a download of it is not over at once.
fn large_graph(mark: u8) -> Vec<u8> {
    let mut graph = fs::read(repo().join("models/surface/model.onnx")).unwrap();
    // 3 MiB as a number of protocol buffers.
    graph.extend([0x32, 0x80, 0x80, 0xc0, 0x01]);
    graph.resize(graph.len() + (3 << 20), b'a' + mark);
    graph
}

/// Returns the demo model's description without the name and the version, which its source says.
fn description() -> Vec<u8> {
    let text = fs::read_to_string(repo().join("models/surface/model.toml")).unwrap();
    let own = |line: &&str| !line.starts_with("name") && !line.starts_with("version");
    let lines: Vec<&str> = text.lines().filter(own).collect();
    lines.join("\n").into_bytes()
}

/// A server without models of its own that asks and tries again soon.
fn impatient() -> Setup {
    Setup::without_models()
        .set("models.workers", "1")
        .set("registry.check_every", "\"1s\"")
        .set("registry.check_timeout", "\"1s\"")
        .set("registry.poll_every", "\"1s\"")
        .set("registry.calls_a_minute", "10000")
        .set("stores.poll_every", "\"1s\"")
        .set("downloads.backoff_min", "\"100ms\"")
        .set("downloads.backoff_max", "\"300ms\"")
        .set("downloads.lease", "\"1s\"")
}

/// Writes a text as a value of the configuration.
fn text(words: &str) -> String {
    format!("{words:?}")
}

/// Returns every version of a model.
fn versions(server: &Server, name: &str) -> Vec<Value> {
    let list = server.get("/api/models/list").json();
    let models = list["models"].as_array().unwrap().iter();
    models
        .filter(|model| model["name"] == name)
        .cloned()
        .collect()
}

/// Waits until a version of a model serves and no other of it is offered.
fn wait_for_version(server: &Server, name: &str, version: &str) {
    server.wait_for(
        &format!("version {version} of {name} to serve alone"),
        || {
            let versions = versions(server, name);
            let mut offered = versions.iter().filter(|m| m["standing"] != "retiring");
            let first = offered.next();
            first.is_some_and(|m| {
                m["version"] == version && m["standing"] == "serving" && m["state"] == "ready"
            }) && offered.next().is_none()
        },
    );
}

/// Waits until the version of a model that is to come is in that state for a reason with these words.
fn wait_for_incoming(server: &Server, name: &str, states: &[&str], words: &str) {
    server.wait_for(
        &format!("the next {name} to be {states:?}: {words}"),
        || {
            versions(server, name).iter().any(|model| {
                let (state, reason) = (model["state"].as_str(), model["reason"].as_str());
                model["standing"] == "incoming"
                    && state.is_some_and(|state| states.contains(&state))
                    && reason.is_some_and(|reason| reason.contains(words))
            })
        },
    );
}

/// Checks that a model answers, whatever it is: with zeros for every input.
#[track_caller]
fn assert_answers(server: &Server, name: &str) {
    let about = server.get(&format!("/v2/models/{name}"));
    assert_eq!(about.status, 200, "{}", about.text());
    let about = about.json();
    let inputs = about["inputs"].as_array().unwrap().iter().map(|input| {
        let shape = input["shape"].as_array().unwrap().iter();
        let shape: Vec<usize> = shape
            .map(|extent| usize::try_from(extent.as_i64().unwrap()).unwrap_or(1))
            .collect();
        let zeros = vec![0; shape.iter().product()];
        json!({"name": input["name"], "datatype": input["datatype"], "shape": shape, "data": zeros})
    });
    let request = json!({"inputs": inputs.collect::<Vec<_>>()});
    let answer = server.post_json(&format!("/v2/models/{name}/infer"), &request);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Waits until a model answers.
fn wait_until_usable(server: &Server, name: &str) {
    server.wait_for(&format!("{name} to serve"), || {
        let ready = format!("/v2/models/{name}/ready");
        server
            .try_get(&ready)
            .is_some_and(|answer| answer.status == 200)
    });
}

/// Asks a server for a download.
fn ask_for(server: &Server, order: &Value) -> Answer {
    server.post_json("/api/models/download", order)
}

/// Returns a download by its number.
fn download(server: &Server, id: &Value) -> Value {
    let list = server.get("/api/models/downloads").json();
    let downloads = list["downloads"].as_array().unwrap().iter();
    let mut found = downloads.filter(|download| download["id"] == *id);
    found.next().cloned().unwrap_or_default()
}

/// Waits until a download is as expected, and returns it.
fn wait_for_download(
    server: &Server,
    id: &Value,
    what: &str,
    expected: impl Fn(&Value) -> bool,
) -> Value {
    let mut found = Value::Null;
    server.wait_for(&format!("download {id} {what}"), || {
        found = download(server, id);
        expected(&found)
    });
    found
}

/// Cancels a download.
fn cancel(server: &Server, id: &str) -> Answer {
    let url = server.url(&format!("/api/models/downloads/{id}"));
    new_agent().delete(url).call().map(Answer::from).unwrap()
}
