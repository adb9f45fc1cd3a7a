//! The Open Inference Protocol over HTTP, and KServe's first protocol, as raw HTTP shows them.

mod asking;
mod binary;
mod compressed;
pub mod echo;
mod inferring;
mod refused;
mod v1;

use serde_json::Value;

use crate::harness::{Answer, Server, new_agent};

/// The header that says how long the JSON is.
const HEADER_LENGTH: &str = "inference-header-content-length";

/// Posts a body with these headers.
pub fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let agent = new_agent();
    let mut request = agent.post(server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send(body).map(Answer::from);
    answer.unwrap_or_else(|error| panic!("no answer from {path}: {error}\n{}", server.log()))
}

/// Asks a model to infer, in JSON.
pub fn infer(server: &Server, model: &str, request: &Value) -> Answer {
    server.post_json(&format!("/v2/models/{model}/infer"), request)
}

/// Asks a model to infer with binary data behind the JSON.
pub fn infer_binary(server: &Server, model: &str, request: &Value, data: &[u8]) -> Answer {
    let json = request.to_string().into_bytes();
    let length = json.len().to_string();
    let body = [json, data.to_vec()].concat();
    let path = format!("/v2/models/{model}/infer");
    post(server, &path, &[(HEADER_LENGTH, &length)], &body)
}

/// Takes an answer with binary data apart: its JSON, and what is behind.
#[track_caller]
fn apart(answer: &Answer) -> (Value, &[u8]) {
    let length = answer.headers[HEADER_LENGTH].parse().unwrap();
    let (json, data) = answer.body.split_at(length);
    (serde_json::from_slice(json).unwrap(), data)
}

/// Checks that an answer is an error of the protocol with these words.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(error.contains(words), "{words:?} is not in {error:?}");
}
