//! `POST /predict`: the right class for right input, a clear no for everything else.

use std::fs;

use serde_json::json;

use crate::harness::load::numbers_of;
use crate::harness::{Setup, content_type, samples};

#[test]
fn every_sample_gets_its_class_by_picture_by_form_and_by_numbers() {
    let server = Setup::new().start_ready();
    for (class, path) in samples() {
        let bytes = fs::read(&path).unwrap();
        let raw = server.post("/predict", content_type(&path), &bytes);
        assert_eq!(raw.status, 200, "{}: {}", path.display(), raw.text());
        let answer = raw.json();
        assert_eq!(
            answer["class"],
            class.as_str(),
            "{}: {answer}",
            path.display()
        );
        assert_eq!(answer["model"], "surface");
        assert_eq!(answer["version"], "1");
        assert!(answer["inference_time_ms"].as_f64().unwrap() > 0.0);
        let confidence = answer["confidence"].as_f64().unwrap();
        let probabilities = answer["probabilities"].as_object().unwrap();
        assert_eq!(probabilities.len(), 6);
        assert_eq!(probabilities[&class].as_f64().unwrap(), confidence);
        let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{answer}");

        let form = server.post("/predict", "multipart/form-data; boundary=x", &form(&bytes));
        assert_eq!(form.json()["class"], class.as_str(), "{}", form.text());
    }
    let (class, numbers) = numbers_of_a_sample();
    let answer = server.post_json("/predict", &json!({"data": numbers}));
    assert_eq!(answer.json()["class"], class.as_str(), "{}", answer.text());
    assert!(answer.headers.contains_key("x-request-id"));
}

#[test]
fn what_is_wrong_with_a_request_is_said_clearly_and_counts_as_no_failure() {
    let server = Setup::new().start_ready();
    let post = |body: &str| server.post("/predict", "application/json", body.as_bytes());
    let short = post(r#"{"data": [1, 2, 3]}"#);
    assert_eq!(
        (short.status, &short.json()["code"]),
        (400, &json!("wrong_length"))
    );
    assert!(
        short.json()["error"].as_str().unwrap().contains("3072"),
        "{}",
        short.text()
    );
    let nan = post(r#"{"data": [1.0, NaN]}"#);
    assert_eq!(
        (nan.status, &nan.json()["code"]),
        (400, &json!("not_a_number"))
    );
    let text = post(r#"{"data": [1.0, "2"]}"#);
    assert_eq!(
        (text.status, &text.json()["code"]),
        (400, &json!("wrong_type"))
    );
    assert!(
        text.json()["error"].as_str().unwrap().contains("data[1]"),
        "{}",
        text.text()
    );
    assert_eq!(post("{").status, 400);
    assert_eq!(post(r#"{"numbers": []}"#).json()["code"], "missing_data");
    assert_eq!(server.post("/predict", "text/csv", b"1,2").status, 415);
    assert_eq!(
        server.post("/predict", "image/png", b"no picture").status,
        415
    );
    assert_eq!(
        server
            .post("/predict", "image/png", b"\x89PNG\r\n\x1a\n")
            .status,
        400
    );
    assert_eq!(
        server
            .post("/predict", "multipart/form-data; boundary=x", b"--x--\r\n")
            .status,
        400
    );
    let unknown = server.post_json("/predict?model=nobody", &json!({"data": [0]}));
    assert_eq!(
        (unknown.status, &unknown.json()["code"]),
        (404, &json!("unknown_model"))
    );
    assert_eq!(server.get("/predict").status, 405);
    assert_eq!(server.get("/nowhere").status, 404);

    server.wait_for("the database as well", || {
        server.get("/ready").status == 200
    });
    let ready = server.get("/ready");
    assert_eq!(ready.json()["errors"], 0);
    assert_eq!(ready.json()["predictions_served"], 0);
    assert!(
        server
            .get("/metrics")
            .text()
            .contains("inference_errors_total{model=\"surface\",stage=\"none\"} 0")
    );
}

#[test]
fn a_body_larger_than_allowed_is_refused_with_413() {
    let server = Setup::new().set("http.max_body", "\"64KiB\"").start_ready();
    let large = format!(r#"{{"data": [{}1]}}"#, "1,".repeat(64 * 1024));
    let answer = server.post("/predict", "application/json", large.as_bytes());
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (413, &json!("too_large"))
    );
}

#[test]
fn without_a_model_the_server_says_so() {
    let server = Setup::without_models().start();
    server.wait_for("the first look at the folder", || {
        server
            .get("/api/health/ready")
            .text()
            .contains("there is no model")
    });
    let answer = server.post_json("/predict", &json!({"data": [0]}));
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (503, &json!("no_model"))
    );
    assert!(answer.headers.contains_key("retry-after"));
}

/// Returns the class of a sample and its 3072 numbers, colour by colour.
pub fn numbers_of_a_sample() -> (String, Vec<f32>) {
    let (class, path) = samples()
        .into_iter()
        .find(|(class, _)| class == "scratch")
        .unwrap();
    let numbers = numbers_of(&path).unwrap();
    (class, numbers)
}

fn form(picture: &[u8]) -> Vec<u8> {
    let mut form = b"--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
        --x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n"
        .to_vec();
    form.extend_from_slice(picture);
    form.extend_from_slice(b"\r\n--x--\r\n");
    form
}
