//! What goes around a call: its id, the books, compression, reflection.

use impetus::grpc::proto::ModelInferRequest;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

use super::client::{Client, endpoint, raw};
use super::models;
use crate::harness::Server;

fn echo(bytes: usize) -> ModelInferRequest {
    let extent = i64::try_from(bytes).unwrap();
    raw("echo_UINT8", "UINT8", &[1, extent], vec![7; bytes])
}

#[test]
fn a_well_formed_id_comes_back_and_is_made_up_where_there_is_none_also_with_a_refusal() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let mut request = Request::new(echo(1));
    request
        .metadata_mut()
        .insert("x-request-id", "mine-1".parse().unwrap());
    let answer = client.call(async |s| s.model_infer(request).await).unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine-1");
    let answer = client.call(async |s| s.model_infer(echo(1)).await).unwrap();
    let made_up = answer.metadata().get("x-request-id").unwrap();
    assert_eq!(made_up.len(), 36);
    let mut request = Request::new(raw("nobody", "UINT8", &[1, 1], vec![1]));
    request
        .metadata_mut()
        .insert("x-request-id", "mine-2".parse().unwrap());
    let refused = client.infer(request).unwrap_err();
    assert_eq!(refused.metadata().get("x-request-id").unwrap(), "mine-2");
}

#[test]
fn calls_are_counted_and_timed_like_requests_over_http() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    for _ in 0..3 {
        client.infer(echo(1)).unwrap();
    }
    client
        .infer(raw("nobody", "UINT8", &[1, 1], vec![1]))
        .unwrap_err();
    client
        .infer(raw("echo_UINT8", "UINT8", &[1], vec![1]))
        .unwrap_err();
    client
        .call(async |s| {
            s.server_metadata(impetus::grpc::proto::ServerMetadataRequest {})
                .await
        })
        .unwrap();
    let count = "impetus_request_duration_seconds_count{endpoint=";
    for line in [
        "impetus_requests_total 5".to_owned(),
        format!("{count}\"grpc_infer\",model=\"echo_UINT8\",status=\"2xx\"}} 3"),
        format!("{count}\"grpc_infer\",model=\"echo_UINT8\",status=\"4xx\"}} 1"),
        format!("{count}\"grpc_infer\",model=\"none\",status=\"4xx\"}} 1"),
        format!("{count}\"predict\",model=\"echo_UINT8\",status=\"2xx\"}} 0"),
        format!("{count}\"grpc\",model=\"none\",status=\"2xx\"}} 1"),
        "impetus_grpc_connections 1".to_owned(),
        "impetus_grpc_requests_in_flight 0".to_owned(),
    ] {
        // What was sent last may not have been handed over yet.
        server.wait_for(&line, || {
            server.get("/metrics").text().lines().any(|l| l == line)
        });
    }
}

#[test]
fn a_compressed_call_gets_a_compressed_answer_and_no_other_call_does() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let mut compressing = client.clone();
        compressing.service = compressing
            .service
            .send_compressed(encoding)
            .accept_compressed(encoding);
        let answer = compressing
            .call(async |s| s.model_infer(echo(100_000)).await)
            .unwrap();
        let used = answer
            .metadata()
            .get("grpc-encoding")
            .map(|used| used.to_str().unwrap().to_owned());
        assert_eq!(used, Some(encoding.to_string()));
        assert_eq!(answer.into_inner().raw_output_contents[0], vec![7; 100_000]);
    }
    let mut willing = client.clone();
    willing.service = willing.service.accept_compressed(CompressionEncoding::Gzip);
    let answer = willing
        .call(async |s| s.model_infer(echo(100_000)).await)
        .unwrap();
    assert!(
        answer
            .metadata()
            .get("grpc-encoding")
            .is_none_or(|used| used == "identity")
    );
}

#[test]
fn a_message_that_unpacks_beyond_the_limit_is_refused() {
    let server = models::one("UINT8")
        .set("grpc.max_message", "\"1MiB\"")
        .start_ready();
    let mut client = Client::of(&server);
    client.service = client.service.send_compressed(CompressionEncoding::Gzip);
    // Zeros and the like: packed it is a thousandth of that.
    let refused = client.infer(echo(20_000_000)).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    client.infer(echo(1000)).unwrap();
}

/// Asks reflection one thing.
async fn reflect(server: &Server, asked: MessageRequest) -> MessageResponse {
    let channel = endpoint(server).connect_lazy();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(asked),
    };
    let outgoing = futures_util::stream::iter([request]);
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client
        .server_reflection_info(outgoing)
        .await
        .unwrap()
        .into_inner();
    answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap()
}

#[test]
fn reflection_lists_the_services_and_describes_them() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let listed = client.runtime.block_on(reflect(
        &server,
        MessageRequest::ListServices(String::new()),
    ));
    let MessageResponse::ListServicesResponse(listed) = listed else {
        panic!("{listed:?}");
    };
    let names: Vec<&str> = listed
        .service
        .iter()
        .map(|service| &*service.name)
        .collect();
    for name in ["inference.GRPCInferenceService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("inference.ModelConfig".to_owned());
    let described = client.runtime.block_on(reflect(&server, symbol));
    assert!(
        matches!(described, MessageResponse::FileDescriptorResponse(_)),
        "{described:?}"
    );
}

/// Tools that have not moved on ask the older one.
#[test]
fn the_older_reflection_is_there_as_well() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let asked = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(asked),
    };
    let answer = client.runtime.block_on(async {
        let channel = endpoint(&server).connect_lazy();
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
        let requests = futures_util::stream::iter([request]);
        let answers = client.server_reflection_info(requests).await;
        answers
            .unwrap()
            .into_inner()
            .message()
            .await
            .unwrap()
            .unwrap()
    });
    assert!(format!("{answer:?}").contains("inference.GRPCInferenceService"));
}

#[test]
fn a_service_that_is_not_there_is_unimplemented() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let refused = client.runtime.block_on(async {
        let mut grpc = tonic::client::Grpc::new(endpoint(&server).connect_lazy());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ModelInferRequest, ModelInferRequest>::default();
        let path = "/somebody.Else/Call".parse().unwrap();
        grpc.unary(Request::new(echo(1)), path, codec)
            .await
            .unwrap_err()
    });
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    assert!(refused.message().contains("somebody.Else"), "{refused}");
}
