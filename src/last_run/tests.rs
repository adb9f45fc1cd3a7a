//! What a run finds of the one before it, and that no disk keeps anybody waiting.
//!
//! Most of these drive the [`Writer`] on the test's own thread, so that what is
//! on the disk is known without waiting; those about waiting use the [`Recorder`].

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::logging::tests::captured;

const LONG: Duration = Duration::from_secs(30);

fn settings(dir: &Path) -> RecorderSettings {
    // Each look at the clock is ten seconds after the one before it.
    let ticks = Mutex::new(0);
    RecorderSettings {
        dir: dir.to_owned(),
        read_within: LONG,
        wall: Arc::new(move || {
            let mut ticks = ticks.lock().unwrap();
            *ticks += 1_u64;
            UNIX_EPOCH + Duration::from_secs(1_735_732_800 + *ticks * 10)
        }),
        disk: Arc::default(),
    }
}

fn begin(dir: &Path) -> (Writer, Option<PreviousRun>) {
    let (found, previous) = bounded(1);
    let writer = Writer::begin(&settings(dir), &found);
    (writer, previous.recv().unwrap())
}

fn state(events: impl IntoIterator<Item = u32>) -> RunState {
    RunState {
        health: Some("healthy".to_owned()),
        events: events.into_iter().map(|n| json!({"n": n})).collect(),
        steps: Vec::new(),
    }
}

#[test]
fn the_first_run_of_all_has_none_before_it() {
    let dir = TempDir::new().unwrap();
    let (_, previous) = begin(&dir.path().join("not/there/yet"));
    assert_eq!(previous, None);
}

#[test]
fn an_orderly_end_is_found_with_its_reason_and_events() {
    let dir = TempDir::new().unwrap();
    let (mut writer, _) = begin(dir.path());
    assert!(writer.write(Some(state([1, 2])), None).is_none());
    let end = writer.write(None, Some("terminated by signal".to_owned()));
    end.expect("the end has an outcome").unwrap();

    let (_, previous) = begin(dir.path());
    insta::assert_json_snapshot!(previous, { ".version" => "[version]" }, @r#"
    {
      "version": "[version]",
      "started_at": "2025-01-01T12:00:10Z",
      "last_seen_at": "2025-01-01T12:00:30Z",
      "ended_at": "2025-01-01T12:00:30Z",
      "reason": "terminated by signal",
      "health": "healthy",
      "events": [
        {
          "n": 1
        },
        {
          "n": 2
        }
      ],
      "steps": []
    }
    "#);
}

#[test]
fn a_run_that_was_killed_is_found_without_an_end() {
    let dir = TempDir::new().unwrap();
    let (mut writer, _) = begin(dir.path());
    writer.write(Some(state([7])), None);
    drop(writer);

    let previous = begin(dir.path()).1.expect("a run before this one");
    assert_eq!(
        previous.reason,
        "ended without a word (killed or power lost)"
    );
    assert_eq!(previous.ended_at, None);
    assert_eq!(previous.events, [json!({"n": 7})]);
    assert!(previous.last_seen_at > previous.started_at);
}

#[test]
fn a_run_that_was_killed_while_it_ended_is_found_with_the_step_it_was_in() {
    let dir = TempDir::new().unwrap();
    let (mut writer, _) = begin(dir.path());
    let mut ending = state([]);
    ending.steps = vec![
        json!({"step": "lame_duck", "outcome": "done", "seconds": 10.0}),
        json!({"step": "draining", "outcome": "running", "seconds": 0.1}),
    ];
    writer.write(Some(ending.clone()), None);
    drop(writer);

    let previous = begin(dir.path()).1.expect("a run before this one");
    assert_eq!(
        previous.reason,
        "ended without a word while draining (killed or power lost)"
    );
    assert_eq!(previous.steps, ending.steps);
}

#[test]
fn a_verdict_is_the_reason_whatever_states_come_after_it() {
    let dir = TempDir::new().unwrap();
    let (mut writer, _) = begin(dir.path());
    writer.judge(Some("heartbeat was given up after 5 restarts".to_owned()));
    writer.write(None, None);
    writer.write(Some(state([])), None);
    drop(writer);

    let previous = begin(dir.path()).1.expect("a run before this one");
    assert_eq!(
        previous.reason,
        "heartbeat was given up after 5 restarts; then ended without a word"
    );
}

#[test]
fn a_verdict_that_was_taken_back_is_not_the_reason_of_a_later_end() {
    let dir = TempDir::new().unwrap();
    let (mut writer, _) = begin(dir.path());
    writer.judge(Some("edge_stalled".to_owned()));
    writer.write(Some(state([])), None);
    writer.judge(None);
    writer.write(Some(state([])), None);
    drop(writer);

    let previous = begin(dir.path()).1.expect("a run before this one");
    assert_eq!(
        previous.reason,
        "ended without a word (killed or power lost)"
    );
}

#[test]
fn of_many_events_the_newest_are_kept() {
    let dir = TempDir::new().unwrap();
    let (mut writer, _) = begin(dir.path());
    writer.write(Some(state(0..1000)), None);
    let previous = begin(dir.path()).1.expect("a run before this one");
    assert_eq!(previous.events.len(), EVENTS_KEPT);
    assert_eq!(previous.events.last(), Some(&json!({"n": 999})));
}

#[test]
fn events_of_any_size_leave_a_file_that_can_be_read_again() {
    let dir = TempDir::new().unwrap();
    let (mut writer, _) = begin(dir.path());
    let mut huge = state([]);
    huge.events = vec![json!("x".repeat(100_000)); 50];
    writer.write(Some(huge), None);
    let previous = begin(dir.path()).1.expect("a run before this one");
    assert_eq!(previous.events.len(), 2);
}

#[test]
fn a_file_that_cannot_be_understood_is_set_aside_and_said_so() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("last-run.json"), b"{\"version\": \"0.1").unwrap();
    let (log, (_, previous)) = captured(|| begin(dir.path()));
    assert_eq!(previous, None);
    assert_eq!(
        fs::read(dir.path().join("last-run.json.corrupt")).unwrap(),
        b"{\"version\": \"0.1"
    );
    assert!(log.contains("record of the last run set aside"), "{log}");
}

