//! The pages that alerts point to: one for each, and nothing in them that does not exist.

use std::collections::BTreeSet;
use std::fs;

use super::{Alert, NOTHING, alerts, unknown_in, vocabulary};
use crate::harness::repo;
use crate::prometheus::{Prometheus, Scene};

/// Returns the name of every page with its text.
fn pages() -> Vec<(String, String)> {
    let entries = fs::read_dir(repo().join("docs/runbooks")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn every_alert_has_a_page_and_a_row_and_every_page_an_alert() {
    let (alerts, pages) = (alerts(), pages());
    let index = fs::read_to_string(repo().join("docs/alerts.md")).unwrap();
    for alert in &alerts {
        let Alert { name, severity, .. } = alert;
        let waits = alert.waits();
        let row = format!("| [{name}](runbooks/{name}.md) | {severity} | {waits} | ");
        assert!(index.contains(&row), "docs/alerts.md lacks {row}");
        let page = pages.iter().find(|(page, _)| page == name);
        let (_, page) = page.unwrap_or_else(|| panic!("no page docs/runbooks/{name}.md"));
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with('#')).collect();
        let expected = [
            &format!("# {name}"),
            "## Meaning",
            "## Impact",
            "## Diagnosis",
            "## Mitigation",
        ];
        assert_eq!(headings, expected, "{name}");
    }
    let alerts: BTreeSet<String> = alerts.into_iter().map(|alert| alert.name).collect();
    let pages: BTreeSet<String> = pages.into_iter().map(|(page, _)| page).collect();
    assert_eq!(pages, alerts);
}

#[test]
fn every_expression_on_a_page_is_one_about_metrics_that_exist() {
    let prometheus = Prometheus::start(&Scene::default());
    let vocabulary = vocabulary();
    let mut tried = 0;
    for (page, text) in pages() {
        let blocks = text.split("```promql\n").skip(1);
        let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
        for expression in lines {
            // What is no expression is refused.
            prometheus.samples(expression, None);
            assert_eq!(unknown_in(expression, &vocabulary), NOTHING, "{page}");
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn every_key_and_every_page_that_a_page_names_exists() {
    let keys = fs::read_to_string(repo().join("docs/configuration.md")).unwrap();
    for (page, text) in pages() {
        for word in text.split('`').skip(1).step_by(2) {
            let section = word.split_once('.').map_or("", |(section, _)| section);
            let is_key = keys.contains(&format!("\n## `[{section}]`\n"))
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || "._".contains(c));
            let known = !is_key || keys.contains(&format!("\n### `{word}`\n"));
            assert!(known, "{page} names {word}, which is no key");
        }
        for target in text.split("](").skip(1) {
            let target = target.split([')', '#']).next().unwrap();
            let file = repo().join("docs/runbooks").join(target);
            assert!(file.exists(), "{page} points to {target}");
        }
    }
}
