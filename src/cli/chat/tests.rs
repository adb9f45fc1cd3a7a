//! A conversation with a server that is written by hand.

use std::io::{BufReader, Read};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::config::Period;

/// A server that gives these answers, one to each connection, and returns what it was asked.
struct Server {
    url: String,
    asked: JoinHandle<Vec<Value>>,
}

/// What came of a command.
struct Shown {
    exit: Exit,
    out: String,
    err: String,
}

// === impl Server ===

impl Server {
    fn answering(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let answered = answers.into_iter().map(|answer| {
                let (stream, _) = listener.accept().unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(30)))
                    .unwrap();
                let mut reader = BufReader::new(stream);
                let mut length = 0;
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    if let Some(given) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = given.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
                serde_json::from_slice(&body).unwrap()
            });
            answered.collect()
        });
        Self { url, asked }
    }

    fn asked(self) -> Vec<Value> {
        self.asked.join().unwrap()
    }
}

fn stream_of(events: &[&str]) -> String {
    let events: String = events.iter().map(|event| format!("{event}\n\n")).collect();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}"
    )
}

fn said(text: &str) -> String {
    let chunk =
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    format!("data: {chunk}")
}

fn ended(reason: &str) -> String {
    format!(
        "data: {}",
        json!({"choices": [{"delta": {}, "finish_reason": reason}]})
    )
}

fn refusal(status: u16, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} No\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn args(url: &str) -> ChatArgs {
    ChatArgs {
        prompt: None,
        url: url.to_owned(),
        model: None,
        system: None,
        max_tokens: None,
        temperature: None,
        timeout: Period::secs(30),
    }
}

fn shown(args: &ChatArgs, input: &str, is_terminal: bool) -> Shown {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let streams = Streams {
        input: &mut input.as_bytes(),
        out: &mut out,
        err: &mut err,
        is_terminal,
    };
    let exit = run_on(args, streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Shown {
        exit,
        out: text(out),
        err: text(err),
    }
}

#[test]
fn a_question_is_asked_as_it_was_given_and_its_answer_written_as_it_comes() {
    let events = [
        ": still here",
        &said("Hel"),
        &said("lo\u{1b}[2J"),
        &ended("stop"),
        "data: [DONE]",
    ];
    let server = Server::answering(vec![stream_of(&events)]);
    let args = ChatArgs {
        prompt: Some("hi".to_owned()),
        model: Some("m".to_owned()),
        system: Some("be brief".to_owned()),
        max_tokens: Some(7),
        temperature: Some(0.5),
        ..args(&server.url)
    };
    let shown = shown(&args, "", false);
    assert_eq!(
        (shown.exit, shown.out.as_str(), shown.err.as_str()),
        (Exit::Clean, "Hello[2J\n", "")
    );
    let expected = json!({
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "model": "m", "max_tokens": 7, "temperature": 0.5, "stream": true,
    });
    assert_eq!(server.asked(), [expected]);
}

#[test]
fn lines_of_the_input_are_a_conversation_until_it_is_reset() {
    let answer = |text: &str| stream_of(&[&said(text), &ended("stop"), "data: [DONE]"]);
    let server = Server::answering(vec![answer("one"), answer("two"), answer("three\n")]);
    let shown = shown(&args(&server.url), "a\n\nb\n/reset\nc\n", false);
    assert_eq!(
        (shown.exit, shown.out.as_str()),
        (Exit::Clean, "one\ntwo\nthree\n")
    );
    let asked = server.asked();
    let contents = |request: &Value| {
        let messages = request["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["content"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(contents(&asked[0]), ["a"]);
    assert_eq!(contents(&asked[1]), ["a", "one", "b"]);
    assert_eq!(contents(&asked[2]), ["c"]);
    assert!(asked[0].get("temperature").is_none() && asked[0].get("model").is_none());
}

#[test]
fn an_answer_that_was_cut_says_so() {
    let server = Server::answering(vec![stream_of(&[
        &said("a"),
        &ended("length"),
        "data: [DONE]",
    ])]);
    let shown = shown(&args(&server.url), "q", false);
    assert_eq!((shown.exit, shown.out.as_str()), (Exit::Clean, "a\n"));
    assert!(shown.err.contains("cut"), "{}", shown.err);
}

#[test]
fn what_goes_wrong_is_said_with_what_to_do() {
    let error = |status, message: &str| refusal(status, &json!({"error": {"message": message}}));
    for (answer, exit, words) in [
        (
            error(400, "`temperature` must be 0 to 2"),
            Exit::Usage,
            "`temperature`",
        ),
        (error(404, "no model named \"m\""), Exit::Usage, "--model"),
        (
            error(429, "too many wait"),
            Exit::Unhealthy,
            "again in a moment",
        ),
        (error(503, "model is loading"), Exit::Unhealthy, "loading"),
        (
            refusal(404, &json!({"detail": "Not Found"})),
            Exit::Unreachable,
            "--url",
        ),
        (
            stream_of(&[
                &said("a"),
                "data: {\"error\": {\"message\": \"worker\\nlost\"}}",
                "data: [DONE]",
            ]),
            Exit::Unhealthy,
            "worker lost",
        ),
        (stream_of(&[&said("a")]), Exit::Unreachable, "broke off"),
        (stream_of(&["data: {oops"]), Exit::Unreachable, "broke off"),
    ] {
        let server = Server::answering(vec![answer]);
        let shown = shown(&args(&server.url), "q\nnever asked\n", false);
        assert_eq!(shown.exit, exit, "{}", shown.err);
        assert!(shown.err.contains(words), "{}", shown.err);
        assert_eq!(server.asked().len(), 1);
    }
    let shown = shown(&args("http://127.0.0.1:1"), "q", false);
    assert_eq!(shown.exit, Exit::Unreachable);
    assert!(shown.err.contains("impetus serve"), "{}", shown.err);
}

#[test]
fn in_a_terminal_a_question_that_failed_is_forgotten_and_the_next_one_asked() {
    let answer = stream_of(&[&said("fine"), &ended("stop"), "data: [DONE]"]);
    let busy = refusal(503, &json!({"error": {"message": "later"}}));
    let server = Server::answering(vec![busy, answer]);
    let shown = shown(&args(&server.url), "first\nsecond\n", true);
    assert_eq!(shown.exit, Exit::Clean);
    let plain = anstream::adapter::strip_str(&shown.out).to_string();
    assert_eq!(plain, "> > fine\n> ");
    assert_ne!(plain, shown.out, "there is colour");
    let messages = &server.asked()[1]["messages"];
    assert_eq!(*messages, json!([{"role": "user", "content": "second"}]));
}