#[test]
fn a_crash_in_the_middle_of_writing_leaves_the_old_record() {
    let dir = TempDir::new().unwrap();
    begin(dir.path());
    fs::write(dir.path().join("last-run.json.new"), b"{\"vers").unwrap();
    assert!(begin(dir.path()).1.is_some());
}

#[test]
fn a_disk_that_fails_is_complained_of_once_and_praised_once() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    // A file where the folder should be refuses root as well.
    fs::write(&data, b"").unwrap();
    let (log, ()) = captured(|| {
        let (mut writer, _) = begin(&data);
        for _ in 0..3 {
            writer.write(Some(state([])), None);
        }
        fs::remove_file(&data).unwrap();
        for _ in 0..3 {
            writer.write(Some(state([])), None);
        }
    });
    assert_eq!(
        log.matches("record of this run not written").count(),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches("record of this run written again").count(),
        1,
        "{log}"
    );
}

#[test]
fn finishing_waits_until_the_end_is_on_the_disk() {
    let dir = TempDir::new().unwrap();
    let (recorder, previous) = Recorder::start(settings(dir.path()));
    assert_eq!(previous, None);
    recorder.note(state([1]));
    recorder.note(state([1, 2]));
    recorder.finish("drained", LONG).unwrap();

    let (recorder, previous) = Recorder::start(settings(dir.path()));
    let previous = previous.expect("a run before this one");
    assert_eq!(previous.reason, "drained");
    assert_eq!(previous.events.len(), 2);
    // Dropped without an end, as by a server that returns early.
    drop(recorder);
}

#[test]
fn a_folder_that_cannot_be_written_fails_the_end_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    fs::write(&data, b"").unwrap();
    let (recorder, previous) = Recorder::start(settings(&data));
    assert_eq!(previous, None);
    recorder.note(state([]));
    let failed = recorder.finish("drained", LONG);
    assert!(matches!(failed, Err(NotRecorded::Failed(_))), "{failed:?}");
    let again = recorder.finish("drained", LONG);
    assert!(matches!(again, Err(NotRecorded::NoWriter)), "{again:?}");
}

/// A pipe that nobody writes to hangs whoever opens it, like a network disk whose server is gone.
#[cfg(unix)]
#[test]
fn a_disk_that_hangs_delays_neither_start_nor_notes_nor_end_beyond_their_deadlines() {
    let dir = TempDir::new().unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(dir.path().join("last-run.json"))
        .status();
    assert!(made.unwrap().success());
    let (recorder, previous) = Recorder::start(RecorderSettings {
        read_within: Duration::from_millis(20),
        ..settings(dir.path())
    });
    assert_eq!(previous, None);
    for n in 0..10_000 {
        recorder.note(state([n]));
    }
    let ended = recorder.finish("drained", Duration::from_millis(20));
    assert!(matches!(ended, Err(NotRecorded::Timeout(_))), "{ended:?}");
}
