//! `POST /v2/models/{model}[/versions/{version}]/infer`.

use actix_web::http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use impetus_actors::serving::{Protocol, Route};
use tracing::info;
use utoipa::OpenApi;

use super::schema::{Request, Response};
use super::{InferRefusals, Named};
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::coding::Coding;
use crate::http::error::ApiError;
use crate::http::measuring::About;
use crate::http::openapi::tag;
use crate::http::parts::Parts;
use crate::http::strenuous;
use crate::oip::binary::{self, Encoded, HEADER_LENGTH};
use crate::oip::{self, Answer, Caller, InferRequest};

const HEADER_LENGTH_NAME: HeaderName = HeaderName::from_static(HEADER_LENGTH);

#[derive(OpenApi)]
#[openapi(paths(infer))]
pub(super) struct Api;

/// Have a model run.
///
/// With `Inference-Header-Content-Length` the body is so many bytes of JSON, and behind them the tensors that have a
/// `binary_data_size`; 0 stands for one input as it is, and all outputs in binary. The answer has the same header when it
/// holds tensors in binary.
#[utoipa::path(
    post, path = "/v2/models/{model}/infer", operation_id = "v2_infer", tag = tag::V2,
    params(
        ("model" = String, Path, example = "surface"),
        ("Inference-Header-Content-Length" = Option<u64>, Header, description = "Bytes of the JSON, where tensors follow in binary"),
        ("Content-Encoding" = Option<String>, Header, description = "`gzip` or `deflate`, where the body is compressed"),
        ("Accept-Encoding" = Option<String>, Header, description = "`gzip` or `deflate`, where the answer may be compressed"),
    ),
    request_body(content((Request = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 200, description = "The outputs", content((Response = "application/json"), (Vec<u8> = "application/octet-stream")),
            headers(("Inference-Header-Content-Length" = u64, description = "Bytes of the JSON, where tensors follow in binary"))),
        InferRefusals,
    )
)]
pub(super) async fn infer(
    request: HttpRequest,
    state: web::Data<AppState>,
    named: web::Path<Named>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let mut route = oip::route(&state.catalog, &named.model, named.version())?;
    About::is_for(&request, route.model());
    let caller = Caller {
        protocol: Protocol::V2Rest,
        deadline: body.deadline(),
        request_id: About::id(&request),
    };
    let asked = read(&request, &state, &route, &body).await?;
    let in_binary = asked.parameters.binary_data_output;
    let answer = oip::infer(&mut route, asked, caller, state.recorder.as_deref()).await?;
    info!(model = %answer.model.spec().name, "inference served");
    respond(request.headers(), answer, in_binary).await
}

/// Reads the request out of its body.
async fn read(
    request: &HttpRequest,
    state: &AppState,
    route: &Route,
    body: &Body,
) -> Result<InferRequest, ApiError> {
    let headers = request.headers();
    let coding = Coding::of_request(headers)?;
    let length = header_length(headers)?;
    let most = state.config.http.max_body.as_usize();
    let body = body.whole().await?;
    let body = match coding {
        None => body,
        // How much it will be is known only afterwards.
        Some(coding) => strenuous::work(most, move || coding.decompress(&body, most)).await?,
    };
    if length == Some(0) {
        let signature = route.model().usable_signature()?;
        return Ok(binary::decode_raw(&body, &signature)?);
    }
    // What is in binary is not looked at.
    let bytes = length.unwrap_or(body.len());
    strenuous::work(bytes, move || Ok(binary::decode(&body, length)?)).await
}

/// Returns how long the JSON at the beginning of the body is, if a header says so.
fn header_length(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    let Some(given) = headers.get(HEADER_LENGTH_NAME) else {
        return Ok(None);
    };
    let length = given.to_str().ok().and_then(|given| given.parse().ok());
    length.map(Some).ok_or_else(|| {
        let message = format!(
            "Inference-Header-Content-Length is {given:?}, it must be the length of the JSON in bytes"
        );
        ApiError::bad_request("invalid", message)
    })
}

/// Writes an answer, compressed if the client asks for that.
async fn respond(
    headers: &HeaderMap,
    answer: Answer,
    in_binary: bool,
) -> Result<HttpResponse, ApiError> {
    let outputs = answer.outputs.iter();
    let bytes: usize = outputs.map(|output| output.tensor.data().len()).sum();
    let encoded = strenuous::work(bytes, move || Ok(binary::encode(&answer, in_binary)?)).await?;
    let mut response = HttpResponse::Ok();
    if encoded.has_binary() {
        response.insert_header((HEADER_LENGTH_NAME, HeaderValue::from(encoded.json.len())));
        response.insert_header((CONTENT_TYPE, "application/octet-stream"));
    } else {
        response.insert_header((CONTENT_TYPE, "application/json"));
    }
    match Coding::of_answer(headers, encoded.len()) {
        Some(coding) => compressed(response, encoded, coding).await,
        None => Ok(response.body(Parts::of(encoded.json, encoded.tensors))),
    }
}

async fn compressed(
    mut response: HttpResponseBuilder,
    encoded: Encoded,
    coding: Coding,
) -> Result<HttpResponse, ApiError> {
    let small = strenuous::work(encoded.len(), move || {
        let json: &[u8] = &encoded.json;
        let tensors = encoded.tensors.iter().map(|tensor| &tensor[..]);
        Ok(coding.compress(std::iter::once(json).chain(tensors)))
    })
    .await?;
    response.insert_header((CONTENT_ENCODING, coding.as_str()));
    response.insert_header((VARY, "accept-encoding"));
    Ok(response.body(small))
}
