//! Execution providers: the order is followed, what is passed over is said everywhere with its reason, and
//! the CPU is taken only where it is named.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::scrape::{Scrape, wait_for_value};
use crate::harness::{Server, Setup, binary, runtime_library};

fn model(server: &Server) -> Value {
    server.get("/api/models/list").json()["models"][0].clone()
}

#[test]
fn a_provider_that_the_library_lacks_is_passed_over_and_said_in_list_status_metrics_and_log() {
    let server = Setup::new()
        .set("runtime.providers", "[\"cuda\", \"cpu\"]")
        .start_ready();
    server.assert_predicts();
    for model in [model(&server), server.status()["models"][0].clone()] {
        assert_eq!(model["provider"], "cpu", "{model:#}");
        assert_eq!(model["passed_over"][0]["provider"], "cuda", "{model:#}");
        let reason = model["passed_over"][0]["reason"].as_str().unwrap();
        let library = runtime_library().canonicalize().unwrap();
        for part in [
            "has no cuda",
            "it has cpu",
            "onnxruntime-gpu",
            library.to_str().unwrap(),
        ] {
            assert!(reason.contains(part), "{reason}");
        }
    }
    let series = "impetus_model_provider_info{model=\"surface\",provider=\"cpu\",version=\"1\"}";
    wait_for_value(&server, series, 1.0);
    assert!(!Scrape::of(&server).names().is_empty());
    let log = server.log();
    let warnings = log
        .lines()
        .filter(|line| line.contains("execution provider passed over"));
    assert_eq!(
        warnings.count(),
        1,
        "once, however many workers there are\n{log}"
    );
    let status = Command::new(binary())
        .args(["status", "--url", &server.url("")])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(shown.contains("cpu, not cuda"), "{shown}");
}

#[test]
fn a_model_that_may_run_on_no_provider_that_is_there_fails_with_what_to_install() {
    let server = Setup::new()
        .set("runtime.providers", "[\"tensorrt\", \"cuda\"]")
        .start();
    server.wait_for("the model to fail", || model(&server)["state"] == "failed");
    let model = model(&server);
    let reason = model["reason"].as_str().unwrap();
    for part in [
        "no execution provider",
        "tensorrt: ",
        "cuda: ",
        "onnxruntime-gpu",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(model["provider"], Value::Null, "{model:#}");
}

#[test]
fn a_models_own_order_counts_and_one_that_generates_text_runs_on_the_cpu() {
    let setup = Setup::new().with_chat_model();
    for name in ["surface", "tiny-chat"] {
        let file = setup.path().join("models").join(name).join("model.toml");
        let own = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, format!("providers = [\"openvino\", \"cpu\"]\n{own}")).unwrap();
    }
    let server = setup.start();
    let mut all = Vec::new();
    server.wait_for("both models", || {
        let list = server.get("/api/models/list").json();
        all = list["models"].as_array().cloned().unwrap_or_default();
        all.len() == 2 && all.iter().all(|model| model["state"] == "ready")
    });
    for model in &all {
        assert_eq!(model["provider"], "cpu", "{model:#}");
        assert_eq!(model["passed_over"][0]["provider"], "openvino", "{model:#}");
    }
    let chat = all
        .iter()
        .find(|model| model["name"] == "tiny-chat")
        .unwrap();
    let reason = chat["passed_over"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("text is generated on the CPU alone"),
        "{reason}"
    );
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn another_provider_runs_a_model_and_gives_what_the_cpu_gives() {
    let library = crate::harness::repo().join(".test/openvino/libonnxruntime.so");
    assert!(
        library.exists(),
        "{} is missing: run scripts/install-openvino.sh",
        library.display()
    );
    let server = Setup::new()
        .set(&["runtime", "library"].join("."), &format!("{library:?}"))
        .set("runtime.openvino_device", "\"CPU\"")
        .set("runtime.providers", "[\"cuda\", \"openvino\", \"cpu\"]")
        .set("models.workers", "1")
        .start_ready();
    server.assert_predicts();
    let model = model(&server);
    assert_eq!(model["provider"], "openvino", "{model:#}");
    let reason = model["passed_over"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("it has cpu, openvino"), "{reason}");
}

#[cfg(not(target_os = "macos"))]
#[test]
fn a_core_ml_model_is_listed_and_says_that_this_build_has_none() {
    let setup = Setup::without_models();
    let package = setup.path().join("models/apple/model.mlpackage");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("Manifest.json"), "{}").unwrap();
    let server = setup.start();
    server.wait_for("the model to fail", || model(&server)["state"] == "failed");
    let reason = model(&server)["reason"].to_string();
    let said = "this build has no Core ML: it needs macOS and the feature coreml";
    assert!(reason.contains(said), "{reason}");
}
