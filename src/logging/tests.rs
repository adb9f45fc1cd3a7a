//! Whose line it is, in both forms.

use std::panic;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::{info, info_span, warn};

use super::*;

/// Takes what is written, in place of stderr.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what the work logs, one JSON object per line, and its result.
pub(crate) fn captured<T>(work: impl FnOnce() -> T) -> (String, T) {
    let mut result = None;
    let log = logged(LogFormat::Json, "trace", || result = Some(work()));
    (log, result.expect("the work has been done"))
}

fn logged(format: LogFormat, directives: &str, work: impl FnOnce()) -> String {
    let sink = Sink::default();
    let settings = LogSettings::of_worker(directives, format);
    let writer = sink.clone();
    let subscriber = subscriber(&settings, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = sink.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn one_object(work: impl FnOnce()) -> Value {
    let text = logged(LogFormat::Json, "trace", work);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_json_line_about_an_actor_has_its_name_and_generation_as_columns() {
    let line = one_object(|| {
        let _actor = info_span!("actor", id = "db_writer", generation = 3_u64).entered();
        warn!(rows = 32, path = %"data/x.db", "commit failed");
    });
    insta::assert_json_snapshot!(line, { ".timestamp" => "[time]" }, @r#"
    {
      "timestamp": "[time]",
      "level": "WARN",
      "message": "commit failed",
      "generation": 3,
      "actor": "db_writer",
      "rows": 32,
      "path": "data/x.db",
      "target": "impetus::logging::tests"
    }
    "#);
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
}

#[test]
fn no_json_line_has_a_key_twice() {
    let text = logged(LogFormat::Json, "trace", || {
        let _actor = info_span!("actor", id = "a", generation = 1).entered();
        let _model = info_span!("model", id = "m", level = 7, generation = 9).entered();
        info!(
            name = "event",
            target = "x",
            timestamp = 1,
            generation = 2,
            "said"
        );
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    for key in line.as_object().unwrap().keys() {
        assert_eq!(
            text.matches(&format!("\"{key}\":")).count(),
            1,
            "{key}: {text}"
        );
    }
    assert_eq!(line["actor"], "a");
    assert_eq!(line["model"], "m");
    assert_eq!(line["name"], "event");
    assert_eq!(line["generation"], 2);
    assert_eq!(line["field_level"], 7);
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_human_line_about_an_actor_has_its_name_and_generation() {
    let text = logged(LogFormat::Human, "info", || {
        let _actor = info_span!("actor", id = "db_writer", generation = 3_u64).entered();
        info!(rows = 32, "committed");
    });
    // The test may be run from a terminal, and is then in colour.
    let text = anstream::adapter::strip_str(&text).to_string();
    assert!(
        text.contains("actor{id=\"db_writer\" generation=3}"),
        "{text}"
    );
    assert!(text.contains("committed rows=32"), "{text}");
    assert!(text.split(' ').next().unwrap().ends_with('Z'), "{text}");
}

#[test]
fn a_message_of_several_lines_is_one_json_line() {
    let line = one_object(|| info!("first\nsecond \"quoted\" \u{1}"));
    assert_eq!(line["message"], "first\nsecond \"quoted\" \u{1}");
}

#[test]
fn a_panic_is_a_line_that_carries_the_actor_it_happened_in() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(log_panic));
    let text = logged(LogFormat::Json, "trace", || {
        let _actor = info_span!("actor", id = "metrics", generation = 2).entered();
        let _ = panic::catch_unwind(|| panic!("no figures"));
    });
    panic::set_hook(before);
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["panic"], "no figures");
    assert_eq!(line["actor"], "metrics");
    assert_eq!(line["generation"], 2);
    assert!(
        line["location"].as_str().unwrap().contains("tests.rs"),
        "{line}"
    );
}

#[test]
fn directives_choose_what_is_logged() {
    let text = logged(LogFormat::Json, "warn,chatty=debug", || {
        info!("quiet");
        info!(target: "chatty", "heard");
        warn!("heard too");
    });
    assert_eq!(text.matches("heard").count(), 2, "{text}");
    assert!(!text.contains("quiet"), "{text}");
}

#[test]
fn a_bare_info_leaves_out_the_small_talk_of_the_http_library() {
    let talk = || {
        info!(target: "actix_server::builder", "starting 2 workers");
        warn!(target: "actix_server::accept", "too many open files");
    };
    let bare = logged(LogFormat::Json, "INFO", talk);
    assert!(
        !bare.contains("starting") && bare.contains("too many"),
        "{bare}"
    );
    assert!(logged(LogFormat::Json, "info,x=debug", talk).contains("starting"));
}

#[test]
fn directives_that_cannot_be_read_are_an_error() {
    let settings = LogSettings::of_worker("a=b=c", LogFormat::Json);
    let error = subscriber(&settings, io::sink).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("a=b=c"), "{error}");
}
