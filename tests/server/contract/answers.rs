//! What every answer has, whatever it answers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ask;
use crate::harness::{Answer, Server, Setup};

const HEALTH: [&str; 5] = [
    "/api/health/live",
    "/api/health/ready",
    "/api/health/startup",
    "/api/health",
    "/api/health/status",
];
const SERVICES: [&str; 2] = ["/health", "/ready"];
const METRICS: [&str; 3] = ["/metrics", "/api/metrics", "/api/health/metrics"];

fn urls(server: &Server, path: &str) -> [String; 2] {
    [server.url(path), server.health_url(path)]
}

fn id(answer: &Answer) -> &str {
    let id = answer.headers.get("x-request-id");
    id.unwrap_or_else(|| panic!("no x-request-id: {answer:?}"))
}

#[test]
fn a_request_s_id_is_taken_over_and_one_without_gets_one_of_its_own() {
    let server = Setup::new().start_ready();
    let mut seen = BTreeSet::new();
    // Whether it is a yes, a no or nothing at all.
    let paths = HEALTH.iter().chain(&SERVICES).chain(&METRICS);
    for path in paths.chain(&["/nowhere", "/api/health/ready/nothing"]) {
        for url in urls(&server, path) {
            let given = ask("GET", &url, &[("x-request-id", "probe-1:a.b/c")]);
            assert_eq!(id(&given), "probe-1:a.b/c", "{url}");
            for headers in [
                &[][..],
                &[("x-request-id", "a b")],
                &[("x-request-id", "<script>")],
            ] {
                let answer = ask("GET", &url, headers);
                assert_eq!(id(&answer).len(), 36, "{url}: {:?}", id(&answer));
                assert!(seen.insert(id(&answer).to_owned()), "an id was given twice");
            }
        }
    }
    let too_long = "x".repeat(129);
    let answer = ask(
        "GET",
        &server.url("/health"),
        &[("x-request-id", &too_long)],
    );
    assert_eq!(id(&answer).len(), 36);
}

#[test]
fn what_is_refused_carries_the_request_s_id_as_well() {
    let server = Setup::without_models().start();
    server.wait_for("the first look at the folder", || {
        server
            .get("/api/health/ready")
            .text()
            .contains("there is no model")
    });
    let mine = [
        ("x-request-id", "mine"),
        ("content-type", "application/json"),
    ];
    let refused = [
        ("GET", "/api/health/ready", 503),
        ("GET", "/ready", 503),
        ("POST", "/predict", 400),
        ("GET", "/predict", 405),
        ("POST", "/log", 400),
    ];
    for (method, path, status) in refused {
        let answer = ask(method, &server.url(path), &mine);
        assert_eq!(
            (answer.status, id(&answer)),
            (status, "mine"),
            "{path}: {}",
            answer.text()
        );
    }
}

#[test]
fn every_answer_says_what_it_is() {
    let server = Setup::new().start_ready();
    for path in HEALTH.iter().chain(&SERVICES) {
        for url in urls(&server, path) {
            assert_eq!(
                ask("GET", &url, &[]).headers["content-type"],
                "application/json",
                "{url}"
            );
        }
    }
    for path in METRICS {
        for url in urls(&server, path) {
            metrics_are_as_asked_for(&url);
        }
    }
}

fn metrics_are_as_asked_for(url: &str) {
    let of_prometheus = "application/openmetrics-text;version=1.0.0,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for accept in ["*/*", "text/plain", "text/html", "application/json"] {
        let answer = ask("GET", url, &[("accept", accept)]);
        let kind = &answer.headers["content-type"];
        assert_eq!(answer.status, 200);
        assert!(
            kind.starts_with("text/plain; version=0.0.4"),
            "{url}: {accept}: {kind}"
        );
        assert!(!answer.text().contains("# EOF"));
    }
    for accept in ["application/openmetrics-text", of_prometheus] {
        let answer = ask("GET", url, &[("accept", accept)]);
        let kind = &answer.headers["content-type"];
        let expected = "application/openmetrics-text; version=1.0.0";
        assert!(kind.starts_with(expected), "{url}: {accept}: {kind}");
        assert!(answer.text().ends_with("\n# EOF\n"));
    }
}

#[test]
fn the_health_port_gives_the_answers_of_the_main_port() {
    let server = Setup::new().start_ready();
    // Nothing may come to stand between one answer and its mirror.
    server.wait_for("everything to be known", || {
        let status = server.status();
        let measured = |component: &str| status["components"][component]["detail"].clone();
        status["score"] == 100
            && server.get("/ready").status == 200
            && measured("cpu")["percent"].is_number()
            && measured("memory")["percent"].is_number()
            && status["models"][0]["memory_bytes"] != 0
    });
    for path in HEALTH.iter().chain(&SERVICES) {
        let [main, health] = server.get_both(path);
        assert_eq!(main.status, health.status, "{path}");
        assert_eq!(shape(&main.json()), shape(&health.json()), "{path}");
    }
    for path in METRICS {
        let [main, health] = server.get_both(path).map(|answer| names(&answer.text()));
        assert_eq!(main, health, "{path}");
        assert!(main.len() > 10, "{path}: {main:?}");
    }
}

#[test]
fn the_health_port_lists_the_models_and_does_no_work() {
    let server = Setup::new().start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    for path in ["/stats", "/predictions"] {
        let [main, health] = server.get_both(path);
        assert_eq!((main.status, health.status), (200, 404), "{path}");
    }
    assert_eq!(ask("POST", &server.health_url("/predict"), &[]).status, 404);
    for answer in server.get_both("/api/models/list") {
        assert_eq!(answer.json()["models"][0]["name"], "surface");
    }
}

/// Every path through an object, with what stands at its end.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    walk(value, &format!("{path}.{key}"), found);
                }
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    walk(value, &format!("{path}[{index}]"), found);
                }
            }
            // One moment an actor works on something, and the next it does not.
            _ if path.contains(".progress") => {}
            // The same yes and no, and numbers where there are numbers.
            Value::Bool(is) => drop(found.insert(format!("{path}={is}"))),
            Value::Number(_) => drop(found.insert(format!("{path}: number"))),
            _ => drop(found.insert(path.to_owned())),
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

/// The series of a scrape without their values.
fn names(metrics: &str) -> Vec<String> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}
