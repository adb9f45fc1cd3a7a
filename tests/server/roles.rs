//! One binary, two services: each role answers for itself and for nothing else.

use serde_json::{Value, json};

use crate::database::batch;
use crate::harness::{Server, Setup, load};

const OF_INFERENCE: [&str; 6] = [
    "status",
    "model_loaded",
    "mlflow_accessible",
    "predictions_served",
    "errors",
    "last_prediction",
];
const OF_LOGGING: [&str; 6] = [
    "status",
    "db_initialized",
    "predictions_logged",
    "defects_detected",
    "errors",
    "last_prediction",
];

#[test]
fn the_inference_service_predicts_and_logs_nothing() {
    let server = Setup::new().set("role", "\"inference\"").start_ready();
    assert_healthy(&server, "inference-service");
    assert_eq!(server.get("/ready").json()["last_prediction"], Value::Null);
    server.assert_predicts();
    assert_eq!(
        server.post_json("/log", &batch("roles", &["image"])).status,
        404
    );
    assert_eq!(server.get("/stats").status, 404);
    let ready = ready(&server, &OF_INFERENCE);
    assert_eq!(
        (&ready["model_loaded"], &ready["predictions_served"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        (&ready["mlflow_accessible"], &ready["registry"]),
        (&json!(false), &json!("not_configured"))
    );
    assert!(
        ready["last_prediction"].as_str().unwrap().ends_with('Z'),
        "{ready}"
    );
    assert!(ready.get("db_initialized").is_none(), "{ready}");
    let metrics = server.get("/metrics").text();
    for name in [
        "inference_model_loaded",
        "inference_mlflow_accessible",
        "inference_predictions_total",
        "inference_errors_total",
    ] {
        assert!(
            metrics.contains(&format!("{name}{{model=\"surface\",stage=\"none\"}}")),
            "{name}: {metrics}"
        );
    }
    assert!(!metrics.contains("logging_"), "{metrics}");
    assert!(server.actor("db_writer").is_none());
}

#[test]
fn the_logging_service_logs_and_predicts_nothing() {
    let server = Setup::without_models()
        .set("role", "\"logging\"")
        .start_ready();
    assert_healthy(&server, "logging-service");
    server.wait_for("the database", || server.get("/ready").status == 200);
    let logged = server.post_json("/log", &batch("roles", &["bad", "good"]));
    assert_eq!(logged.status, 200, "{}", logged.text());
    let sample = &load::requests()[0];
    assert_eq!(
        server
            .post("/predict", sample.content_type, &sample.body)
            .status,
        404
    );
    let ready = ready(&server, &OF_LOGGING);
    assert_eq!(
        (&ready["db_initialized"], &ready["predictions_logged"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        (&ready["defects_detected"], &ready["errors"]),
        (&json!(1), &json!(0))
    );
    assert!(
        ready["last_prediction"].as_str().unwrap().ends_with('Z'),
        "{ready}"
    );
    assert!(ready.get("model_loaded").is_none(), "{ready}");
    let metrics = server.get("/metrics").text();
    for (name, value) in [
        ("db_initialized", 1),
        ("predictions_total", 2),
        ("defects_total", 1),
        ("errors_total", 0),
    ] {
        let line = format!("logging_{name}{{service=\"logging-service\"}} {value}");
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    assert!(!metrics.contains("inference_"), "{metrics}");
    assert!(server.workers().is_empty());
    assert!(server.actor("model_loader").is_none());
}

#[test]
fn both_roles_in_one_process_answer_with_both_sets_of_fields() {
    let server = Setup::new().start_ready();
    assert_healthy(&server, "impetus");
    server.wait_for("both", || server.get("/ready").status == 200);
    server.assert_predicts();
    assert_eq!(
        server.post_json("/log", &batch("roles", &["image"])).status,
        200
    );
    // What was logged is there with the answer, what was predicted a moment later.
    server.wait_for("both predictions in the log", || {
        server.get("/ready").json()["predictions_logged"] == 2
    });
    let ready_body = ready(&server, &OF_INFERENCE);
    ready(&server, &OF_LOGGING);
    assert_eq!(ready_body["predictions_served"], 1);
}

fn assert_healthy(server: &Server, service: &str) {
    for answer in server.get_both("/health") {
        assert_eq!(answer.status, 200);
        let body = answer.json();
        assert_eq!(
            (&body["status"], &body["service"]),
            (&json!("healthy"), &json!(service))
        );
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'), "{body}");
        assert!(body["uptime_seconds"].as_f64().unwrap() > 0.0, "{body}");
    }
}

/// Returns the body of `/ready`, which must have all of these fields.
fn ready(server: &Server, fields: &[&str]) -> Value {
    let answer = server.get("/ready");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    for field in fields.iter().chain(&["timestamp"]) {
        assert!(body.get(field).is_some(), "{field} is missing: {body}");
    }
    assert_eq!(body["status"], "ready");
    body
}
