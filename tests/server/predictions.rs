//! `impetus predictions`: what a running server has logged, in a terminal.

use std::process::{Command, Output};

use serde_json::Value;

use crate::database::batch;
use crate::durability::wait_connected;
use crate::harness::{Server, Setup, free_ports};

fn logging() -> Server {
    let server = Setup::without_models().set("role", "\"logging\"").start();
    let server = wait_connected(server);
    let images: Vec<String> = (0..30)
        .map(|n| format!("{}-{n}", if n % 3 == 0 { "bad" } else { "good" }))
        .collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    for device in ["line-1", "line-2"] {
        assert_eq!(
            server.post_json("/log", &batch(device, &images)).status,
            200
        );
    }
    server
}

fn ask(url: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impetus"));
    command.args(["predictions", "--url", url]).args(words);
    command.output().unwrap()
}

/// Returns what was written to stdout by a command that ends well.
fn told(server: &Server, words: &[&str]) -> String {
    let output = ask(&server.url(""), words);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {err}");
    assert!(err.is_empty(), "{words:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn predictions_and_statistics_are_shown_as_asked_for() {
    let server = logging();
    let table = told(&server, &[]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines.len(),
        22,
        "a heading, twenty, and that there are more: {table}"
    );
    assert!(lines[0].starts_with("TIME"), "{table}");
    assert!(
        lines[1].contains("2025-01-01 12:00:00  line-2  surface 1"),
        "{table}"
    );
    assert!(
        !table.contains('\u{1b}'),
        "no colours where there is no terminal"
    );

    let json: Value = serde_json::from_str(&told(
        &server,
        &[
            "--output",
            "json",
            "--device",
            "line-1",
            "--defects",
            "--limit",
            "5",
        ],
    ))
    .unwrap();
    let predictions = json["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 5);
    for prediction in predictions {
        assert_eq!(prediction["edge_device_id"], "line-1");
        assert_eq!(prediction["defect_detected"], true);
    }
    assert_eq!(told(&server, &["--output", "jsonl"]).lines().count(), 60);
    assert_eq!(
        told(&server, &["--output", "csv", "--limit", "7"])
            .lines()
            .count(),
        8
    );
    let none = told(
        &server,
        &["--model", "nobody", "--from", "2025-01-01T00:00:00Z"],
    );
    assert_eq!(none, "no predictions\n");

    let stats = told(&server, &["--stats"]);
    let last = stats.lines().last().unwrap();
    assert!(
        last.starts_with("60 predictions · 20 with a defect (33.3%)"),
        "{stats}"
    );
    let json: Value =
        serde_json::from_str(&told(&server, &["--stats", "--output", "json"])).unwrap();
    assert_eq!(json["total"], 60);
}

#[test]
fn what_cannot_be_shown_is_said_with_what_to_do() {
    let server = logging();
    for (url, words, code, expected) in [
        (
            server.url(""),
            &["--to", "tomorrow"][..],
            64,
            "impetus: `to`: ",
        ),
        (
            server.url(""),
            &["--limit", "1001"],
            64,
            "impetus: --limit is at most 1000 here",
        ),
        (
            server.url(""),
            &["--output", "csv", "--from", "x"],
            64,
            "impetus: `from`: ",
        ),
        (
            server.url(""),
            &["--output", "csv", "--stats"],
            64,
            "impetus: --stats is shown",
        ),
        (server.health_url(""), &[], 2, "impetus: "),
        ("https://127.0.0.1:1".into(), &[], 2, "asks for TLS"),
        (
            format!("127.0.0.1:{}", free_ports()[0]),
            &[],
            2,
            "impetus: no answer from http://",
        ),
        (
            format!("127.0.0.1:{}", free_ports()[0]),
            &["--stats"],
            2,
            "impetus: no answer from",
        ),
        (
            format!("127.0.0.1:{}", free_ports()[0]),
            &["--output", "csv"],
            2,
            "no answer from",
        ),
    ] {
        let output = ask(&url, words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {err}");
        assert!(err.contains(expected), "{words:?}: {err}");
        assert_eq!(err.lines().count(), 2, "a reason and what to do: {err}");
        assert!(output.stdout.is_empty());
    }
}
