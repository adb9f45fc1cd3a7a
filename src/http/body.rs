//! A request's body as it comes in, and how long that may take.
//!
//! Every handler that reads a body reads it here, so that no client can hold a request open by
//! sending its body slowly or not at all. The body counts as part of the request: what it takes to
//! arrive is taken from the time the request has, and is not given to it a second time.
//!
//! Whoever breaks a limit is told which, and loses the connection: what follows on it would be the
//! rest of a body that nobody waits for.

use std::cell::RefCell;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::connection::Client;
use super::error::ApiError;
use super::{AppState, Closed, Traffic};
use crate::config::{HttpConfig, Period};

/// Bytes for which room is made before they have come, whatever the length claims to be.
const ROOM: usize = 64 * 1024;

/// A request's body. Clones read the same one, each part once.
#[derive(Clone)]
pub(super) struct Body(Rc<RefCell<Arrival>>);

struct Arrival {
    payload: Payload,
    limits: Limits,
    /// Where it is counted that a client was too slow.
    traffic: Arc<Traffic>,
    client: Option<Rc<Client>>,
    /// The length that the head promises, if it promises one.
    expected: Option<u64>,
    received: u64,
    /// When the head had come.
    began: Instant,
    /// When the last part came.
    last: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    /// What was wrong, for whoever reads parts through somebody else's parser.
    failure: Option<ApiError>,
}

struct Limits {
    bytes: u64,
    whole: Period,
    idle: Period,
    request: Period,
}

/// A limit of time: when it is reached, how long it is, and what it is called.
struct Due {
    at: Instant,
    limit: Period,
    key: &'static str,
}

const WHOLE: &str = "http.client_body_timeout";
const IDLE: &str = "http.client_idle_timeout";
const REQUEST: &str = "http.request_timeout";

// === impl Body ===

impl Body {
    /// Returns the moment at which the head had come.
    pub(super) fn began(&self) -> std::time::Instant {
        self.0.borrow().began.into_std()
    }

    /// Returns the moment by which the request is to be answered.
    pub(super) fn deadline(&self) -> std::time::Instant {
        let arrival = self.0.borrow();
        (arrival.began + arrival.limits.request.get()).into_std()
    }

    /// Returns what is left of the time in which the request is to be answered.
    pub(super) fn time_left(&self) -> Duration {
        self.deadline()
            .saturating_duration_since(std::time::Instant::now())
    }

    /// Reads the whole body.
    pub(super) async fn whole(&self) -> Result<web::Bytes, ApiError> {
        let Some(first) = self.part().await? else {
            return Ok(web::Bytes::new());
        };
        let Some(second) = self.part().await? else {
            return Ok(first);
        };
        let expected = self.0.borrow().expected.unwrap_or_default();
        let expected = usize::try_from(expected).unwrap_or(ROOM).min(ROOM);
        let mut body = web::BytesMut::with_capacity(expected.max(first.len() + second.len()));
        body.extend_from_slice(&first);
        body.extend_from_slice(&second);
        while let Some(part) = self.part().await? {
            body.extend_from_slice(&part);
        }
        Ok(body.freeze())
    }

    /// Reads what is left of the body and drops it.
    pub(super) async fn rest(&self) -> Result<(), ApiError> {
        while self.part().await?.is_some() {}
        Ok(())
    }

    /// Returns why reading failed, when somebody else's parser has met the failure.
    pub(super) fn failure(&self) -> Option<ApiError> {
        self.0.borrow_mut().failure.take()
    }

    async fn part(&self) -> Result<Option<web::Bytes>, ApiError> {
        poll_fn(|cx| self.0.borrow_mut().poll_part(cx))
            .await
            .transpose()
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let state = request
            .app_data::<web::Data<AppState>>()
            .expect("every route has the state");
        let length = request.headers().get(CONTENT_LENGTH);
        let now = Instant::now();
        ready(Ok(Self(Rc::new(RefCell::new(Arrival {
            payload: payload.take(),
            limits: Limits::of(&state.config.http),
            traffic: Arc::clone(&state.traffic),
            client: Client::of(request),
            expected: length.and_then(|length| length.to_str().ok()?.parse().ok()),
            received: 0,
            began: now,
            last: now,
            alarm: None,
            failure: None,
        })))))
    }
}

/// For parsers that take a stream; what was wrong is kept as [`Body::failure`].
impl Stream for Body {
    type Item = Result<web::Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut arrival = self.0.borrow_mut();
        let part = ready!(arrival.poll_part(cx));
        Poll::Ready(part.map(|part| {
            part.map_err(|failure| {
                arrival.failure = Some(failure);
                PayloadError::Incomplete(None)
            })
        }))
    }
}

// === impl Arrival ===

impl Arrival {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<web::Bytes, ApiError>>> {
        if self.expected.unwrap_or_default() > self.limits.bytes {
            return Poll::Ready(Some(Err(self.too_large())));
        }
        match Pin::new(&mut self.payload).poll_next(cx) {
            Poll::Ready(None) => {
                if let Some(client) = &self.client {
                    client.body_was_read();
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(part))) => {
                self.received += part.len() as u64;
                self.last = Instant::now();
                if self.received > self.limits.bytes {
                    return Poll::Ready(Some(Err(self.too_large())));
                }
                Poll::Ready(Some(Ok(part)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(&error)))),
            Poll::Pending => self.poll_late(cx).map(|late| Some(Err(late))),
        }
    }

    /// Ready when the client has been too slow.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<ApiError> {
        let due = self.due();
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(due.at)));
        if alarm.deadline() != due.at {
            alarm.as_mut().reset(due.at);
        }
        ready!(alarm.as_mut().poll(cx));
        self.traffic.count_closed(Closed::BodyTimeout);
        debug!(
            key = due.key,
            received = self.received,
            "a body came too slowly"
        );
        Poll::Ready(self.late(&due))
    }

    fn due(&self) -> Due {
        let due = |since: Instant, limit: Period, key| Due {
            at: since + limit.get(),
            limit,
            key,
        };
        [
            due(self.began, self.limits.request, REQUEST),
            due(self.last, self.limits.idle, IDLE),
        ]
        .into_iter()
        .fold(due(self.began, self.limits.whole, WHOLE), |first, other| {
            if other.at < first.at { other } else { first }
        })
    }

    fn late(&self, due: &Due) -> ApiError {
        let Due { limit, key, .. } = due;
        let came = match self.expected {
            Some(expected) => format!("{} of {expected} bytes came", self.received),
            None => format!("{} bytes came", self.received),
        };
        let message = if *key == IDLE {
            format!("nothing of the body came for {limit} ({key}): {came}")
        } else {
            format!("the body did not come whole within {limit} ({key}): {came}")
        };
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    }

    fn too_large(&self) -> ApiError {
        let most = self.limits.bytes;
        let message = format!("the body is larger than {most} bytes (http.max_body)");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }
}

// === impl Limits ===

impl Limits {
    fn of(http: &HttpConfig) -> Self {
        Self {
            bytes: http.max_body.as_usize() as u64,
            whole: http.client_body_timeout,
            idle: http.client_idle_timeout,
            request: http.request_timeout,
        }
    }
}

fn broken(error: &PayloadError) -> ApiError {
    ApiError::bad_request("bad_body", format!("the body could not be read: {error}"))
}
