//! The history of every actor: over HTTP, and in a terminal.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Server, Setup, binary};

/// Long enough for nothing to be lost in a test, and then some.
const ALL: &str = "limit=1000";

fn events(server: &Server, query: &str) -> Value {
    let answer = server.get_health(&format!("/api/health/events?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns the events of one actor, as pairs of kind and message.
pub fn history(server: &Server, actor: &str) -> Vec<(String, String)> {
    let body = events(server, &format!("actor={actor}&{ALL}"));
    let events = body["events"].as_array().unwrap();
    assert!(
        events.iter().all(|event| event["actor"] == actor),
        "{body:#}"
    );
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let pair = |event| (text(event, "kind"), text(event, "message"));
    events.iter().map(pair).collect()
}

/// Waits until the history of an actor tells of this.
pub fn wait_for_event(server: &Server, actor: &str, kind: &str, message: &str) {
    server.wait_for(&format!("{kind} {message:?} of {actor}"), || {
        let mut told = history(server, actor).into_iter();
        told.any(|event| event.0 == kind && event.1.contains(message))
    });
}

fn numbers(body: &Value) -> Vec<u64> {
    let events = body["events"].as_array().unwrap();
    let numbers = events.iter().map(|event| event["seq"].as_u64().unwrap());
    numbers.collect()
}

#[test]
fn a_panic_in_each_actor_is_in_its_own_history_and_in_nobody_elses() {
    let server = Setup::new().start_ready();
    server.wait_all_workers();
    let actors = [
        "heartbeat",
        "metrics",
        "db_writer",
        "worker:surface/0",
        "model:surface",
        "models",
        "model_loader",
    ];
    for name in actors {
        assert_eq!(server.fault(name, "panic", 1, None).status, 200);
        wait_for_event(&server, name, "exited", "panic: injected panic");
        wait_for_event(&server, name, "restarted", "generation");
    }
    server.wait_ready();
    for name in actors {
        let told = history(&server, name);
        let panics = told
            .iter()
            .filter(|event| event.1.contains("injected panic"));
        assert_eq!(panics.count(), 1, "{name}: {told:#?}");
        assert_eq!(told[0].0, "started", "{name}: {told:#?}");
    }
}

#[test]
fn an_actor_that_falls_all_the_time_pushes_out_nothing_but_its_own_events() {
    let server = Setup::without_models()
        .set("health.heartbeat_interval", "\"20ms\"")
        .set("supervision.restarts", "1000")
        .set("supervision.backoff_min", "\"1ms\"")
        .set("supervision.backoff_max", "\"1ms\"")
        .start();
    server.wait_for("the tree", || {
        server.get_health("/api/health/startup").status == 200
    });
    let before = history(&server, "db_writer");
    assert_eq!(before[0].0, "started");

    server.fault("metrics", "panic", 60, None);
    server.wait_for_actor("metrics", "after its sixtieth fall", |actor| {
        actor["generation"] == 61 && actor["state"] == "running"
    });

    let chatty = history(&server, "metrics");
    assert_eq!(chatty.len(), 64, "{chatty:#?}");
    assert!(chatty.iter().all(|event| event.0 != "started"));
    assert_eq!(history(&server, "db_writer"), before);
}

#[test]
fn a_reader_follows_what_happens_from_one_answer_to_the_next() {
    let server = Setup::without_models().start();
    server.wait_for("the tree", || {
        server.get_health("/api/health/startup").status == 200
    });
    let [main, health] = server.get_both("/api/health/events?limit=1");
    assert_eq!((main.status, health.status), (200, 200));
    let body = health.json();
    assert_eq!(numbers(&body).len(), 1);
    let since = body["next_since"].as_u64().unwrap();

    server.fault("metrics", "panic", 1, None);
    wait_for_event(&server, "metrics", "restarted", "generation 2 runs");

    let news = events(&server, &format!("since={since}&{ALL}"));
    let found = numbers(&news);
    assert!(found.is_sorted() && found[0] == since + 1, "{news:#}");
    let kinds: Vec<&Value> = news["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["kind"])
        .collect();
    assert!(kinds.contains(&&"exited".into()), "{news:#}");
    let since = news["next_since"].as_u64().unwrap();
    assert_eq!(since, *found.last().unwrap());
    let nothing = events(&server, &format!("actor=metrics&since={since}"));
    assert_eq!(
        (numbers(&nothing).len(), &nothing["next_since"]),
        (0, &since.into())
    );
}

#[test]
fn a_question_that_cannot_be_answered_is_refused_with_the_reason() {
    let server = Setup::without_models().start();
    server.wait_for("the tree", || {
        server.get_health("/api/health/startup").status == 200
    });
    for query in [
        "limit=0",
        "limit=1001",
        "limit=many",
        "since=-1",
        "kind=exited",
    ] {
        for answer in server.get_both(&format!("/api/health/events?{query}")) {
            assert_eq!(answer.status, 400, "{query}: {}", answer.text());
            assert_eq!(answer.json()["code"], "bad_query");
        }
    }
    let unknown = server.get_health("/api/health/events?actor=nobody");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["code"], "unknown_actor");
}

fn impetus_status(server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    let url = format!("127.0.0.1:{}", server.health_port);
    command.args(["status", "--url", &url]).args(args);
    command.output().unwrap()
}

/// Returns what `impetus status` prints about a server.
pub fn printed(server: &Server, args: &[&str]) -> String {
    let output = impetus_status(server, args);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_history_can_be_read_in_a_terminal() {
    let server = Setup::without_models().start();
    server.fault("metrics", "panic", 1, None);
    wait_for_event(&server, "metrics", "restarted", "generation 2 runs");

    let all = printed(&server, &["--events"]);
    assert!(
        all.contains("heartbeat") && all.contains("injected panic"),
        "{all}"
    );
    let of_one = printed(&server, &["--events", "--actor", "metrics", "--limit", "2"]);
    let lines: Vec<&str> = of_one.lines().collect();
    assert_eq!(lines.len(), 3, "{of_one}");
    assert!(
        lines[1].contains("exited") && lines[1].contains("injected panic"),
        "{of_one}"
    );
    assert!(lines[2].contains("restarted"), "{of_one}");
    let raw = printed(&server, &["--events", "--output", "json"]);
    let raw: Value = serde_json::from_str(&raw).unwrap();
    assert!(raw["next_since"].as_u64() > Some(0), "{raw:#}");

    let unknown = impetus_status(&server, &["--events", "--actor", "nobody"]);
    assert_eq!(unknown.status.code(), Some(64));
    let told = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        told.contains("there is no actor named \"nobody\""),
        "{told}"
    );
    assert_eq!(
        impetus_status(&server, &["--actor", "metrics"])
            .status
            .code(),
        Some(64)
    );
}
