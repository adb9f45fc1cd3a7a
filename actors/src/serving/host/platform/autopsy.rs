//! What `/proc` says about a process that is about to be killed.
//!
//! Read while it still lives, because nothing of it can be had afterwards. Each file may be missing
//! or forbidden (kernel stacks are root's); what cannot be read is left out, never guessed.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// Threads that are described; a worker has a handful.
const MOST_THREADS: usize = 32;

/// Lines of `/proc/PID/status` that are kept, by their names there.
const STATUS: [&str; 12] = [
    "State",
    "VmPeak",
    "VmSize",
    "VmHWM",
    "VmRSS",
    "RssAnon",
    "RssShmem",
    "VmData",
    "VmSwap",
    "Threads",
    "voluntary_ctxt_switches",
    "nonvoluntary_ctxt_switches",
];

/// Returns what can be read about a process. Blocks on `/proc`.
pub(in crate::serving) fn autopsy(pid: u32) -> Value {
    let process = Path::new("/proc").join(pid.to_string());
    let mut found = Map::new();
    let status = read(&process.join("status")).unwrap_or_default();
    for name in STATUS {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        if let Some(value) = line {
            found.insert(name.to_owned(), json!(value.trim()));
        }
    }
    for name in ["wchan", "syscall", "oom_score", "limits"] {
        insert(&mut found, name, read(&process.join(name)));
    }
    let mut threads: Vec<_> = fs::read_dir(process.join("task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| task.path())
        .collect();
    threads.sort();
    threads.truncate(MOST_THREADS);
    let threads: Vec<Value> = threads.iter().map(|task| thread(task)).collect();
    found.insert("threads".to_owned(), json!(threads));
    Value::Object(found)
}

fn thread(task: &Path) -> Value {
    let mut found = Map::new();
    if let Some(tid) = task.file_name().and_then(|tid| tid.to_str()) {
        found.insert("tid".to_owned(), json!(tid));
    }
    insert(&mut found, "name", read(&task.join("comm")));
    if let Some(stat) = read(&task.join("stat")) {
        // The name in brackets may hold anything; the fields count from behind it.
        let fields: Vec<&str> = stat
            .rsplit_once(") ")
            .map(|(_, fields)| fields.split(' ').collect())
            .unwrap_or_default();
        insert(&mut found, "state", fields.first().map(|s| (*s).to_owned()));
        insert(
            &mut found,
            "user_ticks",
            fields.get(11).map(|s| (*s).to_owned()),
        );
        insert(
            &mut found,
            "system_ticks",
            fields.get(12).map(|s| (*s).to_owned()),
        );
    }
    for name in ["wchan", "syscall", "stack"] {
        insert(&mut found, name, read(&task.join(name)));
    }
    Value::Object(found)
}

fn insert(found: &mut Map<String, Value>, name: &str, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        found.insert(name.to_owned(), json!(value));
    }
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file)
        .ok()
        .map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_described_with_its_threads_and_memory() {
        let found = autopsy(std::process::id());
        assert!(found["VmRSS"].as_str().unwrap().ends_with("kB"), "{found}");
        let threads = found["threads"].as_array().unwrap();
        assert!(
            threads.iter().any(|thread| thread["state"] == "R"),
            "{found}"
        );
    }

    #[test]
    fn of_a_process_that_is_not_there_nothing_is_made_up() {
        // Beyond the largest process id that Linux gives.
        let found = autopsy(u32::MAX);
        assert_eq!(found, json!({"threads": []}));
    }
}
