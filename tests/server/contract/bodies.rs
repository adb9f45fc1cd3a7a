//! Every body as the real server gives it: whole snapshots, less what differs each time.

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::Value;

use super::ask;
use super::steady::{steady, steady_metrics};
use crate::harness::corrupt::with_a_corrupt_model;
use crate::harness::scrape::wait_until_complete;
use crate::harness::{Answer, Server, Setup};

/// A setup in which nothing depends on the machine it runs on.
fn anywhere(setup: Setup) -> Setup {
    setup.set("http.workers", "2").set("models.workers", "1")
}

/// Starts a server and waits until there is nothing it could still be waiting for.
fn settled(setup: Setup) -> Server {
    let server = anywhere(setup).start_ready();
    server.wait_for("a full score and both services", || {
        server.get("/ready").status == 200 && server.status()["score"] == 100
    });
    wait_until_complete(&server);
    server
}

fn body(server: &Server, answer: &Answer) -> Value {
    steady(&answer.json(), server.dir.path().to_str().unwrap())
}

#[test]
fn a_healthy_server_of_both_services() {
    let server = settled(Setup::new());
    for (name, path) in [
        ("live", "/api/health/live"),
        ("ready", "/api/health/ready"),
        ("startup", "/api/health/startup"),
        ("health", "/api/health"),
        ("models_list", "/api/models/list"),
        ("service_health_both", "/health"),
        ("service_ready_both", "/ready"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_json_snapshot!(name, body(&server, &answer));
    }
    // One that came from a moment without a hiccup.
    let mut status = None;
    server.wait_for("a calm moment", || {
        status = Some(server.get("/api/health/status")).filter(|s| s.json()["score"] == 100);
        status.is_some()
    });
    assert_json_snapshot!("status", body(&server, &status.unwrap()));
}

#[test]
fn a_server_with_a_corrupt_model() {
    let server = anywhere(with_a_corrupt_model("\"1h\"")).start();
    let failed = |list: &Value| list["models"][0]["state"] == "failed";
    server.wait_for("the model to fail and the database to answer", || {
        failed(&server.get("/api/models/list").json())
            && server.get("/api/health/startup").status == 200
            && server.get("/ready").json()["db_initialized"] == true
            && server.status()["components"]["database"]["score"] == 100
    });
    for (name, path, status) in [
        ("live_corrupt_model", "/api/health/live", 200),
        ("ready_corrupt_model", "/api/health/ready", 503),
        ("health_corrupt_model", "/api/health", 503),
        ("models_list_corrupt_model", "/api/models/list", 200),
        ("service_health_corrupt_model", "/health", 200),
        ("service_ready_corrupt_model", "/ready", 503),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let mut body = in_other_words(&body(&server, &answer));
        if let Some(model) = body.pointer_mut("/models/0") {
            // It is tried again and again, and may be met while it is.
            model["workers"] = "[workers]".into();
        }
        assert_json_snapshot!(name, body);
    }
    let components = server.status()["components"].clone();
    let components = steady(&components, server.dir.path().to_str().unwrap());
    assert_json_snapshot!("components_corrupt_model", in_other_words(&components));
}

#[test]
fn a_server_that_was_given_up() {
    let setup = Setup::new()
        .set("supervision.restarts", "1")
        .set("supervision.within", "\"1h\"");
    let server = settled(setup.set("supervision.backoff_max", "\"100ms\""));
    server.fault("heartbeat", "panic", 1000, None);
    server.wait_for("the verdict", || {
        server.get_health("/api/health/live").status == 503
    });
    for (name, path, status) in [
        ("live_given_up", "/api/health/live", 503),
        ("service_health_given_up", "/health", 500),
    ] {
        let [main, health] = server.get_both(path);
        assert_eq!((main.status, health.status), (status, status), "{path}");
        assert_json_snapshot!(name, body(&server, &main));
    }
}

#[test]
fn the_inference_service_alone() {
    let server = settled(Setup::new().set("role", "\"inference\""));
    assert_json_snapshot!(
        "service_health_inference",
        body(&server, &server.get("/health"))
    );
    assert_json_snapshot!(
        "service_ready_inference",
        body(&server, &server.get("/ready"))
    );
    assert_snapshot!(
        "metrics_inference",
        steady_metrics(&server.get("/metrics").text())
    );
}

#[test]
fn the_logging_service_alone() {
    let server = settled(Setup::without_models().set("role", "\"logging\""));
    assert_json_snapshot!(
        "service_health_logging",
        body(&server, &server.get("/health"))
    );
    assert_json_snapshot!(
        "service_ready_logging",
        body(&server, &server.get("/ready"))
    );
    assert_snapshot!(
        "metrics_logging",
        steady_metrics(&server.get("/metrics").text())
    );
}

#[test]
fn a_logging_service_without_a_place_for_its_database() {
    let setup = Setup::without_models().set("role", "\"logging\"");
    std::fs::write(
        setup.path().join("data"),
        b"a file where a folder should be",
    )
    .unwrap();
    let server = anywhere(setup).start_ready();
    server.wait_for("the database to be tried", || {
        !server.get("/ready").text().contains("not been opened")
    });
    let answer = server.get("/ready");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_json_snapshot!("service_ready_no_database", body(&server, &answer));
    // It can be told so, and the database is no reason for a restart.
    assert_eq!(server.get("/health").status, 200);
    let status = server.status();
    assert_eq!(
        (&status["status"], &status["score"]),
        (&"degraded".into(), &60.into())
    );
}

#[test]
fn the_metrics_of_both_services_in_both_formats() {
    let server = settled(Setup::new());
    assert_snapshot!("metrics", steady_metrics(&server.get("/metrics").text()));
    let accept = [("accept", "application/openmetrics-text")];
    let open = ask("GET", &server.url("/metrics"), &accept);
    assert_snapshot!("metrics_openmetrics", steady_metrics(&open.text()));
}

#[test]
fn what_the_last_run_left_is_told_by_the_next() {
    let mut first = settled(Setup::new());
    let dir = std::sync::Arc::clone(&first.dir);
    first.signal(rustix::process::Signal::TERM);
    assert!(first.wait_exit().success());
    let second = settled(Setup::in_dir(dir));
    let mut previous = steady(&second.status()["previous_run"], "/nowhere");
    previous["version"] = "[version]".into();
    // Which events there were is the business of those who wrote them.
    let events = previous["events"].as_array().unwrap();
    assert!(
        events.iter().any(|event| event["kind"] == "started"),
        "{events:?}"
    );
    previous["events"] = "[events]".into();
    // As it was while everything was being stopped.
    assert!(previous["health"].is_string());
    previous["health"] = "[status]".into();
    assert_json_snapshot!("previous_run", previous);
}

/// Takes out the words in which the runtime says that a model is none: they are not ours.
fn in_other_words(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("model.onnx") => {
            let (before, _) = text.split_once("model.onnx").unwrap();
            format!("{before}model.onnx [words]").into()
        }
        Value::Array(list) => list.iter().map(in_other_words).collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(k, v)| (k.clone(), in_other_words(v)))
                .collect(),
        ),
        other => other.clone(),
    }
}
