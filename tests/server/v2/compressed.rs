//! Compression, both ways.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;

use super::{HEADER_LENGTH, assert_refused, echo, post};
use crate::harness::Setup;

const PATH: &str = "/v2/models/triple/infer";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_request_is_the_request_that_it_stands_for() {
    let server = echo::start();
    let json = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3],
        "parameters": {"binary_data_size": 12}}]});
    let json = json.to_string().into_bytes();
    let length = json.len().to_string();
    let data: Vec<u8> = [1.0f32, 2.0, 3.0]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let body = [json, data].concat();
    for (coding, small) in [("gzip", gzip(&body)), ("deflate", zlib(&body))] {
        let headers = [("content-encoding", coding), (HEADER_LENGTH, &*length)];
        let answer = post(&server, PATH, &headers, &small);
        assert_eq!(answer.status, 200, "{coding}: {}", answer.text());
        assert_eq!(answer.json()["outputs"][0]["data"], json!([1.0, 2.0, 3.0]));
        let cut = post(&server, PATH, &headers, &small[..small.len() - 9]);
        assert_refused(&cut, 400, coding);
    }
    let brotli = post(&server, PATH, &[("content-encoding", "br")], b"x");
    assert_refused(&brotli, 415, "gzip, deflate");
}

#[test]
fn an_answer_is_compressed_only_for_who_asks() {
    let server = echo::start();
    let rows = 1000;
    let data: Vec<f32> = vec![1.0; rows * 3];
    let bytes: Vec<u8> = data.iter().flat_map(|n| n.to_le_bytes()).collect();
    let body = json!({"parameters": {"binary_data_output": true},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": data}]});
    let body = body.to_string().into_bytes();
    let plain = post(&server, PATH, &[("accept-encoding", "identity")], &body);
    assert!(!plain.headers.contains_key("content-encoding"));
    let length: usize = plain.headers[HEADER_LENGTH].parse().unwrap();
    assert_eq!(plain.body[length..], bytes);
    for coding in ["gzip", "deflate"] {
        // The client under the test must not take it apart itself, and so does not know of it.
        let raw = raw_post(server.port, coding, &body);
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(raw[..end].to_vec())
            .unwrap()
            .to_lowercase();
        assert!(
            head.contains(&format!("content-encoding: {coding}")),
            "{head}"
        );
        assert!(
            head.contains(&format!("{HEADER_LENGTH}: {length}")),
            "{head}"
        );
        let small = &raw[end + 4..];
        assert!(small.len() < plain.body.len() / 10);
        let mut whole = Vec::new();
        match coding {
            "gzip" => GzDecoder::new(small).read_to_end(&mut whole),
            _ => ZlibDecoder::new(small).read_to_end(&mut whole),
        }
        .unwrap();
        assert_eq!(whole, plain.body);
    }
}

/// Posts over a connection of its own and returns everything that comes until it ends.
fn raw_post(port: u16, coding: &str, body: &[u8]) -> Vec<u8> {
    let mut raw = crate::edge::raw::Raw::connect(port);
    let length = body.len();
    raw.send(
        format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept-encoding: {coding}\r\n\
             content-length: {length}\r\n\r\n"
        )
        .as_bytes(),
    );
    raw.send(body);
    let mut answer = Vec::new();
    raw.0.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_small_body_that_stands_for_an_enormous_one_is_refused() {
    let server = echo::start_with(Setup::new().set("http.max_body", "\"64KiB\""));
    let bomb = vec![b' '; 16 * 1024 * 1024];
    for (coding, small) in [("gzip", gzip(&bomb)), ("deflate", zlib(&bomb))] {
        assert!(small.len() < 64 * 1024);
        let answer = post(&server, PATH, &[("content-encoding", coding)], &small);
        assert_refused(&answer, 413, "http.max_body");
    }
    let plain = post(&server, PATH, &[], &bomb[..65 * 1024]);
    assert_refused(&plain, 413, "http.max_body");
}
