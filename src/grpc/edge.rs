//! What happens to every call: its id, its deadline, its place among those in flight, its line in
//! the log.
//!
//! The generated code knows messages and statuses; what goes around them is here, once, for every
//! service on the port. A call that its client gives up is dropped with all that it waits for, at
//! whatever point it is, and so is one whose deadline passes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use impetus_actors::serving::AnswerClass;
use tonic::body::Body;
use tonic::codegen::http::header::HeaderName;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Code, Status};
use tracing::{debug, info};

use super::call::{Call, Circumstances, REQUEST_ID};
use super::gate::Admission;
use super::plain;
use super::proto::grpc_inference_service_server::{GrpcInferenceServiceServer, SERVICE_NAME};
use super::sending::Sending;
use super::service::Inference;
use super::standing::Standing;
use super::status::{class, ending, too_large};
use super::within::wait_in_place_if;
use crate::http::{AppState, Endpoint, InFlight, Port};

/// How a message is compressed, and which ways its sender understands.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// By how much the deadline of a call is later here than in the serving path, which can say more
/// about what was waited for.
const LATER: Duration = Duration::from_millis(50);

/// Answers the calls to a service.
pub(super) type Handler =
    Box<dyn Fn(Request<Incoming>) -> BoxFuture<Response<Body>, Infallible> + Send + Sync>;

/// What all connections have in common.
pub(super) struct Shared {
    pub(super) state: AppState,
    pub(super) service: Inference,
    /// The service behind generated code.
    pub(super) inference: GrpcInferenceServiceServer<Inference>,
    /// Largest message in bytes.
    pub(super) most: usize,
    /// Every other service, by its name.
    pub(super) others: Vec<(&'static str, Handler)>,
}

/// Answers the calls of one connection.
#[derive(Clone)]
pub(super) struct Edge {
    shared: Arc<Shared>,
    standing: Arc<Standing>,
}

/// A call to the inference service. Dropped without an answer, it counts as one whose client has
/// gone.
struct Measured<'a> {
    state: &'a AppState,
    call: Arc<Call>,
    endpoint: Endpoint,
    answered: bool,
}

/// Makes a handler of a generated service.
pub(super) fn handler<S>(service: S) -> Handler
where
    S: Service<
            Request<Incoming>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    // Generated services are always ready.
    Box::new(move |request| service.clone().call(request))
}

// === impl Edge ===

impl Edge {
    pub(super) fn new(shared: Arc<Shared>, standing: Arc<Standing>) -> Self {
        Self { shared, standing }
    }

