//! Models that are loaded and unloaded by call.

use impetus::grpc::proto::ModelRepositoryParameter;
use impetus::grpc::proto::model_repository_parameter::ParameterChoice;
use impetus::grpc::proto::{
    RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use tonic::{Code, Request, Status};

use super::client::{Client, raw};
use super::models;

fn load(client: &Client, name: &str, passed_on: bool) -> Result<(), Status> {
    let mut request = Request::new(RepositoryModelLoadRequest {
        model_name: name.to_owned(),
        ..RepositoryModelLoadRequest::default()
    });
    if passed_on {
        let from = "203.0.113.9".parse().unwrap();
        request.metadata_mut().insert("x-forwarded-for", from);
    }
    let loaded = client.call(async |s| s.repository_model_load(request).await);
    loaded.map(|_| ())
}

fn unload(client: &Client, name: &str) -> Result<(), Status> {
    let request = RepositoryModelUnloadRequest {
        model_name: name.to_owned(),
        ..RepositoryModelUnloadRequest::default()
    };
    let unloaded = client.call(async |s| s.repository_model_unload(request).await);
    unloaded.map(|_| ())
}

/// Returns name, version and state of what lies in the folder.
fn index(client: &Client, ready: bool) -> Vec<(String, String, String)> {
    let request = RepositoryIndexRequest {
        ready,
        ..RepositoryIndexRequest::default()
    };
    let index = client.call(async |s| s.repository_index(request).await);
    let models = index.unwrap().into_inner().models.into_iter();
    models.map(|m| (m.name, m.version, m.state)).collect()
}

#[test]
fn a_model_is_unloaded_and_loaded_again_by_call() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let entry = |state: &str| ("echo_UINT8".to_owned(), "1".to_owned(), state.to_owned());
    let echo = || client.infer(raw("echo_UINT8", "UINT8", &[1, 1], vec![1]));
    assert_eq!(index(&client, true), [entry("READY")]);
    unload(&client, "echo_UINT8").unwrap();
    let refused = echo().unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    assert_eq!(index(&client, false), [entry("UNAVAILABLE")]);
    assert_eq!(index(&client, true), []);
    load(&client, "echo_UINT8", false).unwrap();
    echo().unwrap();
    assert_eq!(index(&client, true), [entry("READY")]);
}

#[test]
fn what_is_not_in_the_folder_or_not_the_callers_to_load_is_refused() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let unknown = load(&client, "nobody", false).unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    let foreign = load(&client, "echo_UINT8", true).unwrap_err();
    assert_eq!(foreign.code(), Code::PermissionDenied, "{foreign}");
    assert!(foreign.message().contains("models.control"), "{foreign}");
}

/// Loads the echo with one parameter.
fn load_with(client: &Client, name: &str, choice: ParameterChoice) -> Result<(), Status> {
    let parameter_choice = Some(choice);
    let parameter = ModelRepositoryParameter { parameter_choice };
    let order = RepositoryModelLoadRequest {
        model_name: "echo_UINT8".to_owned(),
        parameters: [(name.to_owned(), parameter)].into(),
        ..RepositoryModelLoadRequest::default()
    };
    let loaded = client.call(async |s| s.repository_model_load(order).await);
    loaded.map(|_| ())
}

#[test]
fn a_configuration_may_come_with_an_order_and_files_may_not() {
    let server = models::one("UINT8").start_ready();
    let client = Client::of(&server);
    let config = |json: &str| ParameterChoice::StringParam(json.to_owned());
    load_with(&client, "config", config("{\"max_batch_size\": 3}")).unwrap();
    let wrong = load_with(&client, "config", config("{\"max_batch_size\": ")).unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument, "{wrong}");
    let unserved = config("{\"ensemble_scheduling\": {}}");
    let unserved = load_with(&client, "config", unserved).unwrap_err();
    assert_eq!(unserved.code(), Code::InvalidArgument, "{unserved}");
    let file = ParameterChoice::BytesParam(vec![1].into());
    let file = load_with(&client, "file:1/model.onnx", file).unwrap_err();
    assert_eq!(file.code(), Code::Unimplemented, "{file}");
    load(&client, "echo_UINT8", false).unwrap();
}
