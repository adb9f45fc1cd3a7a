//! How streams end: in the middle, when the server ends, and in the figures.

use std::process::Command;

use rustix::process::Signal;

use super::*;
use crate::harness::scrape::Scrape;
use crate::harness::{binary, signal_process};

fn answers(server: &Server, endpoint: &str, class: &str) -> f64 {
    let series = format!(
        "impetus_request_duration_seconds_count{{endpoint=\"{endpoint}\",model=\"tiny-chat\",status=\"{class}\"}}"
    );
    Scrape::of(server).get(&series).unwrap_or_default()
}

#[test]
fn a_stream_that_cannot_go_on_is_ended_by_an_error() {
    let server = setup()
        .set("models.retries", "0")
        .set("models.accident_retries", "0")
        .start_ready();
    let mut stream = Reading::begin(&server, CHAT, &endless(&json!({"stream": true})));
    stream.until("content");
    signal_process(server.workers()[0], Signal::KILL);
    let text = stream.rest();
    let error = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data: {\"error\":"))
        .unwrap();
    assert!(
        error.contains("\"code\":\"worker_lost\"") && error.contains("\"type\":\"server_error\""),
        "{error}"
    );
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    server.wait_for("the failure to be counted", || {
        answers(&server, "chat_completions", "5xx") == 1.0
    });
    assert_eq!(answers(&server, "chat_completions", "2xx"), 0.0);
}

#[test]
fn a_stream_goes_on_when_its_worker_is_lost() {
    let server = server();
    let request = endless(&json!({"stream": true, "max_tokens": 300}));
    let undisturbed = text_of(&events(&server.post_json(CHAT, &request)), 0);
    let mut stream = Reading::begin(&server, CHAT, &request);
    stream.until("content");
    signal_process(server.workers()[0], Signal::KILL);
    let rest = stream.rest();
    let data = rest.lines().filter_map(|line| line.strip_prefix("data: {"));
    let events: Vec<Value> = data
        .map(|data| serde_json::from_str(&format!("{{{data}")).unwrap())
        .collect();
    let text = text_of(&events, 0);
    assert!(
        text.len() > 20 && undisturbed.ends_with(&text),
        "{text:?}\n{undisturbed:?}"
    );
}

#[test]
fn what_takes_too_long_is_ended_with_an_error_or_its_status() {
    let server = setup().set("generation.timeout", "\"150ms\"").start_ready();
    let forever = json!({"n": 8, "logprobs": true, "top_logprobs": 20});
    let answer = server.post_json(CHAT, &endless(&forever));
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "deadline_exceeded");
    let stream = Reading::begin(&server, CHAT, &endless(&json!({"stream": true, "n": 8})));
    let text = stream.rest();
    assert!(text.contains("deadline_exceeded"), "{text}");
    wait_until_idle(&server);
}

#[test]
fn a_server_that_ends_lets_its_streams_come_to_their_end() {
    let mut server = setup()
        .set("lifecycle.drain_timeout", "\"1m\"")
        .start_ready();
    let mut stream = Reading::begin(&server, CHAT, &endless(&json!({"stream": true})));
    stream.until("content");
    server.signal(Signal::TERM);
    let text = stream.rest();
    assert!(text.contains("\"finish_reason\":\"length\""), "{text}");
    assert_eq!(server.wait_exit_code(), Some(0));
}

#[test]
fn a_stream_counts_as_a_request_until_its_end() {
    let server = server();
    let mut stream = Reading::begin(&server, CHAT, &endless(&json!({"stream": true})));
    stream.until("content");
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.value("impetus_http_requests_in_flight"), 1.0);
    assert_eq!(scrape.value("impetus_requests_total"), 1.0);
    assert_eq!(answers(&server, "chat_completions", "2xx"), 0.0);
    stream.rest();
    server.wait_for("the end to be counted", || {
        answers(&server, "chat_completions", "2xx") == 1.0
    });
    let mut gone = Reading::begin(
        &server,
        COMPLETIONS,
        &json!({
            "prompt": "a", "stream": true, "ignore_eos": true, "max_tokens": 1500,
        }),
    );
    gone.until("text");
    drop(gone);
    server.wait_for("its going to be counted", || {
        answers(&server, "completions", "4xx") == 1.0
    });
}

#[test]
fn a_conversation_in_a_terminal() {
    let server = server();
    let whole = answered(&server, CHAT, &greedy(&json!({})));
    let chat = |words: &[&str]| {
        let shown = Command::new(binary())
            .arg("chat")
            .args(["--url", &server.url("")])
            .args(words)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            shown.status.code(),
            text(&shown.stdout),
            text(&shown.stderr),
        )
    };
    let words = [
        "--temperature",
        "0",
        "--max-tokens",
        "40",
        "How do I start the server?",
    ];
    let (code, out, err) = chat(&words);
    assert_eq!(
        (code, out.trim_end()),
        (Some(0), content(&whole).trim_end()),
        "{err}"
    );
    let (code, _, err) = chat(&["--model", "nobody", "hi"]);
    assert_eq!(code, Some(64));
    assert!(err.contains("nobody"), "{err}");
}
