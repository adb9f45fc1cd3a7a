//! The way of a request for text that both endpoints share: from a body to sequences, and from what they bring to
//! an answer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_actors::serving::{ModelKind, Route, ServeError, ServedModel};
use impetus_text::TextModel;
use tokio::time::timeout;
use tracing::info;
use uuid::Uuid;

use super::error::OpenAiError;
use super::sse;
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::coding::Coding;
use crate::http::measuring::About;
use crate::http::strenuous;
use crate::oip::Kind;
use crate::openai::Refusal;
use crate::openai::answer::{Form, Head, Writer};
use crate::openai::choice::{Choice, Delta};
use crate::openai::common::{Bounds, Streamed};
use crate::openai::generation::{Generation, events};
use crate::openai::job::Job;

/// How long the time is in which what goes wrong still gets a status: then a stream begins, whether there is
/// something to say or not.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How many times as long as reading a byte tokenizing it takes.
const TOKENIZING: usize = 64;

const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");

/// A request whose model has been found.
pub(super) struct Asked {
    pub(super) route: Route,
    pub(super) text: Arc<TextModel>,
}

/// A request that is being answered.
pub(super) struct Asking<'a> {
    pub(super) request: &'a HttpRequest,
    pub(super) state: &'a AppState,
    pub(super) form: Form,
    pub(super) streamed: Option<Streamed>,
    /// When its head had come.
    pub(super) began: Instant,
    /// The field of its prompt.
    pub(super) prompt: &'static str,
}

/// Reads the body of a request.
pub(super) async fn whole(
    request: &HttpRequest,
    state: &AppState,
    body: &Body,
) -> Result<web::Bytes, OpenAiError> {
    let coding = Coding::of_request(request.headers())?;
    let body = body.whole().await?;
    let Some(coding) = coding else {
        return Ok(body);
    };
    let most = state.config.http.max_body.as_usize();
    Ok(strenuous::work(most, move || coding.decompress(&body, most)).await?)
}

/// Does what takes longer the longer a text is.
pub(super) async fn tokenizing<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, OpenAiError> {
    let done = strenuous::work(bytes.saturating_mul(TOKENIZING), move || Ok(work())).await?;
    Ok(done?)
}

/// Returns what every request is held to.
pub(super) fn bounds(state: &AppState, model: &ServedModel) -> Bounds {
    Bounds {
        room: model.room().unwrap_or(usize::MAX),
        max_choices: state.config.generation.max_choices,
    }
}

/// Draws the seed of a request that has none.
pub(super) fn drawn_seed() -> u64 {
    // Each half has bits that say which kind of uuid it is, in other places.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    high ^ low
}

// === impl Asked ===

impl Asked {
    /// Finds the model that a request names, or the only one.
    pub(super) fn find(
        request: &HttpRequest,
        state: &AppState,
        name: Option<&str>,
    ) -> Result<Self, OpenAiError> {
        Self::find_for(ModelKind::Generation, request, state, name)
    }

    /// Finds the model that a request names, or else the only one of this kind.
    pub(super) fn find_for(
        kind: ModelKind,
        request: &HttpRequest,
        state: &AppState,
        name: Option<&str>,
    ) -> Result<Self, OpenAiError> {
        let route = state.catalog.route_of(kind, name);
        let route = route.map_err(|error| missing(state, error))?;
        let model = route.model();
        About::is_for(request, model);
        if model.kind() != kind {
            return Err(OpenAiError::from(ServeError::OtherKind {
                model: model.spec().name.clone(),
                kind: model.kind(),
            }));
        }
        model.usable_signature()?;
        let Some(text) = model.text() else {
            let message = format!("model {:?} is being opened", model.spec().name);
            let refusal = Refusal::new(Kind::Unavailable, "model_not_ready", message);
            return Err(refusal.retry_after(Duration::from_secs(1)).into());
        };
        Ok(Self { route, text })
    }
}

