//! Inference in JSON.

use serde_json::{Value, json};

use super::{apart, assert_refused, echo, infer, infer_binary};
use crate::harness::load::numbers_of;
use crate::harness::{Setup, content_type, samples};
use crate::predict::numbers_of_a_sample;

/// Elements of each datatype that JSON can write.
fn elements(datatype: &str) -> Value {
    match datatype {
        "BOOL" => json!([true, false, false, true]),
        "UINT8" => json!([0, 255, 1, 7]),
        "UINT16" => json!([0, 65535, 1, 7]),
        "UINT32" => json!([0, u32::MAX, 1, 7]),
        "UINT64" => json!([0, u64::MAX, 1, 7]),
        "INT8" => json!([-128, 127, 0, 7]),
        "INT16" => json!([-32768, 32767, 0, 7]),
        "INT32" => json!([i32::MIN, i32::MAX, 0, 7]),
        "INT64" => json!([i64::MIN, i64::MAX, 0, 7]),
        "FP16" => json!([0.5, -65504.0, 0.333_251_95, 1e4]),
        "FP32" => json!([0.1, -3.4028235e38, 1e-45, 16777216.0]),
        "FP64" => json!([0.1, -1.7976931348623157e308, 5e-324, 1e22]),
        _ => json!(["", "größe", "a\"b\\c\n", "\u{0}\u{1f600}"]),
    }
}

#[test]
fn every_datatype_that_json_can_write_comes_back_as_it_went() {
    let server = echo::start();
    let each = |make: &dyn Fn(&str) -> Value| -> Vec<Value> {
        echo::TYPES
            .iter()
            .map(|(datatype, _)| make(datatype))
            .collect()
    };
    let inputs = each(&|datatype| {
        let mut input =
            json!({"name": format!("in_{datatype}"), "datatype": datatype, "shape": [2, 2]});
        if datatype == "BF16" {
            input["parameters"] = json!({"binary_data_size": 8});
        } else {
            input["data"] = elements(datatype);
        }
        input
    });
    let outputs = each(&|datatype| {
        let in_binary = datatype == "BF16";
        json!({"name": format!("out_{datatype}"), "parameters": {"binary_data": in_binary}})
    });
    let request = json!({"inputs": inputs, "outputs": outputs});
    let halves: Vec<u8> = (1..=8).collect();
    let answer = infer_binary(&server, "echo", &request, &halves);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (json, data) = apart(&answer);
    assert_eq!(data, halves);
    for (output, (datatype, _)) in json["outputs"].as_array().unwrap().iter().zip(echo::TYPES) {
        assert_eq!(output["datatype"], datatype);
        assert_eq!(output["shape"], json!([2, 2]));
        match datatype {
            "BF16" => assert_eq!(output["parameters"]["binary_data_size"], 8),
            // They are written as short as reading them as what they are allows.
            "FP16" | "FP32" => {
                let narrow =
                    |list: &Value| -> Vec<f32> { serde_json::from_value(list.clone()).unwrap() };
                assert_eq!(narrow(&output["data"]), narrow(&elements(datatype)));
            }
            _ => assert_eq!(output["data"], elements(datatype), "{datatype}"),
        }
    }
    let mut in_json = request.clone();
    in_json["outputs"] = json!([{"name": "out_BF16"}]);
    let refused = infer_binary(&server, "echo", &in_json, &halves);
    assert_refused(&refused, 400, "binary_data");
}