    async fn answer(self, mut request: Request<Incoming>) -> Response<Sending> {
        let under_way = self.standing.begin();
        let circumstances = Circumstances {
            longest: self.longest(request.uri().path()),
            is_local: self.standing.is_local,
        };
        let call = Arc::new(Call::begin(request.headers(), circumstances));
        request.extensions_mut().insert(Arc::clone(&call));
        let compresses = agree_on_compression(request.headers_mut());
        let path = request.uri().path();
        let service = path.split('/').nth(1).unwrap_or_default();
        let (mut response, in_flight) = if service == SERVICE_NAME {
            self.inference(request, &call, compresses).await
        } else if let Some((_, other)) = self.shared.others.iter().find(|o| o.0 == service) {
            (in_time(&call, other(request)).await, None)
        } else {
            let message =
                format!("there is no service {service:?} here; reflection lists those that are");
            (Status::unimplemented(message).into_http(), None)
        };
        if let Ok(id) = HeaderValue::from_str(&call.id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response.map(|body| Sending::new(body, under_way, in_flight).compressing(compresses))
    }

    /// Returns how long a call may take: loading a model has a time of its own.
    fn longest(&self, path: &str) -> Duration {
        let config = &self.shared.state.config;
        match path.ends_with("/RepositoryModelLoad") || path.ends_with("/RepositoryModelUnload") {
            true => config.models.control_timeout.get(),
            false => config.grpc_request_timeout(),
        }
    }

    async fn inference(
        &self,
        request: Request<Incoming>,
        call: &Arc<Call>,
        compresses: bool,
    ) -> (Response<Body>, Option<InFlight>) {
        let state = &self.shared.state;
        let uri = request.uri().clone();
        let name = uri.path().rsplit('/').next().unwrap_or_default();
        let infers = matches!(name, "ModelInfer" | "ModelStreamInfer");
        let is_probe = matches!(name, "ServerLive" | "ServerReady" | "ModelReady");
        let is_stream = name == "ModelStreamInfer";
        if let Some(refused) = self.refuses(infers, is_probe) {
            return (refused.into_http(), None);
        }
        let endpoint = if infers {
            Endpoint::GrpcInfer
        } else {
            Endpoint::Grpc
        };
        // Each message of a stream is counted and measured by itself: the stream may stay for days.
        let measured = (!is_probe && !is_stream).then(|| Measured::begin(state, call, endpoint));
        let in_flight = (!is_stream).then(|| state.traffic.enter(Port::Grpc));
        let answer = if name == "ModelInfer" && !compresses {
            let (service, most) = (&self.shared.service, self.shared.most);
            in_time(call, plain::infer(service, request, call, most).map(Ok)).await
        } else {
            let answer = self.shared.inference.clone().call(request);
            wait_in_place_if(compresses, in_time(call, answer)).await
        };
        let answer = self.explain(answer);
        if let Some(measured) = measured {
            measured.answered(Status::from_header_map(answer.headers()));
        }
        (answer, in_flight)
    }

    /// Returns why a call is not answered on this connection, if so.
    fn refuses(&self, infers: bool, is_probe: bool) -> Option<Status> {
        let state = &self.shared.state;
        match self.standing.admission {
            Admission::Late if infers => {
                state.traffic.count_work();
                state.catalog.turned_away_at_the_end();
                Some(ending())
            }
            Admission::Probes if !is_probe => {
                let most = state.config.grpc.max_connections;
                Some(Status::resource_exhausted(format!(
                    "{most} connections are open, which is the limit; on this one the server says only how it is"
                )))
            }
            _ => None,
        }
    }

    /// Finds the answer that says that the call's message was too large.
    fn explain(&self, answer: Response<Body>) -> Response<Body> {
        let code = answer.headers().get(Status::GRPC_STATUS);
        match code.map(|code| Code::from_bytes(code.as_bytes())) {
            Some(Code::OutOfRange) => too_large(self.shared.most).into_http(),
            _ => answer,
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Edge {
    type Response = Response<Sending>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let edge = self.clone();
        Box::pin(async move { Ok(edge.answer(request).await) })
    }
}

// === impl Measured ===

impl<'a> Measured<'a> {
    fn begin(state: &'a AppState, call: &Arc<Call>, endpoint: Endpoint) -> Self {
        if endpoint.is_work() {
            state.traffic.count_work();
        }
        Self {
            state,
            call: Arc::clone(call),
            endpoint,
            answered: false,
        }
    }

    fn answered(mut self, status: Option<Status>) {
        self.answered = true;
        let code = status.as_ref().map_or(Code::Ok, Status::code);
        self.record(class(code));
        if let Some(status) = status {
            tell(&self.call, &status);
        }
    }

    fn record(&self, class: AnswerClass) {
        record(self.state, &self.call, self.endpoint, class);
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.record(AnswerClass::ClientFault);
        }
    }
}

/// Counts an answer under the model that it is for.
pub(super) fn record(state: &AppState, call: &Call, endpoint: Endpoint, class: AnswerClass) {
    let took = call.began.elapsed();
    if class == AnswerClass::Success && endpoint.is_work() {
        state.outcomes.took(took);
    }
    match call.model().zip(endpoint.protocol()) {
        Some((model, protocol)) => model.answers(protocol).record(class, took),
        None => state.traffic.times(endpoint).record(class, took),
    }
}

/// Logs that a call got no answer.
pub(super) fn tell(call: &Call, status: &Status) {
    let (id, code, why) = (&call.id, status.code(), status.message());
    if class(code) == AnswerClass::ServerFault {
        info!(%id, ?code, why, "grpc call failed");
    } else {
        debug!(%id, ?code, why, "grpc call refused");
    }
}

/// Has a call answered before nobody waits for it any more.
async fn in_time(
    call: &Call,
    answer: impl Future<Output = Result<Response<Body>, Infallible>>,
) -> Response<Body> {
    let deadline = tokio::time::Instant::from_std(call.deadline + LATER);
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(Ok(answer)) => answer,
        Err(_) => {
            let waited = (call.deadline - call.began).as_secs_f64();
            let message = format!("the call was not answered within {waited:.1} s");
            Status::deadline_exceeded(message).into_http()
        }
    }
}

/// Answers are compressed as the call is, if its client can read that. Clients say that they could
/// read it without ever wanting it, and it costs more than it saves on a network that is fast.
///
/// Returns whether the call is compressed.
fn agree_on_compression(headers: &mut HeaderMap) -> bool {
    let used = headers.get(ENCODING).filter(|used| *used != "identity");
    let used = used.cloned();
    let readable = headers
        .get(ACCEPT_ENCODING)
        .and_then(|all| all.to_str().ok());
    let reads = |used: &HeaderValue| {
        let mut ways = readable.unwrap_or_default().split(',');
        ways.any(|way| way.trim() == *used)
    };
    match used.as_ref().filter(|used| reads(used)).cloned() {
        Some(both) => headers.insert(ACCEPT_ENCODING, both),
        None => headers.remove(ACCEPT_ENCODING),
    };
    used.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compressed_only_for_who_compresses_and_reads_it() {
        for (used, readable, agreed) in [
            (Some("gzip"), Some("identity,deflate, gzip"), Some("gzip")),
            (Some("deflate"), Some("gzip,deflate"), Some("deflate")),
            (Some("gzip"), Some("deflate"), None),
            (Some("gzip"), None, None),
            (Some("identity"), Some("gzip"), None),
            (None, Some("identity,deflate,gzip"), None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ENCODING, used), (ACCEPT_ENCODING, readable)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let compresses = agree_on_compression(&mut headers);
            assert_eq!(compresses, used.is_some_and(|used| used != "identity"));
            let left = headers
                .get(ACCEPT_ENCODING)
                .map(|way| way.to_str().unwrap());
            assert_eq!(left, agreed, "{used:?} {readable:?}");
        }
    }
}
