//! Many requests on one stream.
//!
//! Several of them are worked on at a time, and answers come in the order of the requests, which is
//! what clients rely on that do not look at ids. A request that is refused is answered with its
//! reason, and the stream goes on; only a message that cannot be read ends it.
//!
//! **Invariant:** a stream holds up nobody. It ends by itself when the server takes no new work, when
//! its client's deadline passes and when nothing has come on it for long; what it was asked before is
//! answered first.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryFutureExt};
use impetus_actors::serving::AnswerClass;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::{Code, Status, Streaming};

use super::call::Call;
use super::edge::{record, tell};
use super::proto::infer_parameter::ParameterChoice;
use super::proto::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use super::service::Inference;
use super::status::{class, ending, too_large};
use crate::health::Phase;
use crate::http::{Endpoint, Port};

/// What comes back on a stream.
pub(super) type Answers = BoxStream<'static, Result<ModelStreamInferResponse, Status>>;

/// The parameter that says that no more answers to a request follow.
const FINAL: &str = "triton_final_response";

/// What comes in on a stream, until it ends.
struct Incoming {
    messages: Streaming<ModelInferRequest>,
    phase: watch::Receiver<Phase>,
    call: Arc<Call>,
    idle: Duration,
    /// Largest message in bytes.
    most: usize,
}

/// Answers a stream.
pub(super) fn answers(
    service: Inference,
    messages: Streaming<ModelInferRequest>,
    call: Arc<Call>,
) -> Answers {
    let config = &service.state.config;
    let in_flight = config.grpc.stream_in_flight;
    let incoming = Incoming {
        messages,
        phase: service.state.lifecycle.watch(),
        call: Arc::clone(&call),
        idle: config.grpc.stream_idle_timeout.get(),
        most: config.grpc_max_message().as_usize(),
    };
    stream::unfold(Some(incoming), |incoming| async move {
        let mut incoming = incoming?;
        match incoming.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(incoming))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
    .map(move |next| {
        let (service, call) = (service.clone(), Arc::clone(&call));
        async move { Ok(one(&service, next?, &call).await) }
    })
    .buffered(in_flight)
    .boxed()
}

/// Answers one message of a stream.
async fn one(
    service: &Inference,
    message: ModelInferRequest,
    stream: &Call,
) -> ModelStreamInferResponse {
    let state = &service.state;
    let call = stream.message(state.config.grpc_request_timeout());
    let _in_flight = state.traffic.enter(Port::Grpc);
    state.traffic.count_work();
    // What comes back with a refusal tells for which request it is.
    let refused = ModelInferResponse {
        model_name: message.model_name.clone(),
        model_version: message.model_version.clone(),
        id: message.id.clone(),
        ..ModelInferResponse::default()
    };
    let answered = service.infer(message, &call).map_err(Status::from).await;
    let (error_message, mut answer) = match answered {
        Ok(answer) => {
            record(state, &call, Endpoint::GrpcInfer, AnswerClass::Success);
            (String::new(), answer)
        }
        Err(status) => {
            record(state, &call, Endpoint::GrpcInfer, class(status.code()));
            tell(&call, &status);
            (status.message().to_owned(), refused)
        }
    };
    // One answer to a request is the last one, so a client that asks for an empty one behind it
    // has it already.
    answer.parameters.insert(FINAL.to_owned(), yes());
    ModelStreamInferResponse {
        error_message,
        infer_response: Some(answer),
    }
}

fn yes() -> InferParameter {
    InferParameter {
        parameter_choice: Some(ParameterChoice::BoolParam(true)),
    }
}

// === impl Incoming ===

impl Incoming {
    /// Returns the next message, nothing when the client has sent its last one, or why no more are
    /// read.
    async fn next(&mut self) -> Result<Option<ModelInferRequest>, Status> {
        tokio::select! {
            biased;
            _ = self.phase.wait_for(|phase| *phase >= Phase::Draining) => Err(ending()),
            () = passed(self.call.clients_deadline) => {
                Err(Status::deadline_exceeded("the stream's own deadline has passed"))
            }
            () = sleep(self.idle) => {
                let idle = self.idle.as_secs_f64();
                let message = format!("nothing was asked on this stream for {idle:.0} s; open another one");
                Err(Status::unavailable(message))
            }
            message = self.messages.message() => message.map_err(|status| match status.code() {
                Code::OutOfRange => too_large(self.most),
                _ => status,
            }),
        }
    }
}

async fn passed(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(Instant::from_std(deadline)).await,
        None => std::future::pending().await,
    }
}