#[test]
fn the_demo_model_answers_as_predict_does() {
    let server = Setup::new().start_ready();
    let (class, numbers) = numbers_of_a_sample();
    let input = |data: Value| {
        json!({"id": "of-mine", "inputs": [
            {"name": "image", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": data}]})
    };
    let flat = infer(&server, "surface", &input(json!(numbers)));
    assert_eq!(flat.status, 200, "{}", flat.text());
    let rows: Vec<&[f32]> = numbers.chunks(32).collect();
    let colours: Vec<&[&[f32]]> = rows.chunks(32).collect();
    let nested = infer(&server, "surface", &input(json!([colours])));
    assert_eq!(nested.json()["outputs"], flat.json()["outputs"]);
    let answer = flat.json();
    assert_eq!(answer["model_name"], "surface");
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["id"], "of-mine");
    let output = &answer["outputs"][0];
    assert_eq!(output["name"], "probabilities");
    assert_eq!(output["datatype"], "FP32");
    assert_eq!(output["shape"], json!([1, 6]));
    let predicted = server
        .post_json("/predict", &json!({"data": numbers}))
        .json();
    // In the order of the labels here, and of the outputs there.
    let sorted = |scores: Vec<&Value>| {
        let mut scores: Vec<f64> = scores.iter().map(|s| s.as_f64().unwrap()).collect();
        scores.sort_by(f64::total_cmp);
        scores
    };
    let expected = predicted["probabilities"].as_object().unwrap();
    let found = output["data"].as_array().unwrap();
    assert_eq!(
        sorted(found.iter().collect()),
        sorted(expected.values().collect())
    );
    let mut asked = input(json!(numbers));
    asked["outputs"] = json!([{"name": "probabilities", "parameters": {"classification": 2}}]);
    let top = infer(&server, "surface", &asked).json();
    assert_eq!(top["outputs"][0]["datatype"], "BYTES");
    assert_eq!(top["outputs"][0]["shape"], json!([1, 2]));
    let first = top["outputs"][0]["data"][0].as_str().unwrap();
    assert!(first.ends_with(&format!(":{class}")), "{top}");
}

#[test]
fn requests_of_many_pictures_get_a_row_for_each() {
    let server = Setup::new().start_ready();
    let (paths, pictures): (Vec<_>, Vec<_>) = samples()
        .into_iter()
        .filter_map(|(class, path)| numbers_of(&path).map(|numbers| ((class, path), numbers)))
        .unzip();
    let request = json!({"inputs": [{"name": "image", "shape": [pictures.len(), 3, 32, 32],
        "datatype": "FP32", "data": pictures.concat()}]});
    let answer = infer(&server, "surface", &request).json();
    let scores: Vec<f64> = answer["outputs"][0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|score| score.as_f64().unwrap())
        .collect();
    assert_eq!(answer["outputs"][0]["shape"], json!([pictures.len(), 6]));
    for (row, (class, path)) in scores.chunks(6).zip(paths) {
        let best = row.iter().cloned().fold(0.0, f64::max);
        let predicted = server.post(
            "/predict",
            content_type(&path),
            &std::fs::read(&path).unwrap(),
        );
        assert_eq!(predicted.json()["class"], class.as_str());
        let confidence = predicted.json()["confidence"].as_f64().unwrap();
        assert!((best - confidence).abs() < 1e-4, "{best} {confidence}");
    }
}

#[test]
fn parameters_of_the_request_are_taken_and_unknown_ones_left_alone() {
    let server = echo::start();
    let request = json!({
        "parameters": {"priority": 1, "timeout": 5_000_000, "sequence_id": 3, "mine": [1, {"a": 2}]},
        "unknown": null,
        "outputs": [{"name": "y"}],
        "inputs": [{"data": [[1, 2, 3]], "shape": [1, 3], "datatype": "FP32", "name": "x"}],
    });
    let answer = infer(&server, "triple", &request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["outputs"][0]["data"], json!([1.0, 2.0, 3.0]));
    assert!(answer.json().get("id").is_none());
    let version = server.post_json("/v2/models/triple/versions/1/infer", &request);
    assert_eq!(version.json(), answer.json());
}

#[test]
fn not_a_number_and_infinity_go_both_ways_as_python_writes_them() {
    let server = echo::start();
    let body = br#"{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[NaN,Infinity,-Infinity]}]}"#;
    let answer = server.post("/v2/models/triple/infer", "application/json", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("\"data\":[NaN,Infinity,-Infinity]"),
        "{}",
        answer.text()
    );
}
