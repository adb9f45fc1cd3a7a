//! The two documents this server was asked for with, line by line: what they call, what they show
//! as an answer, what they measure.

use serde_json::{Value, json};

use crate::contract::sample;
use crate::database::batch;
use crate::harness::{Answer, Server, Setup};

/// What the first document calls, all of it on port 8080.
const KUBERNETES: [&str; 6] = [
    "/api/health/live",
    "/api/health/ready",
    "/api/health",
    "/api/health/status",
    "/api/health/metrics",
    "/api/models/list",
];

/// What the second document calls on each service's port.
const SERVICE: [&str; 3] = ["/health", "/ready", "/metrics"];

/// What the first document's example of `/api/health/metrics` shows.
const METRICS: [&str; 8] = [
    "impetus_health_status",
    "impetus_consecutive_health_failures",
    "impetus_cpu_usage_percent",
    "impetus_memory_usage_percent",
    "impetus_models_loaded",
    "impetus_requests_total",
    "impetus_tokens_generated_total",
    "impetus_average_latency_ms",
];

/// Insists that `ours` has every field of `theirs`, of the same type; more is allowed.
fn assert_has_all_of(theirs: &Value, ours: &Value) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(all)) => {
            for (key, value) in theirs {
                let ours = all
                    .get(key)
                    .unwrap_or_else(|| panic!("no {key:?} in {ours:#}"));
                assert_has_all_of(value, ours);
            }
        }
        (theirs, ours) => {
            let same = std::mem::discriminant(theirs) == std::mem::discriminant(ours);
            assert!(same, "{ours} is not of the type of {theirs}");
        }
    }
}

/// Asks as `curl` does, on the main port and on the health port's mirror.
fn curl(server: &Server, path: &str, status: u16) -> Value {
    let [main, health] = server.get_both(path);
    assert_eq!(main.status, status, "{path}: {}", main.text());
    assert_eq!(health.status, status, "{path}: {}", health.text());
    main.json()
}

fn metrics(server: &Server) -> String {
    let answer: Answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.headers["content-type"].starts_with("text/plain"));
    answer.text()
}

