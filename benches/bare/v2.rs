//! The Open Inference Protocol as the obvious handler has it: one tensor of float32 in, the first
//! output back, in JSON or in binary.
//!
//! JSON is read and written by serde_json, the numbers straight into a `Vec<f32>`. In binary the
//! numbers are taken from the body where they lie, behind a small head that serde_json reads.

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::ApiError;
use super::serve::Own;

/// The header that says where the JSON of a body ends.
const LENGTH: &str = "inference-header-content-length";

#[derive(Debug, Deserialize)]
struct Asked {
    inputs: [Input; 1],
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Debug, Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    #[serde(default)]
    data: Vec<f32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    binary_data_output: bool,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    outputs: [Output<'a>; 1],
}

#[derive(Debug, Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a [f32]>,
}

#[derive(Debug, Serialize)]
struct Size {
    binary_data_size: usize,
}

/// Answers `POST /v2/models/{name}/infer`.
pub(super) async fn infer(
    own: Own,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let head = request.headers().get(LENGTH);
    let head = head.map(|length| length.to_str().unwrap_or_default().parse::<usize>());
    let head = head.transpose().map_err(|_| wrong("no length"))?;
    let (json, raw) = body
        .split_at_checked(head.unwrap_or(body.len()))
        .ok_or_else(|| wrong("a length beyond the body"))?;
    let asked: Asked = serde_json::from_slice(json).map_err(|error| wrong(&error.to_string()))?;
    let Asked {
        inputs: [input],
        parameters,
    } = asked;
    let data = match head {
        Some(_) => floats(raw),
        None => input.data,
    };
    // Never borrowed across a wait, and the worker is one thread.
    let mut own = own.borrow_mut();
    if *name != own.description.name || input.name != own.input {
        return Err(wrong("there is one model with one input"));
    }
    if input.shape.iter().product::<i64>() != data.len() as i64 {
        return Err(wrong("as many numbers as the shape says are needed"));
    }
    let own = &mut *own;
    let (shape, numbers) = own
        .run_shaped(input.shape, &data)
        .map_err(ApiError::failed)?;
    let mut output = Output {
        name: &own.output,
        datatype: "FP32",
        shape: &shape,
        parameters: None,
        data: None,
    };
    let binary = parameters.binary_data_output;
    if binary {
        output.parameters = Some(Size {
            binary_data_size: numbers.len() * 4,
        });
    } else {
        output.data = Some(&numbers);
    }
    let answer = Answer {
        model_name: &own.description.name,
        model_version: &own.description.version,
        outputs: [output],
    };
    Ok(if binary {
        in_binary(&answer, &numbers).map_err(ApiError::failed)?
    } else {
        HttpResponse::Ok().json(answer)
    })
}

fn in_binary(answer: &Answer<'_>, numbers: &[f32]) -> serde_json::Result<HttpResponse> {
    let mut body = Vec::with_capacity(512 + numbers.len() * 4);
    serde_json::to_writer(&mut body, answer)?;
    let length = body.len();
    body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    Ok(HttpResponse::Ok()
        .content_type(ContentType::octet_stream())
        .insert_header((LENGTH, length))
        .body(body))
}

fn floats(raw: &[u8]) -> Vec<f32> {
    let (numbers, _) = raw.as_chunks::<4>();
    numbers.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
}

fn wrong(why: &str) -> ApiError {
    ApiError::bad_request("bad_request", why)
}
