//! `POST /predict`: numbers or a picture in, a class out.
//!
//! The body is told by its content type: JSON `{"data":[…]}`, a PNG or JPEG as it is, or a form
//! with one file. Everything that is the client's mistake is found here, before the request is
//! queued, and named.

mod answer;
mod numbers;
mod picture;

use std::sync::Arc;

use actix_multipart::Multipart;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::TryStreamExt;
use impetus_actors::serving::signature::Signature;
use impetus_actors::serving::{ModelKind, Protocol, Request, Route, ServeError, ServedModel};
use impetus_engine::{DType, Tensor};
use serde::Deserialize;
use tracing::info;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::body::Body;
use super::error::ApiError;
use super::measuring::{About, measure};
use super::openapi::refusals::refusals;
use super::openapi::tag;
use super::{AppState, Endpoint};
use crate::oip::json;
use crate::predictions::Made;

/// Parts a form may have before it is refused.
const MOST_PARTS: usize = 16;

#[derive(OpenApi)]
#[openapi(paths(predict))]
pub(super) struct Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PredictQuery {
    /// Which model; may be left out when there is only one.
    #[param(example = "surface")]
    model: Option<String>,
}

/// A PNG or JPEG as it is.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
struct Picture(#[expect(dead_code, reason = "stands for the bytes in the document")] web::Bytes);

/// A form with one file, under any name.
#[derive(ToSchema)]
#[schema(as = PictureForm)]
struct Form {
    #[schema(value_type = String, format = Binary)]
    #[expect(dead_code, reason = "stands for the file in the document")]
    image: web::Bytes,
}

refusals! {
    /// What is answered instead of a class.
    PredictRefusals:
    (400, ["wrong_length", "wrong_type", "missing_data", "not_a_number", "not_json", "wrong_shape", "several_inputs"], "the numbers are not what the model takes; the message names the place"),
    (400, ["broken_image", "bad_form", "no_file", "bad_body"], "the picture or the form cannot be read"),
    (400, ["bad_query"], "`model` is there twice"),
    (404, ["unknown_model"], "no model of that name"),
    (408, ["body_timeout"], "the body did not come in time"),
    (413, ["too_large", "too_many_pixels"], "more than `http.max_body` bytes or `http.max_image_pixels` pixels"),
    (415, ["unsupported_media_type", "not_an_image", "no_images"], "neither JSON nor PNG nor JPEG, or a model that takes numbers only"),
    (422, ["quarantined"], "this very content has killed a worker that had nothing else; it is refused for a while"),
    (429, ["queue_full"], "`models.queue` requests wait already"),
    (500, ["run_failed", "out_of_memory", "output_too_large", "no_classification", "engine_failed"], "the model ran and failed"),
    (503, ["no_model", "model_not_ready", "model_unloaded", "worker_lost", "overloaded"], "it cannot answer now; the message says why"),
    (503, ["log_unavailable", "log_overloaded", "log_timed_out"], "the model answers when the prediction is on the disk, and it is not; send it again after `Retry-After`"),
    (503, ["draining"], "the server is ending and the connection is a new one; another server takes it"),
    (504, ["deadline_exceeded"], "no answer within `http.request_timeout`"),
}

/// What a body can be.
enum Kind {
    Json,
    Picture,
    Form,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let predict = web::resource("/predict")
        .wrap(from_fn(|request, next| {
            measure(Endpoint::Predict, request, next)
        }))
        .route(web::post().to(predict));
    config.service(predict);
}

/// Numbers or a picture in, a class out.
///
/// A picture is decoded, brought to the size of the model (bilinear, averaged when shrunk), multiplied with `scale` and
/// normalised, as the model's `[image]` section says. Scores that are not probabilities already go through softmax.
#[utoipa::path(
    post, path = "/predict", operation_id = "predict", tag = tag::PREDICT, params(PredictQuery),
    request_body(content(
        (numbers::Numbers = "application/json"), (Picture = "image/png"), (Picture = "image/jpeg"), (Form = "multipart/form-data"),
    )),
    responses((status = 200, description = "The class", body = answer::Answer), PredictRefusals)
)]
async fn predict(
    request: HttpRequest,
    state: web::Data<AppState>,
    query: web::Query<PredictQuery>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let deadline = body.deadline();
    let (mut route, input) = match kind(&request)? {
        Kind::Json => {
            let numbers = numbers::parse(&body.whole().await?)?;
            let route = find(
                &request,
                &state,
                query.model.as_deref().or(numbers.model.as_deref()),
            )?;
            let input = from_numbers(route.model(), numbers.data)?;
            (route, input)
        }
        Kind::Picture => {
            let picture = body.whole().await?;
            let route = find(&request, &state, query.model.as_deref())?;
            let input = from_picture(&state, route.model(), picture).await?;
            (route, input)
        }
        Kind::Form => {
            let form = Multipart::new(request.headers(), body.clone());
            let picture = file_of(form)
                .await
                .map_err(|error| body.failure().unwrap_or(error))?;
            body.rest().await?;
            let route = find(&request, &state, query.model.as_deref())?;
            let input = from_picture(&state, route.model(), picture).await?;
            (route, input)
        }
    };
    let id = About::id(&request);
    let inference = route
        .infer(Request {
            id: id.clone(),
            ..Request::new(vec![input], deadline, Protocol::Predict)
        })
        .await?;
    let answer = answer::classify(route.model(), &inference)?;
    let made = Made {
        model: route.model(),
        inference: &inference,
        protocol: Protocol::Predict,
        request_id: id.as_deref(),
        name: None,
        deadline,
    };
    if let Some(recorder) = &state.recorder {
        recorder.record(&made).await?;
    }
    info!(model = %answer.model, class = %answer.class, "prediction served");
    Ok(HttpResponse::Ok().json(answer))
}

