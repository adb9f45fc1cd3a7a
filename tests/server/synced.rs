//! Acknowledged means synced: the kernel is watched as it is asked to.
//!
//! A kill loses nothing that was written, synced or not; only a loss of power does, which no test
//! can have. So the system calls are looked at: between the write of a prediction to the write-ahead
//! log and the answer there is a sync of that file, and the answer begins after the sync has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::database::batch;
use crate::harness::{Answer, Server, Setup};
use crate::predict::numbers_of_a_sample;
use crate::v2::post;

/// The calls that write and sync. Answers go out by one of the last four.
const CALLS: &str = "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg";
const WAL: &str = "predictions.db-wal";

#[test]
fn a_batch_is_synced_before_it_is_acknowledged() {
    let (server, calls) = traced(Setup::without_models().set("role", "\"logging\""));
    let body = batch("line-1", &["synced-image"]).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", "synced-answer"),
    ];
    let answer = post(&server, "/log", &headers, body.as_bytes());
    assert_synced_before(&server, &calls, &answer, "synced-image");
}

#[test]
fn a_prediction_of_a_durable_model_is_synced_before_it_is_answered() {
    let setup = Setup::new().set("predlog.durable", "true");
    let (server, calls) = traced(setup.set("models.workers", "1"));
    let (_, numbers) = numbers_of_a_sample();
    let body = json!({"data": numbers}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", "synced-answer"),
    ];
    let answer = post(&server, "/predict", &headers, body.as_bytes());
    assert_synced_before(&server, &calls, &answer, "synced-answer");
}

/// Starts a server whose calls are written to a file, and waits until it is ready and connected.
fn traced(setup: Setup) -> (Server, PathBuf) {
    assert_can_trace();
    let calls = setup.path().join("calls");
    let file = calls.to_str().unwrap().to_owned();
    // With -D the server is the child that is ended, and not the one that watches it. With -y files
    // have their names, with -s a page of the database is shown whole.
    let words = [
        "strace", "-D", "-f", "-q", "-y", "-s", "8192", "-e", CALLS, "-o", &file,
    ];
    let server = setup
        // What is synced meanwhile is synced for this prediction.
        .set("predlog.check_every", "\"1h\"")
        .under(&words)
        .start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    (server, calls)
}

fn assert_can_trace() {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    let what_to_do = "run scripts/install-strace.sh, and allow ptrace: --cap-add SYS_PTRACE for a \
        container, kernel.yama.ptrace_scope of 1 or less";
    let tried = tried.unwrap_or_else(|error| panic!("strace: {error}; {what_to_do}"));
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.success(), "{said}; {what_to_do}");
}

/// Insists that what `written` tells was written, then synced, and then answered.
#[track_caller]
fn assert_synced_before(server: &Server, calls: &Path, answer: &Answer, written: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let is_answer = |line: &str| line.contains("HTTP/1.1 200") && line.contains("synced-answer");
    let trace = || fs::read_to_string(calls).unwrap();
    server.wait_for("the trace", || trace().lines().any(is_answer));
    let trace = trace();
    let lines: Vec<&str> = trace.lines().collect();
    let is_write = |line: &&str| line.contains("pwrite64(") && line.contains(WAL);
    let write = lines
        .iter()
        .position(|line| is_write(line) && line.contains(written));
    let write = write.expect("the prediction is written to the write-ahead log");
    let answer = lines.iter().position(|line| is_answer(line)).unwrap();
    let synced = syncs(&lines)
        .into_iter()
        .find(|(began, ended)| *began > write && *ended < answer);
    assert!(
        synced.is_some(),
        "written at line {write}, answered at line {answer}, and no sync in between: {:#?}",
        syncs(&lines)
    );
}

/// Returns in which lines syncs of the write-ahead log begin and end well. One that is overtaken by
/// calls of other threads has a line for each.
fn syncs(lines: &[&str]) -> Vec<(usize, usize)> {
    let begins = |line: &str| line.contains("sync(") && line.contains(WAL);
    let ends = |line: &str| line.trim_end().ends_with("= 0");
    let thread = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let end_of = |began: usize| {
        if ends(lines[began]) {
            return Some(began);
        }
        let resumed =
            |line: &&str| line.contains("sync resumed>") && thread(line) == thread(lines[began]);
        let ended = began + lines[began..].iter().position(resumed)?;
        ends(lines[ended]).then_some(ended)
    };
    let all = (0..lines.len()).filter(|number| begins(lines[*number]));
    all.filter_map(|began| Some((began, end_of(began)?)))
        .collect()
}
