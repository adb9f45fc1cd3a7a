//! Whether what a model says changes: `/stats` and metrics say so.

use serde_json::Value;

use crate::database::batch;
use crate::durability::wait_connected;
use crate::harness::database::change;
use crate::harness::scrape::Scrape;
use crate::harness::{Server, Setup};

const CLASSES: &str = "impetus_prediction_drift_psi{model=\"surface\",of=\"classes\"}";
const CONFIDENCE: &str = "impetus_prediction_drift_psi{model=\"surface\",of=\"confidence\"}";

fn log(server: &Server, images: std::ops::Range<usize>) {
    let images: Vec<String> = images.map(|n| format!("good-{n}")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    assert_eq!(
        server.post_json("/log", &batch("line", &images)).status,
        200
    );
}

fn drift(server: &Server) -> Value {
    server.get("/stats").json()["drift"].clone()
}

/// Half an hour ago the model was as sure as now, and spoke of other classes half of the time.
#[test]
fn a_changed_mix_of_classes_is_told() {
    let setup = Setup::without_models()
        .set("role", "\"logging\"")
        .set("drift.enabled", "true")
        .set("drift.window", "\"20m\"")
        .set("drift.reference", "\"1h\"")
        .set("drift.min_predictions", "50")
        .set("drift.every", "\"100ms\"");
    let server = wait_connected(setup.start());
    server.wait_for("a comparison", || drift(&server).is_object());
    log(&server, 0..49);
    change(
        &server.dir.path().join("data/predictions.db"),
        &[
            "INSERT INTO drift_classes VALUES \
             ('surface', unixepoch() / 600 - 3, 'scratch', 100), \
             ('surface', unixepoch() / 600 - 3, 'dent', 100)",
            "INSERT INTO drift_confidences VALUES ('surface', unixepoch() / 600 - 3, 18, 200)",
        ],
    );
    assert_eq!(
        drift(&server),
        serde_json::json!({}),
        "too few to say anything"
    );
    log(&server, 49..50);
    server.wait_for("drift", || !drift(&server)["surface"].is_null());
    let found = &drift(&server)["surface"];
    // (1 − ½) ln 2 + (0.0001 − ½) ln 0.0002.
    let expected = 0.5 * 2f64.ln() + (1e-4 - 0.5) * (2e-4f64).ln();
    let classes = found["classes"].as_f64().unwrap();
    assert!((classes - expected).abs() < 1e-9, "{found:#}");
    assert_eq!(found["confidence"].as_f64(), Some(0.0), "{found:#}");
    assert_eq!(found["window_predictions"], 50);
    assert_eq!(found["reference_predictions"], 200);
    let scrape = Scrape::of(&server);
    assert!((scrape.value(CLASSES) - expected).abs() < 1e-9);
    assert_eq!(scrape.value(CONFIDENCE), 0.0);
}

#[test]
fn nothing_is_said_of_drift_that_is_not_watched() {
    let setup = Setup::without_models().set("role", "\"logging\"");
    let server = wait_connected(setup.start());
    assert!(server.actor("drift_watch").is_none());
    log(&server, 0..3);
    assert_eq!(drift(&server), Value::Null);
    assert_eq!(Scrape::of(&server).get(CLASSES), None);
}
