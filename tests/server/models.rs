//! Models and runtimes that are not there, or not whole: said by name, and mended without a restart.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::watch::LivenessWatch;
use crate::harness::{Server, Setup, copy_folder, repo, runtime_library};

#[test]
fn an_empty_model_folder_leaves_the_server_alive_and_not_ready_until_a_model_comes() {
    let server = Setup::without_models().start();
    let watch = LivenessWatch::start(&server);
    assert_not_ready(&server, &["models_loaded", "there is no model"]);
    assert_eq!(
        server.get("/api/models/list").json()["models"],
        Value::Array(Vec::new())
    );
    copy_folder(
        &repo().join("models/surface"),
        &server.dir.path().join("models/surface"),
    );
    assert_recovers(&server);
    watch.assert_always_alive();
}

#[test]
fn a_model_folder_that_is_not_there_leaves_the_server_alive_and_says_which() {
    let setup = Setup::without_models();
    let folder = setup.path().join("elsewhere");
    let server = setup.set("models.dir", &format!("{folder:?}")).start();
    let watch = LivenessWatch::start(&server);
    assert_not_ready(&server, &["models_loaded", folder.to_str().unwrap()]);
    copy_folder(&repo().join("models/surface"), &folder.join("surface"));
    assert_recovers(&server);
    watch.assert_always_alive();
}

#[test]
fn a_model_that_is_garbage_leaves_the_server_alive_and_is_served_once_it_is_mended() {
    corrupt_heals(|_| b"this is no model".to_vec());
}

#[test]
fn a_model_that_was_cut_short_leaves_the_server_alive_and_is_served_once_it_is_mended() {
    corrupt_heals(|whole| whole[..whole.len() / 2].to_vec());
}

#[test]
fn a_model_of_no_bytes_leaves_the_server_alive_and_is_served_once_it_is_mended() {
    corrupt_heals(|_| Vec::new());
}

fn corrupt_heals(corrupt: impl Fn(&[u8]) -> Vec<u8>) {
    let setup = Setup::new();
    let file = model_file(setup.path());
    let whole = fs::read(&file).unwrap();
    fs::write(&file, corrupt(&whole)).unwrap();
    let server = setup.start();
    let watch = LivenessWatch::start(&server);
    assert_not_ready(&server, &["models_loaded", "model.onnx", "corrupt"]);
    let model = server.get("/api/models/list").json()["models"][0].clone();
    assert_eq!(model["state"], "failed", "{model:#}");
    assert!(
        model["reason"]
            .as_str()
            .unwrap()
            .contains("surface/model.onnx"),
        "{model:#}"
    );
    let ready = server.get("/ready");
    assert!(
        ready.json()["reason"]
            .as_str()
            .unwrap()
            .contains("model.onnx"),
        "{}",
        ready.text()
    );
    let refused = server.post("/predict", "application/json", b"{\"data\": [0]}");
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &Value::from("model_not_ready"))
    );
    assert!(refused.headers.contains_key("retry-after"));
    fs::write(&file, &whole).unwrap();
    assert_recovers(&server);
    watch.assert_always_alive();
}

#[test]
fn a_runtime_library_that_is_missing_is_named_and_used_as_soon_as_it_is_there() {
    runtime_heals("is missing", |_| {});
}

#[test]
fn a_runtime_library_that_is_none_is_named_and_replaced_without_a_restart() {
    runtime_heals("cannot be used", |path| {
        fs::write(path, b"no library").unwrap()
    });
}

fn runtime_heals(problem: &str, spoil: impl Fn(&Path)) {
    let setup = Setup::new();
    let library = setup.path().join("libonnxruntime.so");
    spoil(&library);
    let server = setup
        .set("runtime.library", &format!("{library:?}"))
        .set("models.backoff_max", "\"200ms\"")
        .set("supervision.cool_down", "\"200ms\"")
        .start();
    let watch = LivenessWatch::start(&server);
    let path = library.to_str().unwrap();
    assert_not_ready(
        &server,
        &["runtime_available", "runtime library", path, problem],
    );
    let ready = server.get("/api/health/ready").json();
    assert_eq!(ready["checks"]["runtime_available"], false);
    assert_eq!(ready["checks"]["mlx_available"], false);
    let _ = fs::remove_file(&library);
    std::os::unix::fs::symlink(fs::canonicalize(runtime_library()).unwrap(), &library).unwrap();
    assert_recovers(&server);
    watch.assert_always_alive();
}

#[test]
fn a_corrupt_model_beside_a_good_one_is_reported_and_costs_no_readiness() {
    let setup = Setup::new().set("models.required", "[\"surface\"]");
    let broken = setup.path().join("models/broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("model.onnx"), b"garbage").unwrap();
    let server = setup.start_ready();
    server.wait_for("the broken one to be reported", || {
        let models = server.get("/api/models/list").json()["models"].clone();
        let broken = models
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["name"] == "broken");
        broken.is_some_and(|model| model["state"] == "failed")
    });
    assert_eq!(server.get("/api/health/ready").status, 200);
    assert_eq!(server.status()["status"], "degraded");
}

/// Insists that the server is alive and not ready, with all of `because` among the reasons.
fn assert_not_ready(server: &Server, because: &[&str]) {
    server.wait_for(&format!("readiness to say {because:?}"), || {
        let ready = server.get_health("/api/health/ready");
        ready.status == 503
            && because
                .iter()
                .all(|text| reasons(&ready.json()).contains(text))
    });
    for answer in server.get_both("/api/health/ready") {
        assert_eq!(answer.status, 503);
        assert_eq!(
            (&answer.json()["ready"], &answer.json()["message"]),
            (&false.into(), &"Not ready".into())
        );
        assert_eq!(answer.json()["checks"]["models_loaded"], false);
    }
    assert_eq!(server.get("/ready").json()["model_loaded"], false);
    assert_eq!(server.get("/health").status, 200);
}

fn assert_recovers(server: &Server) {
    server.wait_ready();
    server.assert_predicts();
    assert_eq!(server.get("/ready").json()["model_loaded"], true);
}

fn reasons(ready: &Value) -> String {
    ready["reasons"].to_string()
}

fn model_file(dir: &Path) -> PathBuf {
    dir.join("models/surface/model.onnx")
}
