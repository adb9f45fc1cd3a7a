//! A client of the inference service, and requests for it.

// Made by tests/grpc_wire, with a method for each call.
#[allow(dead_code, missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
mod generated;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use impetus::grpc::proto::infer_parameter::ParameterChoice;
use impetus::grpc::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use impetus::grpc::proto::{InferParameter, ModelInferRequest, ModelInferResponse};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub use generated::grpc_inference_service_client::GrpcInferenceServiceClient;

use crate::harness::{PATIENCE, Server};

/// Largest message that the client takes: the server's limits are the ones under test.
const LARGE: usize = 1 << 30;

pub type Service = GrpcInferenceServiceClient<Channel>;

/// A client, and the runtime it needs.
#[derive(Clone)]
pub struct Client {
    pub runtime: Arc<Runtime>,
    pub service: Service,
}

// === impl Client ===

impl Client {
    pub fn of(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let channel = runtime.block_on(async { endpoint(server).connect_lazy() });
        Self {
            runtime: Arc::new(runtime),
            service: service(channel),
        }
    }

    /// Makes a call and waits for its answer.
    pub fn call<T>(
        &self,
        call: impl AsyncFnOnce(&mut Service) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut service = self.service.clone();
        self.runtime.block_on(call(&mut service))
    }

    /// Has a request answered.
    pub fn infer(
        &self,
        request: impl tonic::IntoRequest<ModelInferRequest>,
    ) -> Result<ModelInferResponse, Status> {
        let request = request.into_request();
        let answer = self.call(async |service| service.model_infer(request).await)?;
        Ok(answer.into_inner())
    }

    /// Has a request answered while the test goes on.
    pub fn start(
        &self,
        request: ModelInferRequest,
    ) -> JoinHandle<Result<ModelInferResponse, Status>> {
        let mut service = self.service.clone();
        let answer = async move { Ok(service.model_infer(request).await?.into_inner()) };
        self.runtime.spawn(answer)
    }

    /// Waits for what was started.
    pub fn wait<T>(&self, started: JoinHandle<T>) -> T {
        self.runtime.block_on(started).unwrap()
    }
}

pub fn endpoint(server: &Server) -> Endpoint {
    let address = format!("http://127.0.0.1:{}", server.grpc_port);
    Endpoint::from_shared(address).unwrap().timeout(PATIENCE)
}

pub fn service(channel: Channel) -> Service {
    GrpcInferenceServiceClient::new(channel)
        .max_decoding_message_size(LARGE)
        .max_encoding_message_size(LARGE)
}

/// Makes a request of one raw input.
pub fn raw(
    model: &str,
    datatype: &str,
    shape: &[i64],
    data: impl Into<bytes::Bytes>,
) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![input("x", datatype, shape)],
        raw_input_contents: vec![data.into()],
        ..ModelInferRequest::default()
    }
}

pub fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

/// Makes a request to one of the models in `tests/models`.
pub fn picture(model: &str, marker: f32) -> ModelInferRequest {
    let mut numbers = vec![0.1_f32; 3 * 32 * 32];
    numbers[0] = marker;
    let data: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let mut request = raw(model, "FP32", &[1, 3, 32, 32], data);
    request.inputs[0].name = "image".to_owned();
    request
}

pub fn wanted(name: &str) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor {
        name: name.to_owned(),
        ..InferRequestedOutputTensor::default()
    }
}

pub fn parameters(name: &str, choice: ParameterChoice) -> HashMap<String, InferParameter> {
    let parameter_choice = Some(choice);
    HashMap::from([(name.to_owned(), InferParameter { parameter_choice })])
}

/// Gives a request a deadline of its client's.
pub fn within(request: ModelInferRequest, time: Duration) -> Request<ModelInferRequest> {
    let mut request = Request::new(request);
    request.set_timeout(time);
    request
}
