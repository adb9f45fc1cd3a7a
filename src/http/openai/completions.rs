//! `POST /v1/completions`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::TextRefusals;
use super::ask::{Asked, Asking, bounds, drawn_seed, tokenizing, whole};
use super::error::OpenAiError;
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::openapi::tag;
use crate::openai::answer::{Completion, Form};
use crate::openai::common::Common;
use crate::openai::completion::{CompletionFields, CompletionRequest};
use crate::openai::read::read;

/// A request for the continuation of texts.
#[derive(Deserialize, ToSchema)]
#[schema(as = OpenAiCompletionRequest)]
#[expect(dead_code, reason = "the two are read one after the other")]
pub(super) struct Request {
    #[serde(flatten)]
    completion: CompletionFields,
    #[serde(flatten)]
    common: Common,
}

/// Continue texts.
///
/// With several prompts, the answers to the first one have the first indices. With `stream` the answers come as
/// server-sent events, the last one `[DONE]`.
#[utoipa::path(
    post, path = "/v1/completions", operation_id = "completions", tag = tag::OPENAI, request_body = Request,
    responses(
        (status = 200, description = "The continuations", content((Completion = "application/json"), (Completion = "text/event-stream"))),
        TextRefusals,
    )
)]
pub(super) async fn completions(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, OpenAiError> {
    let began = body.began();
    let body = whole(&request, &state, &body).await?;
    let (common, fields): (Common, CompletionFields) = (read(&body)?, read(&body)?);
    let asked = Asked::find(&request, &state, common.model.as_deref())?;
    let asking = Asking {
        request: &request,
        state: &state,
        form: Form::Completion,
        streamed: common.streamed()?,
        began,
        prompt: "prompt",
    };
    let completion = CompletionRequest {
        common,
        fields,
        drawn_seed: drawn_seed(),
        bounds: bounds(&state, asked.route.model()),
    };
    let text = asked.text.clone();
    let job = tokenizing(body.len(), move || completion.job(&text)).await?;
    asking.answer(asked, job).await
}
