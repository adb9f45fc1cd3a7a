//! The cases in this folder, which `promtool test rules` runs: every alert has one in which it
//! fires and one in which it nearly does.

use std::collections::BTreeSet;
use std::fs;

use super::alerts;
use crate::harness::repo;
use crate::tools::must_succeed;

const FOLDER: &str = "tests/monitoring/rules";

/// Returns the files with cases.
fn files() -> Vec<String> {
    let entries = fs::read_dir(repo().join(FOLDER)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".yml")).collect()
}

#[test]
fn alerts_fire_when_they_must_and_only_then() {
    let files = files();
    let mut args = vec!["test", "rules"];
    args.extend(files.iter().map(String::as_str));
    must_succeed("promtool", &args, FOLDER);
}

#[test]
fn every_alert_is_tried_on_both_sides() {
    let mut fires = BTreeSet::new();
    let mut is_quiet = BTreeSet::new();
    for file in files() {
        let text = fs::read_to_string(repo().join(FOLDER).join(file)).unwrap();
        let mut alert = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("alertname: ") {
                alert = name;
            } else if line == "exp_alerts: []" {
                is_quiet.insert(alert.to_owned());
            } else if let Some(severity) = line.strip_prefix("severity: ") {
                fires.insert((alert.to_owned(), severity.to_owned()));
            }
        }
    }
    for alert in alerts() {
        assert!(
            is_quiet.contains(&alert.name),
            "{} has no near miss",
            alert.name
        );
        let tried = (alert.name, alert.severity);
        assert!(fires.contains(&tried), "nothing makes {tried:?} fire");
    }
}
