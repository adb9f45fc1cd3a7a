//! KServe's first protocol, and the lists of models.

use serde_json::{Value, json};

use super::{assert_refused, echo, post};
use crate::harness::Setup;
use crate::predict::numbers_of_a_sample;

#[test]
fn one_document_says_what_models_there_are_to_both_families_of_clients() {
    let server = echo::start();
    let list = server.get("/v1/models").json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["models"], json!(["echo", "surface", "triple"]));
    assert_eq!(list["data"][1]["id"], "surface");
    assert!(list["data"][1]["created"].as_u64().unwrap() > 1_600_000_000);
    let model = server.get("/v1/models/surface").json();
    assert_eq!(
        (
            &model["name"],
            &model["ready"],
            &model["id"],
            &model["object"]
        ),
        (
            &json!("surface"),
            &json!(true),
            &json!("surface"),
            &json!("model")
        )
    );
    // In the form of OpenAI's clients; KServe's look at the status alone.
    let unknown = server.get("/v1/models/nobody");
    assert_eq!(unknown.status, 404);
    let error = &unknown.json()["error"];
    assert_eq!(error["code"], "model_not_found");
    assert!(
        error["message"].as_str().unwrap().contains("nobody"),
        "{error}"
    );
    assert_refused(&post(&server, "/v1/models", &[], b"{}"), 405, "GET only");
    assert_refused(&server.get("/v1/models/surface:predict"), 405, "POST only");
    assert_eq!(server.get("/").json(), json!({"status": "alive"}));
}

#[test]
fn predictions_are_rows_and_are_those_of_predict() {
    let server = Setup::new().start_ready();
    let (_, numbers) = numbers_of_a_sample();
    let rows: Vec<&[f32]> = numbers.chunks(32).collect();
    let picture: Vec<&[&[f32]]> = rows.chunks(32).collect();
    let predicted = server
        .post_json("/predict", &json!({"data": numbers}))
        .json();
    let expected = predicted["probabilities"].as_object().unwrap();
    let sorted = |mut scores: Vec<f64>| {
        scores.sort_by(f64::total_cmp);
        scores
    };
    let expected = sorted(expected.values().map(|p| p.as_f64().unwrap()).collect());
    for body in [
        json!({"instances": [picture, picture]}),
        json!({"instances": [numbers, numbers]}),
        json!({"instances": [{"image": picture}, {"image": picture}]}),
        json!({"inputs": [picture, picture]}),
        json!({"inputs": {"image": [picture, picture]}}),
    ] {
        let answer = server.post_json("/v1/models/surface:predict", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let rows = answer["predictions"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        for row in rows {
            let row = row.as_array().unwrap().iter();
            let row = sorted(row.map(|p| p.as_f64().unwrap()).collect());
            for (found, expected) in row.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6, "{row:?} {expected:?}");
            }
        }
    }
}

#[test]
fn what_is_no_prediction_is_refused() {
    let server = echo::start();
    let refused = |model: &str, body: Value, status, words| {
        let answer = server.post_json(&format!("/v1/models/{model}:predict"), &body);
        assert_refused(&answer, status, words);
    };
    refused("triple", json!({}), 400, "instances");
    refused("triple", json!({"instances": [[1, 2]]}), 400, "shape");
    refused(
        "triple",
        json!({"instances": [["1", 2, 3]]}),
        400,
        "data[0]",
    );
    refused("echo", json!({"instances": [1]}), 400, "14 inputs");
    refused("nobody", json!({"instances": [1]}), 404, "nobody");
}
