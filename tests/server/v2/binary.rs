//! Inference with binary data, both ways.

use serde_json::{Value, json};

use super::{HEADER_LENGTH, apart, assert_refused, echo, infer, infer_binary, post};

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn triple(data: &[f32]) -> Value {
    json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [data.len() / 3, 3],
        "parameters": {"binary_data_size": data.len() * 4}}]})
}

#[test]
fn every_datatype_comes_back_to_the_bit_and_inputs_may_be_mixed() {
    let server = echo::start();
    let mut data = Vec::new();
    let mut expected = Vec::new();
    let inputs: Vec<Value> = echo::TYPES
        .iter()
        .map(|(datatype, _)| {
            let name = format!("in_{datatype}");
            let own: Vec<u8> = match *datatype {
                "BOOL" => vec![0, 1],
                "UINT8" | "INT8" => vec![200, 3],
                "UINT16" | "INT16" | "FP16" | "BF16" => vec![1, 0x7c, 255, 255],
                "UINT32" | "INT32" | "FP32" => vec![1, 0, 0x80, 0x7f, 255, 255, 255, 255],
                "BYTES" => b"\x03\0\0\0a\0\xff\0\0\0\0".to_vec(),
                _ => (0..16).collect(),
            };
            expected.push(own.clone());
            if *datatype == "UINT64" {
                // One of them in JSON.
                let own = own
                    .chunks(8)
                    .map(|n| u64::from_le_bytes(n.try_into().unwrap()));
                let own: Vec<u64> = own.collect();
                return json!({"name": name, "datatype": datatype, "shape": [1, 2], "data": own});
            }
            data.extend_from_slice(&own);
            json!({"name": name, "datatype": datatype, "shape": [1, 2],
                   "parameters": {"binary_data_size": own.len()}})
        })
        .collect();
    let request = json!({"inputs": inputs, "parameters": {"binary_data_output": true}});
    let answer = infer_binary(&server, "echo", &request, &data);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let (json, mut rest) = apart(&answer);
    for (output, expected) in json["outputs"].as_array().unwrap().iter().zip(&expected) {
        let size = output["parameters"]["binary_data_size"].as_u64().unwrap();
        let (own, behind) = rest.split_at(usize::try_from(size).unwrap());
        assert_eq!(own, expected, "{output}");
        rest = behind;
    }
    assert!(rest.is_empty());
}

#[test]
fn an_output_says_for_itself_how_it_is_to_come() {
    let server = echo::start();
    let mut request = triple(&[1.0, 2.0, 3.0]);
    let data = bytes(&[1.0, 2.0, 3.0]);
    let plain = infer_binary(&server, "triple", &request, &data);
    assert_eq!(plain.json()["outputs"][0]["data"], json!([1.0, 2.0, 3.0]));
    assert!(!plain.headers.contains_key(HEADER_LENGTH));
    request["parameters"] = json!({"binary_data_output": true});
    request["outputs"] = json!([{"name": "y", "parameters": {"binary_data": false}}]);
    let plain = infer_binary(&server, "triple", &request, &data);
    assert_eq!(plain.json()["outputs"][0]["data"], json!([1.0, 2.0, 3.0]));
    request["outputs"] = json!([{"name": "y"}]);
    let (json, behind) = {
        let a = infer_binary(&server, "triple", &request, &data);
        let (j, b) = apart(&a);
        (j, b.to_vec())
    };
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 12);
    assert_eq!(behind, data);
    let classes = json!([{"name": "y", "parameters": {"classification": 1, "binary_data": true}}]);
    request["outputs"] = classes;
    let answer = infer_binary(&server, "triple", &request, &data);
    assert_eq!(apart(&answer).1, b"\x0a\0\0\x003.000000:2");
}

#[test]
fn a_body_without_json_is_the_only_input_and_comes_back_in_binary() {
    let server = echo::start();
    let path = "/v2/models/triple/infer";
    let data = bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let answer = post(&server, path, &[(HEADER_LENGTH, "0")], &data);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (json, behind) = apart(&answer);
    assert_eq!(json["outputs"][0]["shape"], json!([2, 3]));
    assert_eq!(behind, data);
    let odd = post(&server, path, &[(HEADER_LENGTH, "0")], &data[..13]);
    assert_refused(&odd, 400, "bytes");
    let many = post(
        &server,
        "/v2/models/echo/infer",
        &[(HEADER_LENGTH, "0")],
        &data,
    );
    assert_refused(&many, 400, "14");
}

#[test]
fn sizes_and_headers_that_do_not_fit_are_refused() {
    let server = echo::start();
    let data = bytes(&[1.0, 2.0, 3.0]);
    let request = triple(&[1.0, 2.0, 3.0]);
    let refused = |request: &Value, data: &[u8], words: &str| {
        assert_refused(&infer_binary(&server, "triple", request, data), 400, words);
    };
    refused(&request, &data[..11], "11 bytes are left");
    refused(
        &request,
        &[&data[..], b"x"].concat(),
        "1 bytes are left behind",
    );
    let mut wrong = request.clone();
    wrong["inputs"][0]["shape"] = json!([1, 2]);
    refused(&wrong, &data, "takes 8 bytes, got 12");
    wrong["inputs"][0]["shape"] = json!([u64::MAX, 4]);
    refused(&wrong, &data, "too large");
    wrong = request.clone();
    wrong["inputs"][0]["parameters"]["binary_data_size"] = json!(u64::MAX);
    refused(&wrong, &data, "binary_data_size");
    wrong["inputs"][0]["parameters"]["binary_data_size"] = json!(-1);
    refused(&wrong, &data, "-1");
    wrong = request.clone();
    wrong["inputs"][0]["data"] = json!([1, 2, 3]);
    refused(&wrong, &data, "both");
    // Without the header nobody knows where the JSON ends.
    assert_refused(
        &infer(&server, "triple", &request),
        400,
        "Inference-Header-Content-Length",
    );
    for header in ["-1", "x", "99999999999999999999999", "1000000", "2.5"] {
        let body = [request.to_string().into_bytes(), data.clone()].concat();
        let path = "/v2/models/triple/infer";
        let answer = post(&server, path, &[(HEADER_LENGTH, header)], &body);
        assert_refused(&answer, 400, "Inference-Header-Content-Length");
    }
}

#[test]
fn megabytes_go_there_and_back() {
    let server = echo::start();
    let numbers: Vec<f32> = (0..3 * 800_000).map(|n| n as f32).collect();
    let data = bytes(&numbers);
    let mut request = triple(&numbers);
    request["parameters"] = json!({"binary_data_output": true});
    let answer = infer_binary(&server, "triple", &request, &data);
    assert_eq!(answer.status, 200, "{}", answer.status);
    let (_, behind) = apart(&answer);
    assert!(behind == data);
}