#[test]
fn every_call_of_the_first_document_is_answered_with_200_by_a_ready_server() {
    let server = Setup::new().start_ready();
    server.wait_for("a full score", || server.status()["score"] == 100);
    for path in KUBERNETES {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let time = "2025-01-01T12:00:00Z";
    let live = json!({
        "alive": true, "timestamp": time, "uptime_seconds": 3600.5, "last_heartbeat": time,
    });
    assert_has_all_of(&live, &curl(&server, "/api/health/live", 200));
    let ready = curl(&server, "/api/health/ready", 200);
    let example = json!({"ready": true, "timestamp": time, "message": "Ready"});
    assert_has_all_of(&example, &ready);
    let checks = json!({"memory_available": true, "models_loaded": true, "mlx_available": true});
    assert_has_all_of(&checks, &ready["checks"]);
    for check in checks.as_object().unwrap().keys() {
        assert_eq!(ready["checks"][check], true, "{check}: {ready}");
    }
    assert_eq!(
        (&ready["ready"], &ready["message"]),
        (&json!(true), &json!("Ready"))
    );
    // "General health status with heartbeat monitoring", and "full health breakdown with scores".
    let health = json!({"status": "healthy", "last_heartbeat": time, "heartbeat_age_seconds": 0.5});
    assert_has_all_of(&health, &curl(&server, "/api/health", 200));
    let status = curl(&server, "/api/health/status", 200);
    assert_has_all_of(&health, &status);
    assert!(status["score"].as_u64().unwrap() >= 80, "{status:#}");
    let mut timestamps = ["timestamp", "last_heartbeat"].map(|key| status[key].as_str().unwrap());
    assert!(
        timestamps.iter_mut().all(|time| time.ends_with('Z')),
        "{timestamps:?}"
    );
}

#[test]
fn a_server_that_is_not_ready_answers_as_the_first_document_shows() {
    let server = Setup::without_models().start();
    server.wait_for("the first look at the folder", || {
        server
            .get("/api/health/ready")
            .text()
            .contains("there is no model")
    });
    let ready = curl(&server, "/api/health/ready", 503);
    assert_eq!(
        (&ready["ready"], &ready["message"]),
        (&json!(false), &json!("Not ready"))
    );
    assert_eq!(ready["checks"]["models_loaded"], false);
    assert_eq!(ready["checks"]["memory_available"], true);
    assert!(ready["checks"]["mlx_available"].is_boolean());
    // Not ready is no reason for a restart.
    assert_eq!(curl(&server, "/api/health/live", 200)["alive"], true);
    // "Check if models are loaded": the list says why there is none to check.
    assert_eq!(server.get("/api/models/list").json()["models"], json!([]));
}

#[test]
fn every_metric_of_the_first_document_is_one_line_with_a_number() {
    let server = Setup::new().start_ready();
    for path in ["/api/health/metrics", "/metrics", "/api/metrics"] {
        for answer in server.get_both(path) {
            assert_eq!(answer.status, 200);
            for name in METRICS {
                let value = sample(&answer.text(), name);
                assert!(
                    value.is_some_and(f64::is_finite),
                    "{name} at {path}: {value:?}"
                );
            }
        }
    }
    let before = metrics(&server);
    assert_eq!(sample(&before, "impetus_health_status"), Some(1.0));
    assert_eq!(
        sample(&before, "impetus_consecutive_health_failures"),
        Some(0.0)
    );
    assert_eq!(sample(&before, "impetus_models_loaded"), Some(1.0));
    assert_eq!(sample(&before, "impetus_requests_total"), Some(0.0));
    let memory = sample(&before, "impetus_memory_usage_percent").unwrap();
    assert!((0.0..=100.0).contains(&memory), "{memory}");

    server.assert_predicts();
    let after = metrics(&server);
    assert_eq!(
        sample(&after, "impetus_requests_total"),
        Some(1.0),
        "probes are no requests"
    );
    assert!(sample(&after, "impetus_average_latency_ms").unwrap() > 0.0);
}

#[test]
fn every_call_of_the_second_document_to_the_inference_service_is_answered() {
    let server = Setup::new().set("role", "\"inference\"").start_ready();
    for path in SERVICE {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let health = curl(&server, "/health", 200);
    let example = json!({
        "status": "healthy", "service": "inference-service", "timestamp": "…",
        "uptime_seconds": 1.5,
    });
    assert_has_all_of(&example, &health);
    assert_eq!(health["service"], "inference-service");

    server.assert_predicts();
    let ready = curl(&server, "/ready", 200);
    let example = json!({
        "status": "ready", "model_loaded": true, "mlflow_accessible": false,
        "predictions_served": 1, "errors": 0, "last_prediction": "…", "timestamp": "…",
    });
    assert_has_all_of(&example, &ready);
    assert_eq!(
        (&ready["status"], &ready["predictions_served"]),
        (&json!("ready"), &json!(1))
    );

    let text = metrics(&server);
    let labels = "{model=\"surface\",stage=\"none\"}";
    let expected = [
        ("inference_model_loaded", 1.0),
        ("inference_mlflow_accessible", 0.0),
        ("inference_predictions_total", 1.0),
        ("inference_errors_total", 0.0),
    ];
    for (name, value) in expected {
        assert_eq!(
            sample(&text, &format!("{name}{labels}")),
            Some(value),
            "{name}"
        );
    }
}

#[test]
fn every_call_of_the_second_document_to_the_logging_service_is_answered() {
    let server = Setup::without_models()
        .set("role", "\"logging\"")
        .start_ready();
    server.wait_for("the database", || server.get("/ready").status == 200);
    for path in SERVICE {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let health = curl(&server, "/health", 200);
    let example = json!({
        "status": "healthy", "service": "logging-service", "timestamp": "…",
        "uptime_seconds": 1.5,
    });
    assert_has_all_of(&example, &health);
    assert_eq!(health["service"], "logging-service");

    let logged = server.post_json("/log", &batch("seeds", &["bad", "good"]));
    assert_eq!(logged.status, 200, "{}", logged.text());
    let ready = curl(&server, "/ready", 200);
    let example = json!({
        "status": "ready", "db_initialized": true, "predictions_logged": 2,
        "defects_detected": 1, "errors": 0, "last_prediction": "…", "timestamp": "…",
    });
    assert_has_all_of(&example, &ready);

    let text = metrics(&server);
    let expected = [
        ("logging_db_initialized", 1.0),
        ("logging_predictions_total", 2.0),
        ("logging_defects_total", 1.0),
        ("logging_errors_total", 0.0),
    ];
    for (name, value) in expected {
        let series = format!("{name}{{service=\"logging-service\"}}");
        assert_eq!(sample(&text, &series), Some(value), "{name}");
    }
}

#[test]
fn a_service_that_is_not_ready_says_why_as_the_second_document_asks() {
    let server = Setup::without_models().set("role", "\"inference\"").start();
    server.wait_for("the first look at the folder", || {
        server.get("/ready").text().contains("there is no model")
    });
    let ready = curl(&server, "/ready", 503);
    assert_eq!(
        (&ready["status"], &ready["model_loaded"]),
        (&json!("not_ready"), &json!(false))
    );
    assert!(
        ready["reason"].as_str().unwrap().starts_with("no model"),
        "{ready}"
    );
    assert_eq!(curl(&server, "/health", 200)["status"], "healthy");
    // Metrics are for the time when things go wrong.
    assert!(metrics(&server).contains("impetus_models_loaded 0"));
}

#[test]
fn a_probe_that_is_told_no_leaves_a_warning_with_the_word_health_and_one_told_yes_leaves_none() {
    let server = Setup::without_models().start();
    server.wait_for("the first look at the folder", || {
        server
            .get_health("/api/health/ready")
            .text()
            .contains("there is no model")
    });
    assert_eq!(server.get("/api/health/live").status, 200);
    assert_eq!(server.get("/ready").status, 503);
    server.wait_for_log("health probe of /ready said no");
    let log = server.log();
    // `kubectl logs … | grep -i health` is what the document has people do.
    let found: Vec<Value> = log
        .lines()
        .filter(|line| line.to_lowercase().contains("health"))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let refused = |line: &&Value| {
        let reason = line["reason"].as_str().unwrap_or_default();
        line["level"] == "WARN" && reason.contains("there is no model")
    };
    let of = |probe: &'static str| found.iter().filter(move |line| line["probe"] == probe);
    assert!(of("ready").any(|line| refused(&line)), "{log}");
    let of_ready = |line: &&Value| line["message"] == "health probe of /ready said no";
    assert!(
        found.iter().filter(of_ready).any(|line| refused(&line)),
        "{log}"
    );
    assert_eq!(
        of("live").count(),
        0,
        "a probe that is told yes is nothing to write about"
    );
}
