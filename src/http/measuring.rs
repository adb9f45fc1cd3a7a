//! How long a request takes, from its head to the head of its answer; or to the end of an answer that comes while it
//! is generated, since its head says nothing of how long that took or how it went.
//!
//! Probes, scrapes and administration do not pass here. The clock stops also when the client goes:
//! what has taken so long that nobody waits for it any more is the last that should be missing.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use impetus_actors::serving::{AnswerClass, ServedModel};
use tracing::{debug, info};

use super::error::ApiError;
use super::openai::OpenAiError;
use super::request::is_late;
use super::{AppState, Endpoint};

/// What is known of a request while it is answered; kept among the request's extensions.
#[derive(Debug)]
pub struct About {
    id: HeaderValue,
    model: OnceCell<Arc<ServedModel>>,
    /// Where the measuring goes on, of an answer that comes while it is generated.
    streams: OnceCell<Rc<Slot>>,
}

/// The end of an answer that comes while it is generated. Dropped before that, the client has gone.
#[derive(Debug)]
pub(super) struct Ending(Rc<Slot>);

/// The clock of a request whose answer has begun.
#[derive(Default)]
struct Slot(RefCell<Option<Measured>>);

/// A request on its way through a handler. Dropped without an answer, it counts as one whose client
/// has gone.
struct Measured {
    request: HttpRequest,
    state: Option<web::Data<AppState>>,
    endpoint: Endpoint,
    began: Instant,
    answered: bool,
}

/// Measures the requests to an endpoint, and counts those that are work.
///
/// # Errors
/// As whatever comes next.
pub async fn measure(
    endpoint: Endpoint,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let measured = Measured::begin(endpoint, request.request());
    let response = if endpoint.is_work() && is_late(&request) {
        measured.turned_away();
        Err(match endpoint.is_openais() {
            true => OpenAiError::from(ApiError::ending()).into(),
            false => ApiError::ending().into(),
        })
    } else {
        next.call(request).await
    };
    let status = match &response {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    match About::continued(&measured.request).filter(|_| status.is_success()) {
        // No cycle: the request does not know the slot any more.
        Some(slot) => *slot.0.borrow_mut() = Some(measured),
        None => measured.answered(status),
    }
    response
}

// === impl About ===

impl About {
    /// Begins what is known of a request with its id.
    #[must_use]
    pub fn new(id: HeaderValue) -> Self {
        Self {
            id,
            model: OnceCell::new(),
            streams: OnceCell::new(),
        }
    }

    /// Returns the id under which the serving path knows a request.
    pub(super) fn id(request: &HttpRequest) -> Option<Arc<str>> {
        let extensions = request.extensions();
        let about: &Self = extensions.get()?;
        about.id.to_str().ok().map(Arc::from)
    }

    /// Notes for which model a request is. What comes second changes nothing.
    pub fn is_for(request: &HttpRequest, model: &Arc<ServedModel>) {
        if let Some(about) = request.extensions().get::<Self>() {
            let _ = about.model.set(Arc::clone(model));
        }
    }

    /// Notes that the answer comes while it is generated, and returns its end.
    pub(super) fn streams(request: &HttpRequest) -> Option<Ending> {
        let slot = Rc::<Slot>::default();
        let extensions = request.extensions();
        let about: &Self = extensions.get()?;
        about.streams.set(Rc::clone(&slot)).ok()?;
        Some(Ending(slot))
    }

    fn continued(request: &HttpRequest) -> Option<Rc<Slot>> {
        let mut extensions = request.extensions_mut();
        extensions.get_mut::<Self>()?.streams.take()
    }
}

// === impl Slot ===

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

// === impl Ending ===

impl Ending {
    /// Stops the clock.
    pub(super) fn ended(self, class: AnswerClass) {
        if let Some(mut measured) = self.0.0.borrow_mut().take() {
            measured.ended(class);
        }
    }
}

// === impl Measured ===

impl Measured {
    fn begin(endpoint: Endpoint, request: &HttpRequest) -> Self {
        let state = request.app_data::<web::Data<AppState>>().cloned();
        if let Some(state) = state.as_ref().filter(|_| endpoint.is_work()) {
            state.traffic.count_work();
        }
        Self {
            request: request.clone(),
            state,
            endpoint,
            began: Instant::now(),
            answered: false,
        }
    }

    fn turned_away(&self) {
        let state = self
            .state
            .as_ref()
            .filter(|_| self.endpoint.is_for_models());
        if let Some(state) = state {
            state.catalog.turned_away_at_the_end();
        }
    }

    fn answered(mut self, status: StatusCode) {
        self.ended(class(status));
        if !self.endpoint.is_work() {
            return;
        }
        let (method, path) = (self.request.method(), self.request.path());
        let status = status.as_u16();
        if status >= 500 {
            info!(%method, path, status, "request failed");
        } else {
            debug!(%method, path, status, "request answered");
        }
    }

    fn ended(&mut self, class: AnswerClass) {
        self.answered = true;
        let took = self.began.elapsed();
        self.record(class, took);
        let state = self.state.as_ref().filter(|_| self.endpoint.is_work());
        if let Some(state) = state.filter(|_| class == AnswerClass::Success) {
            state.outcomes.took(took);
        }
    }

    fn record(&self, class: AnswerClass, took: Duration) {
        let extensions = self.request.extensions();
        let about = extensions.get::<About>();
        let model = about.and_then(|about| about.model.get());
        match (model.zip(self.endpoint.protocol()), &self.state) {
            (Some((model, protocol)), _) => model.answers(protocol).record(class, took),
            (None, Some(state)) => state.traffic.times(self.endpoint).record(class, took),
            (None, None) => {}
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.answered {
            self.record(AnswerClass::ClientFault, self.began.elapsed());
        }
    }
}

fn class(status: StatusCode) -> AnswerClass {
    if status.is_server_error() {
        AnswerClass::ServerFault
    } else if status.is_client_error() {
        AnswerClass::ClientFault
    } else {
        AnswerClass::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_of_the_class_that_it_begins_with() {
        for (status, expected) in [
            (200, AnswerClass::Success),
            (304, AnswerClass::Success),
            (404, AnswerClass::ClientFault),
            (429, AnswerClass::ClientFault),
            (503, AnswerClass::ServerFault),
        ] {
            assert_eq!(class(StatusCode::from_u16(status).unwrap()), expected);
        }
    }
}