/// Says that no model was found; a request that could have named one of several is told so.
fn missing(state: &AppState, error: ServeError) -> OpenAiError {
    let models = state.catalog.entries();
    if !matches!(error, ServeError::NoModel { .. }) || models.is_empty() {
        return error.into();
    }
    let names: Vec<&str> = models.keys().map(String::as_str).collect();
    let message = format!(
        "is missing, and several models are served: {}",
        names.join(", ")
    );
    Refusal::invalid("model", message).into()
}

// === impl Asking ===

impl Asking<'_> {
    /// Has the job done, and answers.
    pub(super) async fn answer(self, asked: Asked, job: Job) -> Result<HttpResponse, OpenAiError> {
        let Asked { mut route, text } = asked;
        let structure = job.terms.grammar.as_ref().map(|(name, _)| *name);
        let blaming = |refusal: Refusal| OpenAiError::from(refusal.of_one(self.prompt, structure));
        let mut generation = self.begin(&mut route, &text, &job).map_err(blaming)?;
        let writer = Writer::new(
            self.form,
            self.streamed.is_some(),
            self.head(route.model()),
            job.logprobs.is_some(),
        );
        let Some(streamed) = self.streamed else {
            let answers = whole_answers(&mut generation).await.map_err(blaming)?;
            info!(model = %route.model().spec().name, "text generated");
            return Ok(self
                .response()
                .content_type("application/json")
                .body(writer.whole(answers, generation.counts())));
        };
        let first = match timeout(HEAD_WITHIN, generation.next()).await {
            Ok(Some(first)) => first.map_err(blaming)?,
            Ok(None) => return Err(Choice::broken_off().into()),
            Err(_) => Vec::new(),
        };
        let ending = About::streams(self.request);
        let events = sse::Stream::new(generation, writer, streamed, first, ending);
        Ok(self
            .response()
            .content_type("text/event-stream; charset=utf-8")
            .insert_header((CACHE_CONTROL, "no-cache"))
            // What stands in front is not to wait for more before it passes on what there is.
            .insert_header(("x-accel-buffering", "no"))
            .streaming(events.into_body()))
    }

    /// Has every sequence taken in, or none.
    fn begin(
        &self,
        route: &mut Route,
        text: &Arc<TextModel>,
        job: &Job,
    ) -> Result<Generation, Refusal> {
        let deadline = self.began + self.state.config.generation.timeout.get();
        let id = About::id(self.request);
        let mut sequences = Vec::new();
        for request in job.requests(deadline, id.as_ref()) {
            sequences.push(events(route.generate(request)?));
        }
        let choices = job.choices(text)?;
        Ok(Generation::new(
            choices.into_iter().zip(sequences),
            job.prompt_tokens(),
        ))
    }

    fn head(&self, model: &ServedModel) -> Head {
        let now = self.state.plane.wall().duration_since(UNIX_EPOCH);
        Head {
            id: String::new(),
            object: "",
            created: now.unwrap_or_default().as_secs(),
            model: model.spec().name.clone(),
            system_fingerprint: fingerprint(model),
        }
    }

    fn response(&self) -> actix_web::HttpResponseBuilder {
        let took = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut response = HttpResponse::Ok();
        response.insert_header((PROCESSING_MS, HeaderValue::from(took)));
        response
    }
}

/// Waits for the end of all answers.
async fn whole_answers(generation: &mut Generation) -> Result<Vec<Delta>, Refusal> {
    let mut answers: Vec<Delta> = (0..generation.answers())
        .map(|index| Delta {
            index,
            ..Delta::default()
        })
        .collect();
    while let Some(deltas) = generation.next().await {
        for delta in deltas? {
            let answer = &mut answers[delta.index];
            answer.text.push_str(&delta.text);
            answer.calls.extend(delta.calls);
            answer.tokens.extend(delta.tokens);
            answer.finish = delta.finish.or(answer.finish);
        }
    }
    Ok(answers)
}

/// Returns what changes with the model's files and with this server.
fn fingerprint(model: &ServedModel) -> String {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    format!("{:?}", model.fingerprint()).hash(&mut hasher);
    format!("fp_{:016x}", hasher.finish())
}