/// Returns the way to the model that was named, or to the only one.
fn find(request: &HttpRequest, state: &AppState, name: Option<&str>) -> Result<Route, ApiError> {
    let route = state.catalog.route_of(ModelKind::Tensors, name)?;
    About::is_for(request, route.model());
    Ok(route)
}

fn signature(model: &ServedModel) -> Result<Arc<Signature>, ServeError> {
    model.usable_signature()
}

/// Makes the input of a model that has one out of numbers, little-endian.
fn from_numbers(model: &ServedModel, data: Vec<u8>) -> Result<Tensor, ApiError> {
    let signature = signature(model)?;
    let name = &model.spec().name;
    let Some((spec, shape, numbers)) = signature.single_input() else {
        let inputs = signature.inputs.len();
        let message =
            format!("model {name:?} has {inputs} inputs; /predict is for models with one");
        return Err(ApiError::bad_request("several_inputs", message));
    };
    if spec.dtype != DType::F32 {
        let message = format!(
            "model {name:?} takes {}, /predict sends float32",
            spec.dtype
        );
        return Err(ApiError::bad_request("wrong_type", message));
    }
    let given = data.len() / size_of::<f32>();
    if given != numbers {
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let message = format!(
            "data has {given} numbers, model {name:?} takes {numbers} ({})",
            shape.join("×")
        );
        return Err(ApiError::bad_request("wrong_length", message));
    }
    Tensor::try_new(spec.name.clone(), spec.dtype, shape, data)
        .map_err(|error| ApiError::bad_request("wrong_shape", error.to_string()))
}

async fn from_picture(
    state: &AppState,
    model: &ServedModel,
    picture: web::Bytes,
) -> Result<Tensor, ApiError> {
    let Some(spec) = model.spec().description.image.clone() else {
        let message = format!(
            "model {:?} takes numbers only: its model.toml has no [image] section",
            model.spec().name
        );
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "no_images",
            message,
        ));
    };
    signature(model)?;
    let limit = state.config.http.max_image_pixels;
    // Decoding takes milliseconds of CPU: it must not stand still a request worker.
    let decoded = web::block(move || picture::decode(&picture, &spec, limit)).await;
    let data = decoded.map_err(|_| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "no thread is free to decode the picture",
        )
    })??;
    let data = data.iter().flat_map(|number| number.to_le_bytes());
    from_numbers(model, data.collect())
}

/// Returns the first file of a form.
async fn file_of(mut form: Multipart) -> Result<web::Bytes, ApiError> {
    let broken = |error: actix_multipart::MultipartError| {
        ApiError::bad_request("bad_form", format!("the form could not be read: {error}"))
    };
    for _ in 0..MOST_PARTS {
        let Some(mut field) = form.try_next().await.map_err(broken)? else {
            break;
        };
        let is_file = field
            .content_disposition()
            .is_some_and(|d| d.get_filename().is_some());
        let mut content = web::BytesMut::new();
        while let Some(chunk) = field.try_next().await.map_err(broken)? {
            if is_file {
                content.extend_from_slice(&chunk);
            }
        }
        if is_file {
            return Ok(content.freeze());
        }
    }
    Err(ApiError::bad_request(
        "no_file",
        "the form has no file; send one, as curl -F image=@picture.png does",
    ))
}

fn kind(request: &HttpRequest) -> Result<Kind, ApiError> {
    let given = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        // curl -d says the second one unless it is told otherwise.
        "application/json" | "application/x-www-form-urlencoded" | "text/json" => Ok(Kind::Json),
        "image/png" | "image/jpeg" | "image/jpg" | "application/octet-stream" => Ok(Kind::Picture),
        "multipart/form-data" => Ok(Kind::Form),
        other => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!(
                "content type {other:?} is not understood; send application/json, image/png, image/jpeg or multipart/form-data"
            ),
        )),
    }
}
