//! What rules ask for, down to the labels, on a live server: a label that is called
//! otherwise, or that the scrape has taken for itself, would leave a rule without anything to see.

use super::read;
use crate::harness::Setup;
use crate::prometheus::{Prometheus, Scene};
use crate::tools::log_a_prediction;

#[test]
fn every_series_that_a_rule_asks_for_is_there_on_a_live_server() {
    let server = Setup::new()
        .set("supervision.restarts", "1")
        .set("supervision.cool_down", "\"1h\"")
        // A sink that nobody finds has all of a sink's series.
        .set("sink.kind", "\"impetus\"")
        .set("sink.url", "\"http://127.0.0.1:1\"")
        .start_ready();
    server.assert_predicts();
    log_a_prediction(&server);
    // An actor has the series of the state it is in and no other, so one has to be given up.
    assert_eq!(server.fault("metrics", "panic", 2, None).status, 200);
    server.wait_for_actor("metrics", "given up", |actor| actor["state"] == "failed");
    let target = format!("127.0.0.1:{}", server.health_port);
    let prometheus = Prometheus::start(&Scene {
        target: Some(&target),
        ..Scene::default()
    });
    let mut asked = 0;
    for rule in read() {
        for selector in selectors_of(rule["query"].as_str().unwrap()) {
            prometheus.wait_for(&format!("{selector}, for {}", rule["name"]), || {
                !prometheus.samples(&selector, None).is_empty()
            });
            asked += 1;
        }
    }
    assert!(asked > 40, "{asked}");
}

/// Returns each metric of an expression with the labels it is asked for, such as
/// `impetus_model_state{state="ready"}`. What rules record comes from these.
fn selectors_of(expression: &str) -> Vec<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut selectors = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_of_name) {
        let word_on = &rest[start..];
        let end = word_on.find(|c| !is_of_name(c)).unwrap_or(word_on.len());
        let (word, after) = word_on.split_at(end);
        let matchers = after.strip_prefix('{').and_then(|m| m.split_once('}'));
        let is_metric =
            word == "up" || ["impetus_", "process_"].iter().any(|p| word.starts_with(p));
        if is_metric {
            let labels = matchers.map_or(String::new(), |(labels, _)| format!("{{{labels}}}"));
            selectors.push(format!("{word}{labels}"));
        }
        rest = matchers.map_or(after, |(_, rest)| rest);
    }
    selectors
}
