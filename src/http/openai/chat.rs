//! `POST /v1/chat/completions`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::TextRefusals;
use super::ask::{Asked, Asking, bounds, drawn_seed, tokenizing, whole};
use super::error::OpenAiError;
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::openapi::tag;
use crate::openai::answer::{ChatChunk, ChatCompletion, Form};
use crate::openai::chat::{ChatFields, ChatRequest};
use crate::openai::common::Common;
use crate::openai::read::read;

/// A request for the next message of a conversation.
#[derive(Deserialize, ToSchema)]
#[schema(as = OpenAiChatRequest)]
#[expect(dead_code, reason = "the two are read one after the other")]
pub(super) struct Request {
    #[serde(flatten)]
    chat: ChatFields,
    #[serde(flatten)]
    common: Common,
}

/// Go on with a conversation.
///
/// With `stream` the answer comes as server-sent events, each a chunk, the last one `[DONE]`. What breaks off in
/// mid-stream is ended by an event with `error`.
#[utoipa::path(
    post, path = "/v1/chat/completions", operation_id = "chat_completions", tag = tag::OPENAI, request_body = Request,
    responses(
        (status = 200, description = "The next message", content((ChatCompletion = "application/json"), (ChatChunk = "text/event-stream"))),
        TextRefusals,
    )
)]
pub(super) async fn chat(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, OpenAiError> {
    let began = body.began();
    let body = whole(&request, &state, &body).await?;
    let (common, fields): (Common, ChatFields) = (read(&body)?, read(&body)?);
    let asked = Asked::find(&request, &state, common.model.as_deref())?;
    let asking = Asking {
        request: &request,
        state: &state,
        form: Form::Chat,
        streamed: common.streamed()?,
        began,
        prompt: "messages",
    };
    let chat = ChatRequest {
        common,
        fields,
        drawn_seed: drawn_seed(),
        bounds: bounds(&state, asked.route.model()),
        now: OffsetDateTime::from(state.plane.wall()),
    };
    let (model, text) = (asked.route.model().spec().name.clone(), asked.text.clone());
    let job = tokenizing(body.len(), move || chat.job(&model, &text)).await?;
    asking.answer(asked, job).await
}
