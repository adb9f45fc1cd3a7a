//! Every protocol ends in the same log.

use futures_util::StreamExt;
use impetus::grpc::proto::ModelInferRequest;
use serde_json::{Value, json};
use tonic::Request;

use super::{expect_predicted, image_of, images, wait_for_rows};
use crate::grpc::client::{Client, raw};
use crate::harness::load::numbers_of;
use crate::harness::{Setup, samples};
use crate::predict::numbers_of_a_sample;
use crate::v2::{infer, infer_binary, post};

#[test]
fn what_predict_answers_is_in_the_log_with_every_field_of_a_prediction() {
    let server = Setup::new()
        .set("predlog.device", "\"line-7\"")
        .start_ready();
    let (_, numbers) = numbers_of_a_sample();
    let body = json!({"data": numbers}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", "mine"),
    ];
    let answer = post(&server, "/predict", &headers, body.as_bytes()).json();
    let row = wait_for_rows(&server, 1).remove(0);
    let detection = json!([{
        "class": "scratch", "confidence": answer["confidence"], "bbox": null,
        "uncertain": answer["confidence"].as_f64().unwrap() < 0.5,
    }]);
    for (field, expected) in [
        ("image_id", &json!("mine")),
        ("edge_device_id", &json!("line-7")),
        ("model_name", &json!("surface")),
        ("model_version", &json!("1")),
        ("inference_time_ms", &answer["inference_time_ms"]),
        ("detections", &detection),
        ("defect_detected", &json!(true)),
        ("confidence_scores", &answer["probabilities"]),
        ("processing_notes", &Value::Null),
        ("protocol", &json!("predict")),
        ("request_id", &json!("mine")),
    ] {
        assert_eq!(&row[field], expected, "{field}: {row:#}");
    }
    let timestamp = row["timestamp"].as_str().unwrap();
    let millis: Value = server.get("/ready").json()["timestamp"].clone();
    assert_eq!(
        timestamp[..10],
        millis.as_str().unwrap()[..10],
        "the same day"
    );
}

#[test]
fn a_class_without_a_defect_is_logged_as_none() {
    let server = Setup::new().start_ready();
    let pictures = each_class();
    for (class, numbers) in &pictures {
        let answer = server.post_json("/predict", &json!({"data": numbers}));
        assert_eq!(answer.json()["class"], class.as_str());
    }
    for row in wait_for_rows(&server, pictures.len()) {
        let is_good = row["detections"][0]["class"] == "good";
        assert_eq!(row["defect_detected"], !is_good, "{row:#}");
    }
    let stats = server.get("/stats").json();
    let good = pictures.iter().filter(|(class, _)| class == "good").count();
    assert_eq!(stats["defects"], pictures.len() - good, "{stats:#}");
}

#[test]
fn every_row_of_a_request_in_json_is_a_prediction() {
    let server = Setup::new().start_ready();
    let (classes, numbers) = two();
    let request = json!({"id": "batch", "inputs": [
        {"name": "image", "shape": [2, 3, 32, 32], "datatype": "FP32", "data": numbers}]});
    assert_eq!(infer(&server, "surface", &request).status, 200);
    let rows = wait_for_rows(&server, 2);
    assert_eq!(images(&rows), ["batch", "batch-1"]);
    assert_classes(&rows, &classes, "v2_rest");
}

#[test]
fn every_row_of_a_request_in_binary_is_a_prediction() {
    let server = Setup::new().start_ready();
    let (classes, numbers) = two();
    let request = json!({"id": "batch", "inputs": [
        {"name": "image", "shape": [2, 3, 32, 32], "datatype": "FP32",
         "parameters": {"binary_data_size": numbers.len() * 4}}]});
    let answer = infer_binary(&server, "surface", &request, &bytes(&numbers));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_classes(&wait_for_rows(&server, 2), &classes, "v2_rest");
}

