//! What is not answered, and how that is said.

use super::*;
use crate::contract::ask;

/// Returns an error in OpenAI's form.
#[track_caller]
fn error(answer: &Answer) -> Value {
    let body = answer.json();
    let error = &body["error"];
    for (name, is_right) in [
        ("message", error["message"].is_string()),
        ("type", error["type"].is_string()),
        (
            "param",
            error["param"].is_string() || error["param"].is_null(),
        ),
        ("code", error["code"].is_string()),
    ] {
        assert!(is_right, "{name} of {body}");
    }
    assert!(answer.headers.contains_key("x-request-id"), "{answer:?}");
    error.clone()
}

#[test]
fn every_refusal_has_openais_form_and_names_what_is_wrong() {
    let server = Setup::new()
        .with_chat_model()
        .set("http.max_body", "\"64KiB\"")
        .start_ready();
    server.wait_for("the chat model", || {
        server.get("/v1/models/tiny-chat").status == 200
    });
    let hi = json!([{"role": "user", "content": "hi"}]);
    let long = "word ".repeat(5000);
    for (path, body, status, code, param) in [
        (
            CHAT,
            json!({"messages": hi, "temperature": 3}),
            400,
            "invalid_value",
            Some("temperature"),
        ),
        (
            CHAT,
            json!({"messages": hi, "max_tokens": "many"}),
            400,
            "invalid_type",
            Some("max_tokens"),
        ),
        (
            CHAT,
            json!({}),
            400,
            "missing_required_parameter",
            Some("messages"),
        ),
        (
            CHAT,
            json!({"messages": hi, "model": "nobody"}),
            404,
            "model_not_found",
            Some("model"),
        ),
        (
            CHAT,
            json!({"messages": hi, "model": "surface"}),
            400,
            "wrong_kind_of_model",
            Some("model"),
        ),
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": long}]}),
            400,
            "context_length_exceeded",
            Some("messages"),
        ),
        (
            COMPLETIONS,
            json!({"prompt": long}),
            400,
            "context_length_exceeded",
            Some("prompt"),
        ),
        (
            COMPLETIONS,
            json!({"prompt": [1_000_000]}),
            400,
            "invalid_value",
            Some("prompt"),
        ),
        (
            COMPLETIONS,
            json!({"prompt": "a", "suffix": "b"}),
            400,
            "unsupported_value",
            Some("suffix"),
        ),
        (
            COMPLETIONS,
            json!({"prompt": "a", "regex": "("}),
            400,
            "invalid_request",
            Some("regex"),
        ),
    ] {
        for streamed in [false, true] {
            let mut body = body.clone();
            body["stream"] = streamed.into();
            let answer = server.post_json(path, &body);
            assert_eq!(answer.status, status, "{}", answer.text());
            let error = error(&answer);
            assert_eq!(error["code"], code, "{error}");
            assert_eq!(error["param"].as_str(), param, "{error}");
            assert_eq!(error["type"], "invalid_request_error");
        }
    }
    let answer = server.post_json(COMPLETIONS, &json!({"prompt": long}));
    let message = error(&answer)["message"].as_str().unwrap().to_owned();
    let numbers = message
        .split(|c: char| !c.is_ascii_digit())
        .filter(|word| word.len() > 2);
    assert_eq!(numbers.count(), 2, "{message}");
}

#[test]
fn what_goes_wrong_before_a_request_is_read_has_openais_form_as_well() {
    let server = setup().set("http.max_body", "\"1KiB\"").start_ready();
    let answer = server.post(CHAT, "application/json", b"{\"messages\": [\n oops");
    assert_eq!(answer.status, 400);
    let wrong = error(&answer);
    assert_eq!(wrong["code"], "invalid_json");
    assert!(
        wrong["message"].as_str().unwrap().contains("line 2"),
        "{wrong}"
    );
    let answer = server.post(CHAT, "application/json", &[b' '; 2000]);
    assert_eq!(
        (answer.status, error(&answer)["code"].as_str()),
        (413, Some("too_large"))
    );
    for path in [CHAT, COMPLETIONS, "/openai/v1/completions"] {
        let answer = ask("GET", &server.url(path), &[]);
        assert_eq!(answer.status, 405);
        assert_eq!(answer.headers["allow"], "POST");
        assert_eq!(error(&answer)["code"], "method_not_allowed");
    }
}

#[test]
fn a_full_queue_is_429_and_says_when_to_ask_again() {
    let server = setup()
        .set("generation.slots", "1")
        .set("models.queue", "1")
        .start_ready();
    let mut running = Reading::begin(&server, CHAT, &endless(&json!({"stream": true})));
    running.until("content");
    let _waiting = Reading::begin(&server, CHAT, &endless(&json!({"stream": true})));
    wait_for_value(&server, WAITING, 1.0);
    let answer = server.post_json(CHAT, &greedy(&json!({"stream": true})));
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    let error = error(&answer);
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("rate_limit_error"), &json!("queue_full"))
    );
}

#[test]
fn without_a_model_it_is_503_and_says_when_to_ask_again() {
    let server = Setup::without_models()
        .set("health.require_model", "false")
        .start();
    let answer = server.post_json(CHAT, &greedy(&json!({})));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(error(&answer)["type"], "server_error");
}
