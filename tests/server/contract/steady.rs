//! Takes out of an answer what is different each time, so that the rest can be a snapshot.

use serde_json::Value;

/// Fields that say when, how long, how much and by which process. What they hold is replaced by
/// its kind, so that a snapshot still shows a number that turned into a text.
const VOLATILE: [&str; 39] = [
    "age_seconds",
    "ages_seconds",
    "at",
    "base_bytes",
    "beats",
    "bytes_done",
    "bytes_total",
    "commits",
    "data_limit_bytes",
    "depth",
    "ended_at",
    "free_bytes",
    "hard_limit_bytes",
    "heartbeat_age_seconds",
    "last_heartbeat",
    "last_load_ms",
    "last_prediction",
    "last_seen_at",
    "last_status_at",
    "limit_bytes",
    "memory_bytes",
    "percent",
    "pid",
    "resident_bytes",
    "runtime",
    "seconds",
    "self_checks",
    "server_bytes",
    "server_resident_bytes",
    "soft_limit_bytes",
    "started_at",
    "status_age_seconds",
    "timestamp",
    "uptime_seconds",
    "usable_bytes",
    "used_bytes",
    "standing_still",
    "within_seconds",
    "workers_bytes",
];

/// Returns the value with everything volatile replaced, and `dir` wherever it is named.
pub fn steady(value: &Value, dir: &str) -> Value {
    match value {
        Value::Object(map) => {
            let replaced = map.iter().map(|(key, value)| {
                let steadied = match key.as_str() {
                    // Whether an actor works on something at this very moment is its own affair.
                    "progress" => "[progress]".into(),
                    // The machine's load, and nothing of ours.
                    "cpu" => "[component]".into(),
                    // The build's, at the top; a model's version is a part of its answer.
                    "version" if map.contains_key("environment") => "[version]".into(),
                    // Whether a status or the table of events is said at all is what matters.
                    "runtime" if value.is_object() => steady(value, dir),
                    key if VOLATILE.contains(&key) => kind(value),
                    _ => steady(value, dir),
                };
                (key.clone(), steadied)
            });
            Value::Object(replaced.collect())
        }
        Value::Array(list) => list.iter().map(|value| steady(value, dir)).collect(),
        Value::String(text) => text.replace(dir, "[dir]").into(),
        other => other.clone(),
    }
}

fn kind(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(text) if text.len() > 12 && text.ends_with('Z') => "[time]".into(),
        Value::String(_) => "[text]".into(),
        Value::Number(_) => "[number]".into(),
        Value::Array(list) => list.iter().map(kind).collect(),
        other => other.clone(),
    }
}

/// Returns metrics with the values replaced; the names, types, helps and labels stay. Left out are
/// what only some systems say of a process, and all buckets but one of each histogram.
pub fn steady_metrics(text: &str) -> String {
    let is_everywhere = |line: &&str| !line.contains("process_");
    let is_telling = |line: &&str| !line.contains("_bucket{") || line.contains("le=\"0.1\"");
    let lines = text.lines().filter(is_everywhere).filter(is_telling);
    let lines = lines.map(|line| match line.rsplit_once(' ') {
        Some((series, value)) if !line.starts_with('#') => {
            assert!(value.parse::<f64>().is_ok(), "{line:?} ends in no number");
            let series = match series.split_once("_info{") {
                Some((name, _)) => format!("{name}_info{{[build]}}"),
                // An actor is in one state, and no other is there.
                None if series.starts_with("impetus_actor_state{") => {
                    let (actor, _) = series.split_once(",state=").unwrap();
                    format!("{actor},[state]}}")
                }
                None => series.to_owned(),
            };
            format!("{series} [value]\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}