#[test]
fn every_instance_of_kserves_first_protocol_is_a_prediction() {
    let server = Setup::new().start_ready();
    let (classes, numbers) = two();
    let instances: Vec<&[f32]> = numbers.chunks(3072).collect();
    let body = json!({"instances": instances}).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", "v1")];
    let answer = post(
        &server,
        "/v1/models/surface:predict",
        &headers,
        body.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rows = wait_for_rows(&server, 2);
    assert_eq!(images(&rows), ["v1", "v1-1"]);
    assert_classes(&rows, &classes, "v1_rest");
}

#[test]
fn every_row_of_a_call_is_a_prediction() {
    let server = Setup::new().start_ready();
    let (classes, numbers) = two();
    let mut request = Request::new(of_surface(&numbers));
    let id = "call-1".parse().unwrap();
    request.metadata_mut().insert("x-request-id", id);
    Client::of(&server).infer(request).unwrap();
    let rows = wait_for_rows(&server, 2);
    assert_eq!(images(&rows), ["call-1", "call-1-1"]);
    assert_classes(&rows, &classes, "v2_grpc");
}

#[test]
fn every_message_of_a_stream_is_a_prediction_under_an_id_of_its_own() {
    let server = Setup::new().start_ready();
    let (classes, numbers) = two();
    let messages: Vec<ModelInferRequest> = numbers.chunks(3072).map(of_surface).collect();
    let mut request = Request::new(futures_util::stream::iter(messages));
    let id = "stream".parse().unwrap();
    request.metadata_mut().insert("x-request-id", id);
    let answered = Client::of(&server).call(async |service| {
        let answers = service.model_stream_infer(request).await?.into_inner();
        Ok(answers.collect::<Vec<_>>().await)
    });
    for answer in answered.unwrap() {
        assert_eq!(answer.unwrap().error_message, "");
    }
    let rows = wait_for_rows(&server, 2);
    assert_eq!(images(&rows), ["stream/1", "stream/2"]);
    assert_classes(&rows, &classes, "v2_grpc");
}

#[test]
fn a_model_that_does_not_classify_is_logged_as_having_detected_nothing() {
    let server = crate::v2::echo::start();
    let request = json!({"id": "numbers", "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}]});
    assert_eq!(infer(&server, "triple", &request).status, 200);
    let row = wait_for_rows(&server, 1).remove(0);
    assert_eq!(image_of(&row), "numbers");
    assert_eq!(row["model_name"], "triple");
    assert_eq!(
        (&row["detections"], &row["defect_detected"]),
        (&json!([]), &json!(false))
    );
    assert!(row["inference_time_ms"].as_f64().unwrap() > 0.0, "{row:#}");
}

#[test]
fn what_an_idle_worker_checks_itself_with_is_no_prediction() {
    let server = Setup::new()
        .set("models.self_check_every", "\"50ms\"")
        .set("models.workers", "1")
        .start_ready();
    let checks = || server.status()["models"][0]["workers"][0]["self_checks"].as_u64();
    server.wait_for("checks", || checks() >= Some(3));
    expect_predicted(&server, "the only one");
    assert_eq!(super::rows_at_the_end(server).len(), 1);
}

/// Checks that rows are predictions of these classes.
#[track_caller]
fn assert_classes(rows: &[Value], classes: &[String], protocol: &str) {
    for (row, class) in rows.iter().zip(classes) {
        assert_eq!(row["detections"][0]["class"], class.as_str(), "{row:#}");
        assert_eq!(
            row["confidence_scores"].as_object().unwrap().len(),
            6,
            "{row:#}"
        );
        assert_eq!(row["defect_detected"], class != "good", "{row:#}");
        assert_eq!(row["protocol"], protocol, "{row:#}");
    }
}

/// Returns one picture's numbers of every class.
fn each_class() -> Vec<(String, Vec<f32>)> {
    let mut pictures: Vec<(String, Vec<f32>)> = Vec::new();
    for (class, path) in samples() {
        if pictures.iter().all(|(known, _)| *known != class)
            && let Some(numbers) = numbers_of(&path)
        {
            pictures.push((class, numbers));
        }
    }
    assert!(pictures.len() > 3);
    pictures
}

/// Returns two pictures' classes and numbers, the first being without a defect.
fn two() -> (Vec<String>, Vec<f32>) {
    let mut pictures = each_class();
    pictures.sort_by_key(|(class, _)| class != "good");
    let (classes, numbers): (Vec<String>, Vec<Vec<f32>>) = pictures.into_iter().take(2).unzip();
    (classes, numbers.concat())
}

fn of_surface(numbers: &[f32]) -> ModelInferRequest {
    let rows = i64::try_from(numbers.len() / 3072).unwrap();
    let mut request = raw("surface", "FP32", &[rows, 3, 32, 32], bytes(numbers));
    request.inputs[0].name = "image".to_owned();
    request
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}
