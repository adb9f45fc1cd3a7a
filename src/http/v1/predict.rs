//! `POST /v1/models/{model}:predict`.

use actix_web::{HttpRequest, HttpResponse, web};
use impetus_actors::serving::Protocol;
use tracing::info;

use super::schema::{Request, Response};
use super::{instances, predictions};
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::coding::Coding;
use crate::http::error::ApiError;
use crate::http::measuring::About;
use crate::http::openapi::tag;
use crate::http::strenuous;
use crate::http::v2::InferRefusals;
use crate::oip::{self, Caller, InferRequest};

/// Have a model run.
#[utoipa::path(
    post, path = "/v1/models/{model}:predict", operation_id = "v1_predict", tag = tag::V1,
    params(("model" = String, Path, example = "surface")), request_body = Request,
    responses((status = 200, description = "The outputs", body = Response), InferRefusals)
)]
pub(super) async fn predict(
    request: HttpRequest,
    state: web::Data<AppState>,
    model: web::Path<String>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let mut route = oip::route(&state.catalog, &model, None)?;
    About::is_for(&request, route.model());
    let caller = Caller {
        protocol: Protocol::V1Rest,
        deadline: body.deadline(),
        request_id: About::id(&request),
    };
    let coding = Coding::of_request(request.headers())?;
    let most = state.config.http.max_body.as_usize();
    let body = body.whole().await?;
    let signature = route.model().usable_signature()?;
    let bytes = if coding.is_some() { most } else { body.len() };
    let inputs = strenuous::work(bytes, move || {
        let body = match coding {
            None => body,
            Some(coding) => coding.decompress(&body, most)?,
        };
        Ok(instances::read(&body, &signature)?)
    })
    .await?;
    let asked = InferRequest {
        inputs,
        ..InferRequest::default()
    };
    let answer = oip::infer(&mut route, asked, caller, state.recorder.as_deref()).await?;
    info!(model = %answer.model.spec().name, "inference served");
    let outputs = answer.outputs.into_iter().map(|output| output.tensor);
    let outputs: Vec<_> = outputs.collect();
    let bytes = outputs.iter().map(|tensor| tensor.data().len()).sum();
    let body = strenuous::work(bytes, move || Ok(predictions::write(&outputs)?)).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(body))
}
