//! What the picture looks like, and that a strange report costs only what is strange in it.

use serde_json::{Value, json};

use super::events::History;
use super::{EVENTS, Report, render};
use crate::cli::fetch::{STATUS, endpoint};

const HEALTHY: &str = include_str!("fixtures/healthy.json");
const FAILING: &str = include_str!("fixtures/failing.json");

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn drawn(report: &Value, width: Option<usize>) -> String {
    let report = Report::read(report).expect("a status");
    anstream::adapter::strip_str(&render(&report, width)).to_string()
}

#[test]
fn a_healthy_server_is_a_calm_picture() {
    insta::assert_snapshot!(drawn(&parsed(HEALTHY), Some(150)));
}

#[test]
fn a_failing_server_says_what_is_wrong_where_it_is_wrong() {
    insta::assert_snapshot!(drawn(&parsed(FAILING), Some(150)));
}

#[test]
fn a_narrow_terminal_gets_every_reason_on_a_line_of_its_own() {
    insta::assert_snapshot!(drawn(&parsed(FAILING), Some(80)));
}

#[test]
fn a_server_that_ends_shows_its_steps_and_the_one_before_it_only_what_went_wrong() {
    let report = json!({
        "status": "healthy",
        "timestamp": "2025-01-01T12:00:00Z",
        "phase": "draining",
        "lifecycle": {"phase": "draining", "left_seconds": 27.5, "steps": [
            {"step": "lame_duck", "outcome": "done", "seconds": 10.0, "within_seconds": 10.0},
            {"step": "draining", "outcome": "running", "seconds": 2.5, "within_seconds": 30.0}
        ]},
        "previous_run": {"reason": "SIGTERM received", "ended_at": "2025-01-01T11:59:00Z", "steps": [
            {"step": "lame_duck", "outcome": "skipped", "seconds": 0.0, "detail": "not alive"},
            {"step": "draining", "outcome": "overran", "seconds": 30.0, "detail": "3 requests are unanswered"}
        ]}
    });
    insta::assert_snapshot!(drawn(&report, None), @r"
    previous run ended 1m 0s ago: SIGTERM received
      draining overran after 30s (3 requests are unanswered)
    ! end: lame duck done after 10s
    ! end: draining running for 2.5s, 27s left
    ● healthy · draining
    ");
}

#[test]
fn without_a_terminal_nothing_is_cut() {
    let message = "x".repeat(500);
    let mut report = parsed(FAILING);
    report["models"][0]["reason"] = json!(message);
    assert!(drawn(&report, None).contains(&message));
    assert!(!drawn(&report, Some(100)).contains(&message));
}

#[test]
fn colours_go_by_state() {
    let report = Report::read(&parsed(FAILING)).unwrap();
    let text = render(&report, None);
    assert!(text.contains("\u{1b}[31m✖ failed"), "{text}");
    assert!(text.contains("\u{1b}[33m◐ unknown"), "{text}");
    assert!(text.contains("\u{1b}[32m● running"), "{text}");
}

#[test]
fn names_of_any_width_leave_the_columns_aligned() {
    let actors = json!([
        {"name": "r", "state": "running", "generation": 1},
        {"name": "a-worker-with-a-rather-long-name/17", "parent": "r", "state": "failed", "generation": 12345},
        {"name": "größe", "parent": "r", "state": "backing_off", "generation": 2}
    ]);
    insta::assert_snapshot!(
        drawn(&json!({"status": "degraded", "actors": actors}), Some(100)),
        @r"
    ACTOR                                   STATE            GEN
    r                                       ● running          1
    ├─ a-worker-with-a-rather-long-name/17  ✖ failed       12345
    └─ größe                                ◐ backing off      2

    ◐ degraded
    "
    );
}

#[test]
fn what_a_newer_server_says_otherwise_costs_nothing_else() {
    let report = json!({
        "status": "healthy",
        "score": "excellent",
        "components": [1, 2],
        "actors": [
            {"name": "root", "restarts": "none", "mailbox": 7, "children": ["heartbeat"], "later": {}},
            {"name": "heartbeat", "parent": "root", "state": "running", "progress": {}},
            "not an actor"
        ],
        "models": null,
        "previous_run": "fine"
    });
    insta::assert_snapshot!(drawn(&report, None), @r"
    ACTOR         STATE
    root          ◐ unknown
    └─ heartbeat  ● running

    ● healthy
    ");
}

#[test]
fn an_answer_without_a_status_is_no_report() {
    for answer in [json!({}), json!([]), json!("healthy"), json!({"status": 1})] {
        assert!(Report::read(&answer).is_none(), "{answer}");
    }
}

#[test]
fn actors_that_are_each_others_parents_end_the_drawing() {
    let actors = json!([
        {"name": "a", "parent": "b"},
        {"name": "b", "parent": "a"},
        {"name": "c", "parent": "c"},
        {"name": "d", "children": [{"name": "d", "children": [{"name": "e"}]}]}
    ]);
    let text = drawn(&json!({"status": "healthy", "actors": actors}), None);
    assert!(text.contains("└─ e"), "{text}");
}

#[test]
fn text_from_the_server_cannot_steer_the_terminal() {
    let report = json!({
        "status": "unhealthy\u{7}",
        "reasons": ["\u{1b}[2Jgone\r\nforged line"],
        "actors": [{"name": "a\u{1b}]0;title\u{7}", "state": "\u{1b}[31mfailed", "note": "x\u{8}y"}],
        "models": [{"name": "m\u{1b}[H", "reason": "\u{9b}31m", "version": "\u{1b}c"}]
    });
    let report = Report::read(&report).unwrap();
    let text = anstream::adapter::strip_str(&render(&report, None)).to_string();
    let raw = render(&report, None);
    assert!(text.contains("! [2Jgone forged line"), "{text}");
    let escapes = raw.matches('\u{1b}').count();
    let styles = raw.matches("\u{1b}[").count();
    assert_eq!(escapes, styles, "{raw:?}");
    assert!(!raw.contains(['\u{7}', '\u{8}', '\u{9b}', '\r']), "{raw:?}");
}

#[test]
fn an_address_may_be_given_in_any_of_its_usual_forms() {
    let whole = "http://127.0.0.1:8081/api/health/status";
    for base in [
        "127.0.0.1:8081",
        "http://127.0.0.1:8081",
        "http://127.0.0.1:8081/",
        whole,
    ] {
        assert_eq!(endpoint(base, STATUS), whole, "{base}");
        let events = "http://127.0.0.1:8081/api/health/events";
        assert_eq!(endpoint(base, EVENTS), events, "{base}");
    }
}

const EVENTS_JSON: &str = include_str!("fixtures/events.json");

fn told(history: &Value, width: Option<usize>) -> String {
    let history = History::read(history).expect("a history");
    anstream::adapter::strip_str(&history.render(width)).to_string()
}

#[test]
fn a_history_is_one_event_a_line_with_its_time_and_its_age() {
    insta::assert_snapshot!(told(&parsed(EVENTS_JSON), Some(130)));
}

#[test]
fn a_narrow_terminal_gets_the_history_without_its_dates() {
    insta::assert_snapshot!(told(&parsed(EVENTS_JSON), Some(80)));
}

#[test]
fn the_colours_of_events_go_by_kind() {
    let text = History::read(&parsed(EVENTS_JSON)).unwrap().render(None);
    assert!(text.contains("\u{1b}[31mfailed"), "{text}");
    assert!(text.contains("\u{1b}[33mbacking off"), "{text}");
    assert!(text.contains("\u{1b}[32mrestarted"), "{text}");
}

#[test]
fn what_is_strange_in_a_history_costs_only_itself() {
    let history = json!({
        "timestamp": 7,
        "events": [
            {"seq": "x", "at": "yesterday", "actor": 1, "generation": "two", "kind": "later_kind"},
            "no event",
            {"actor": "a\u{1b}[2J", "message": "first\nsecond"}
        ]
    });
    insta::assert_snapshot!(told(&history, None), @r"
    TIME       ACTOR  EVENT       MESSAGE
    yesterday         later kind
               a [2J              first second
    ");
    assert!(History::read(&json!({"error": "there is no actor named \"x\""})).is_none());
    assert_eq!(told(&json!({"events": []}), None), "no events\n");
}

#[test]
fn a_switch_that_an_operator_has_thrown_is_said_next_to_the_verdict() {
    let mut report = parsed(HEALTHY);
    report["healing"] = json!({"paused": true, "resumes_in_seconds": 583.2});
    report["drained"] = json!(true);
    let text = drawn(&report, Some(150));
    let end: Vec<&str> = text.lines().rev().take(3).collect();
    assert_eq!(
        end[1..],
        [
            "! drained by an operator: not ready, serving on",
            "! healing is paused (for another 9m 43s): what falls is not started again",
        ],
        "{text}"
    );
    report["healing"] = json!({"paused": false, "resumes_in_seconds": null});
    report["drained"] = json!(false);
    assert_eq!(
        drawn(&report, Some(150)),
        drawn(&parsed(HEALTHY), Some(150))
    );
}
