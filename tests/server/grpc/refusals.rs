//! What is wrong with a request is said in the status and in words that help.

use impetus::grpc::proto::infer_parameter::ParameterChoice;
use impetus::grpc::proto::{
    InferTensorContents, ModelConfigRequest, ModelInferRequest, ModelMetadataRequest,
    ModelReadyRequest, ModelStatisticsRequest, RepositoryIndexRequest,
    SystemSharedMemoryStatusRequest, TraceSettingRequest,
};
use tonic::Code;

use super::client::{Client, input, parameters, raw, wanted};
use super::models;

fn fp32() -> ModelInferRequest {
    raw("echo_FP32", "FP32", &[1, 1], vec![0; 4])
}

fn changed(change: impl FnOnce(&mut ModelInferRequest)) -> ModelInferRequest {
    let mut request = fp32();
    change(&mut request);
    request
}

#[test]
fn every_mistake_has_its_code_and_names_itself() {
    let server = models::one("FP32").start_ready();
    let client = Client::of(&server);
    let shared = || {
        parameters(
            "shared_memory_region",
            ParameterChoice::StringParam("r".to_owned()),
        )
    };
    let contents = Some(InferTensorContents {
        fp32_contents: vec![1.0],
        ..InferTensorContents::default()
    });
    let cases = [
        (
            changed(|r| r.model_name = "nobody".to_owned()),
            Code::NotFound,
            "nobody",
        ),
        (
            changed(|r| r.model_version = "9".to_owned()),
            Code::NotFound,
            "version \"9\"",
        ),
        (
            changed(|r| r.inputs[0].name = "image".to_owned()),
            Code::InvalidArgument,
            "image",
        ),
        (
            changed(|r| {
                r.inputs.clear();
                r.raw_input_contents.clear();
            }),
            Code::InvalidArgument,
            "input x is missing",
        ),
        (
            changed(|r| {
                r.inputs.push(input("x", "FP32", &[1, 1]));
                r.raw_input_contents.push(vec![0; 4].into());
            }),
            Code::InvalidArgument,
            "given twice",
        ),
        (
            changed(|r| r.inputs[0].shape = vec![1]),
            Code::InvalidArgument,
            "must have shape [n, k]",
        ),
        (
            changed(|r| r.inputs[0].shape = vec![1, 2]),
            Code::InvalidArgument,
            "takes 8 bytes, got 4",
        ),
        (
            changed(|r| r.inputs[0].shape = vec![1, -1]),
            Code::InvalidArgument,
            "negative",
        ),
        (
            changed(|r| r.inputs[0].shape = vec![i64::MAX, i64::MAX]),
            Code::InvalidArgument,
            "too large",
        ),
        (
            changed(|r| r.inputs[0].datatype = "INT32".to_owned()),
            Code::InvalidArgument,
            "must be FP32, got INT32",
        ),
        (
            changed(|r| r.inputs[0].datatype = "FLOAT".to_owned()),
            Code::InvalidArgument,
            "there are BOOL",
        ),
        (
            changed(|r| r.inputs[0].contents = contents),
            Code::InvalidArgument,
            "send one of them",
        ),
        (
            changed(|r| r.raw_input_contents.push(vec![].into())),
            Code::InvalidArgument,
            "1 inputs and 2 raw",
        ),
        (
            changed(|r| r.outputs = vec![wanted("z")]),
            Code::InvalidArgument,
            "its outputs are y",
        ),
        (
            changed(|r| r.inputs[0].parameters = shared()),
            Code::Unimplemented,
            "shared memory",
        ),
        (
            changed(|r| {
                r.parameters = parameters("timeout", ParameterChoice::StringParam("1s".to_owned()))
            }),
            Code::InvalidArgument,
            "\"timeout\"",
        ),
    ];
    for (request, code, words) in cases {
        let refused = client.infer(request).unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
    }
    // And the connection serves on.
    client.infer(fp32()).unwrap();
}

#[test]
fn a_message_above_the_limit_is_refused_and_one_below_it_is_not() {
    let server = models::one("UINT8")
        .set("grpc.max_message", "\"1MiB\"")
        .start_ready();
    let client = Client::of(&server);
    let of = |bytes: i64| {
        raw(
            "echo_UINT8",
            "UINT8",
            &[1, bytes],
            vec![0; usize::try_from(bytes).unwrap()],
        )
    };
    client.infer(of(1_000_000)).unwrap();
    let refused = client.infer(of(1_100_000)).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("grpc.max_message"), "{refused}");
    client.infer(of(1)).unwrap();
}

#[test]
fn what_the_server_says_of_itself_and_its_models() {
    let server = models::one("FP32").start_ready();
    let client = Client::of(&server);
    let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    for (name, version, ready) in [
        ("echo_FP32", "", true),
        ("echo_FP32", "1", true),
        ("echo_FP32", "2", false),
        ("nobody", "", false),
    ] {
        let (name, version) = named(name, version);
        let request = ModelReadyRequest { name, version };
        let answer = client.call(async |s| s.model_ready(request).await).unwrap();
        assert_eq!(answer.into_inner().ready, ready);
    }
    let (name, version) = named("echo_FP32", "");
    let request = ModelMetadataRequest { name, version };
    let metadata = client
        .call(async |s| s.model_metadata(request).await)
        .unwrap()
        .into_inner();
    assert_eq!(metadata.inputs[0].shape, [-1, -1]);
    assert_eq!(
        (&*metadata.inputs[0].datatype, &*metadata.outputs[0].name),
        ("FP32", "y")
    );
    let (name, version) = named("echo_FP32", "1");
    let request = ModelConfigRequest { name, version };
    let config = client
        .call(async |s| s.model_config(request).await)
        .unwrap()
        .into_inner();
    assert_eq!(config.config.unwrap().name, "echo_FP32");
    let request = ModelStatisticsRequest::default();
    let statistics = client
        .call(async |s| s.model_statistics(request).await)
        .unwrap();
    assert_eq!(statistics.into_inner().model_stats[0].name, "echo_FP32");
    let request = RepositoryIndexRequest::default();
    let index = client
        .call(async |s| s.repository_index(request).await)
        .unwrap();
    assert_eq!(index.into_inner().models[0].state, "READY");
}

#[test]
fn what_is_not_offered_says_what_to_do_instead() {
    let server = models::one("FP32").start_ready();
    let client = Client::of(&server);
    let memory = SystemSharedMemoryStatusRequest::default();
    let refused = client
        .call(async |s| s.system_shared_memory_status(memory).await)
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(
        refused.message().contains("send tensors in the request"),
        "{refused}"
    );
    let trace = TraceSettingRequest::default();
    let refused = client
        .call(async |s| s.trace_setting(trace).await)
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let named = RepositoryIndexRequest {
        repository_name: "other".to_owned(),
        ready: false,
    };
    let refused = client
        .call(async |s| s.repository_index(named).await)
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}
