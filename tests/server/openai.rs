//! Text by OpenAI's API, from a real model in a real process.

mod answers;
mod clients;
mod endings;
mod refusals;
mod resumption;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

use serde_json::{Value, json};

use crate::harness::scrape::wait_for_value;
use crate::harness::{Answer, PATIENCE, Server, Setup};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const RUNNING: &str = "impetus_generation_sequences_running{model=\"tiny-chat\"}";
const WAITING: &str = "impetus_generation_sequences_waiting{model=\"tiny-chat\"}";

fn setup() -> Setup {
    Setup::without_models().with_chat_model()
}

fn server() -> Server {
    setup().start_ready()
}

/// Returns a request whose answer is the same every time, with more fields.
fn greedy(fields: &Value) -> Value {
    let mut request = json!({
        "messages": [{"role": "user", "content": "How do I start the server?"}],
        "temperature": 0, "max_tokens": 40,
    });
    merge(&mut request, fields);
    request
}

/// Returns a request whose answer is as long as there is room for.
fn endless(fields: &Value) -> Value {
    let mut request = greedy(&json!({"ignore_eos": true, "max_tokens": null}));
    merge(&mut request, fields);
    request
}

fn merge(request: &mut Value, fields: &Value) {
    let more = fields.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
}

#[track_caller]
fn answered(server: &Server, path: &str, request: &Value) -> Value {
    let answer = server.post_json(path, request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns the events of a stream, `[DONE]` at the end of them left out.
#[track_caller]
fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(answer.headers["cache-control"], "no-cache");
    let text = answer.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut data: Vec<&str> = data.collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{text}");
    data.into_iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// Returns the text of one answer out of the events of a stream.
fn text_of(events: &[Value], index: usize) -> String {
    let choices = events
        .iter()
        .flat_map(|event| event["choices"].as_array().unwrap());
    let mine = choices.filter(|choice| choice["index"] == index);
    let pieces = mine.filter_map(|choice| {
        choice["delta"]["content"]
            .as_str()
            .or(choice["text"].as_str())
    });
    pieces.collect()
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// A stream that is read as its client likes.
struct Reading {
    reader: BufReader<TcpStream>,
}

// === impl Reading ===

impl Reading {
    /// Sends a request and reads nothing.
    fn begin(server: &Server, path: &str, request: &Value) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = request.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    /// Reads until a line that holds a text has come.
    fn until(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(
                self.reader.read_line(&mut line).unwrap(),
                0,
                "ended before {text:?}"
            );
        }
    }

    /// Reads what is left until the stream has ended.
    fn rest(mut self) -> String {
        let mut text = String::new();
        while !text.contains("[DONE]") {
            let mut line = String::new();
            assert_ne!(
                self.reader.read_line(&mut line).unwrap(),
                0,
                "cut off behind {text}"
            );
            text.push_str(&line);
        }
        text
    }
}

fn wait_until_idle(server: &Server) {
    wait_for_value(server, RUNNING, 0.0);
    wait_for_value(server, WAITING, 0.0);
}
