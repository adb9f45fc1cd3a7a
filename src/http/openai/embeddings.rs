//! `POST /v1/embeddings`.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::try_join_all;
use impetus_actors::serving::{ModelKind, Protocol, Request, Route};
use impetus_text::TextModel;

use super::TextRefusals;
use super::ask::{Asked, tokenizing, whole};
use super::error::OpenAiError;
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::measuring::About;
use crate::http::openapi::tag;
use crate::openai::Refusal;
use crate::openai::embeddings::{Answer, Batch, Fields, pool, settings};
use crate::openai::read::read;

/// Turn texts into vectors.
///
/// Texts of one request are run together. `dimensions` keeps the first numbers of each vector.
#[utoipa::path(
    post, path = "/v1/embeddings", operation_id = "embeddings", tag = tag::OPENAI, request_body = Fields,
    responses(
        (status = 200, description = "The vectors", body = Answer),
        TextRefusals,
    )
)]
pub(super) async fn embeddings(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, OpenAiError> {
    let deadline = body.began() + state.config.http.request_timeout.get();
    let body = whole(&request, &state, &body).await?;
    let fields: Fields = read(&body)?;
    let asked = Asked::find_for(
        ModelKind::Embedding,
        &request,
        &state,
        fields.model.as_deref(),
    )?;
    let Asked { route, text } = asked;
    let signature = route.model().usable_signature()?;
    let rows = match signature.batches {
        true => route.model().limits().max_batch,
        false => 1,
    };
    let (fields, tokens) = {
        let text = Arc::clone(&text);
        let work = move || fields.tokens(&text).map(|tokens| (fields, tokens));
        tokenizing(body.len(), work).await?
    };
    let batches = tokens.batches(&signature.inputs, rows)?;
    let mut vectors = vec![Vec::new(); tokens.texts()];
    let id = About::id(&request);
    // Both of a worker's batches at a time, so that it never waits for the next one.
    let at_a_time = route.model().limits().in_flight.max(1);
    let mut batches = batches.into_iter().peekable();
    while batches.peek().is_some() {
        let runs = batches.by_ref().take(at_a_time).map(|batch| {
            let mut asking = Request::new(Vec::new(), deadline, Protocol::Embeddings);
            asking.id.clone_from(&id);
            run(route.clone(), &text, batch, asking)
        });
        for (text, vector) in try_join_all(runs).await?.into_iter().flatten() {
            vectors[text] = vector;
        }
    }
    let answer = fields.answer(route.model(), &tokens, vectors)?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Runs a batch; returns the vector of each of its texts, with the text's place in the request.
async fn run(
    mut route: Route,
    text: &TextModel,
    batch: Batch,
    mut request: Request,
) -> Result<Vec<(usize, Vec<f32>)>, OpenAiError> {
    request.inputs = batch.inputs;
    let inference = route.infer(request).await.map_err(Refusal::from)?;
    let vectors = pool(&inference.outputs, &batch.lengths, &settings(text))?;
    Ok(batch.texts.into_iter().zip(vectors).collect())
}
