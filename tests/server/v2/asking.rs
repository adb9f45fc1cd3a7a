//! What can be asked about the server and its models.

use serde_json::json;

use super::{assert_refused, echo, post};
use crate::contract::ask;
use crate::harness::Setup;

#[test]
fn the_server_and_its_models_describe_themselves() {
    let server = echo::start();
    let about = server.get("/v2").json();
    assert_eq!(about["name"], "impetus");
    assert!(about["version"].is_string());
    let extensions = about["extensions"].as_array().unwrap();
    for extension in ["binary_tensor_data", "classification", "statistics"] {
        assert!(extensions.contains(&json!(extension)), "{about}");
    }
    assert_eq!(server.get("/v2/health/live").json(), json!({"live": true}));
    for path in ["/v2/models/surface", "/v2/models/surface/versions/1"] {
        assert_eq!(
            server.get(path).json(),
            json!({
                "name": "surface", "versions": ["1"], "platform": "onnxruntime_onnx",
                "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 32]}],
                "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 6]}],
            })
        );
        let ready = server.get(&format!("{path}/ready"));
        assert_eq!(ready.json(), json!({"name": "surface", "ready": true}));
        let config = server.get(&format!("{path}/config")).json();
        assert_eq!(config["backend"], "onnxruntime");
        assert!(config["max_batch_size"].as_u64().unwrap() > 0);
        assert_eq!(
            config["input"],
            json!([{"name": "image", "data_type": "TYPE_FP32", "dims": [3, 32, 32]}])
        );
        let stats = server.get(&format!("{path}/stats")).json();
        assert_eq!(stats["model_stats"][0]["name"], "surface");
    }
    let all = server.get("/v2/models/stats").json();
    assert_eq!(all["model_stats"].as_array().unwrap().len(), 3);
}

#[test]
fn what_is_not_there_is_said_to_be_so_and_a_wrong_method_too() {
    let server = echo::start();
    for path in ["", "/ready", "/config", "/stats", "/versions/1"] {
        let path = format!("/v2/models/nobody{path}");
        assert_refused(&server.get(&path), 404, "nobody");
    }
    assert_refused(&server.get("/v2/models/surface/versions/7"), 404, "7");
    assert_refused(&server.get("/v2/nowhere"), 404, "nothing at");
    assert_refused(&server.get("/v2/models/surface/infer"), 405, "POST only");
    assert_refused(&post(&server, "/v2", &[], b"{}"), 405, "GET only");
    assert_refused(
        &server.get("/v2/systemsharedmemory/status"),
        400,
        "shared memory",
    );
    let register = "/v2/cudasharedmemory/region/x/register";
    assert_refused(&post(&server, register, &[], b"{}"), 400, "shared memory");
    assert_refused(&server.get("/v2/logging"), 400, "log");
    assert_refused(&server.get("/v2/trace/setting"), 400, "tracing");
    assert_refused(
        &server.get("/v2/models/surface/trace/setting"),
        400,
        "tracing",
    );
}

#[test]
fn a_server_without_its_model_lives_and_is_not_ready() {
    let server = Setup::without_models().start();
    let live = server.get("/v2/health/live");
    assert_eq!((live.status, live.json()), (200, json!({"live": true})));
    let ready = server.get("/v2/health/ready");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["ready"], false);
    assert!(!ready.json()["error"].as_str().unwrap().is_empty());
    assert_eq!(ask("GET", &server.url("/v2/health/live"), &[]).status, 200);
}

#[test]
fn models_are_unloaded_and_loaded_and_the_index_knows() {
    let server = echo::start();
    let index = |wanted: &[u8]| post(&server, "/v2/repository/index", &[], wanted).json();
    assert_eq!(index(b"").as_array().unwrap().len(), 3);
    assert_eq!(index(b"{}")[2]["state"], "READY");
    let order = |order: &str, body: &[u8]| {
        let path = format!("/v2/repository/models/triple/{order}");
        post(&server, &path, &[], body)
    };
    assert_eq!(
        order("unload", br#"{"parameters":{"unload_dependents":false}}"#).status,
        200
    );
    assert_eq!(index(br#"{"ready":true}"#).as_array().unwrap().len(), 2);
    let unloaded = &index(b"{}")[2];
    assert_eq!(
        (&unloaded["name"], &unloaded["state"]),
        (&json!("triple"), &json!("UNAVAILABLE"))
    );
    assert_refused(&server.get("/v2/models/triple/ready"), 404, "triple");
    assert_refused(
        &order("load", br#"{"parameters":{"file:1/model.onnx":"aGk="}}"#),
        400,
        "file:1/model.onnx",
    );
    assert_eq!(order("load", b"").status, 200);
    assert_eq!(server.get("/v2/models/triple/ready").status, 200);
    let nobody = post(&server, "/v2/repository/models/nobody/load", &[], b"");
    assert_refused(&nobody, 404, "nobody");
    assert_refused(
        &post(&server, "/v2/repository/index", &[], b"5"),
        400,
        "body",
    );
}
