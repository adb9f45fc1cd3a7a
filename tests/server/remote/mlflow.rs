//! Following a real MLflow: what its aliases and stages mean is served, also while it is gone.
//!
//! Starting one takes as long as everything else together, so each release has one test.

use std::fs;
use std::sync::Arc;

use serde_json::Value;

use super::followed::while_asked;
use super::mlflow_server::{Mlflow, Release};
use super::{MLMODEL, description, graph, impatient, text, versions, wait_for_version, webhook};
use crate::harness::scrape::{Scrape, wait_for_value};
use crate::harness::{Server, Setup};

/// Two models of one registered model: by an alias, and by a stage.
fn following(mlflow: &Mlflow, setup: Setup) -> Setup {
    setup
        .set("registry.url", &text(mlflow.url()))
        .set("models.remote.surface", "\"models:/surface@champion\"")
        .set("models.remote.staged", "\"models:/surface/Production\"")
}

fn register(mlflow: &mut Mlflow, mark: u8) -> u64 {
    let (graph, description) = (graph(mark), description());
    let files = [("model.onnx", &*graph), ("model.toml", &*description)];
    mlflow.register("surface", MLMODEL, &files)
}

/// Returns `/ready` as its status and its body.
fn ready(server: &Server) -> (u16, Value) {
    let answer = server.get("/ready");
    (answer.status, answer.json())
}

fn words<'a>(body: &'a Value, key: &str) -> &'a str {
    body[key].as_str().unwrap_or_default()
}

#[test]
fn a_server_follows_release_2_of_mlflow_under_load_and_serves_on_while_it_is_gone() {
    let mut mlflow = Mlflow::start(Release::Two);
    let server = it_is_followed(&mut mlflow);
    it_goes_and_comes_back(&mut mlflow, &server);
    drop(server);
    let setup = following(&mlflow, impatient()).set("registry.readiness", "\"degraded\"");
    let tolerant = setup.start_ready();
    mlflow.end();
    tolerant.wait_for("the registry to be gone", || {
        ready(&tolerant).1["mlflow_accessible"] == false
    });
    let (status, body) = ready(&tolerant);
    assert_eq!((status, &body["status"]), (200, &"ready".into()), "{body}");
    assert!(
        words(&body, "degraded").contains("registry unavailable"),
        "{body}"
    );
}

#[test]
fn a_server_follows_release_3_of_mlflow_under_load_and_is_told_of_changes_by_its_webhooks() {
    let mut mlflow = Mlflow::start(Release::Three);
    let server = it_is_followed(&mut mlflow);
    it_goes_and_comes_back(&mut mlflow, &server);
    let dir = Arc::clone(&server.dir);
    drop(server);

    // One that starts while the registry is gone serves what was served before.
    mlflow.end();
    let secret = dir.path().join("secret");
    fs::write(&secret, format!("{}\n", webhook::SECRET)).unwrap();
    let slow = Setup::in_dir(dir)
        .set("models.workers", "1")
        .set("registry.check_every", "\"1s\"")
        .set("registry.check_timeout", "\"1s\"")
        .set("registry.poll_every", "\"1h\"")
        .set(
            "registry.webhook_secret_file",
            &text(secret.to_str().unwrap()),
        );
    let server = following(&mlflow, slow).start_ready();
    for name in ["surface", "staged"] {
        wait_for_version(&server, name, "2");
    }
    while_asked(&server, "surface", || {
        let (status, body) = ready(&server);
        assert_eq!(status, 503, "{body}");
        assert_eq!(body["mlflow_accessible"], false, "{body}");
    });
    server.assert_predicts_with("surface");

    mlflow.again();
    server.wait_for("the registry to be back", || ready(&server).0 == 200);
    webhook::it_is_heard_and_nobody_else(&mut mlflow, &server);
}

/// Returns a server that serves version 2 by both names, having followed to it.
fn it_is_followed(mlflow: &mut Mlflow) -> Server {
    for mark in 1..=2 {
        assert_eq!(register(mlflow, mark), u64::from(mark));
    }
    mlflow.alias("surface", "champion", Some(1));
    mlflow.stage("surface", 1, "Production");
    let server = following(mlflow, impatient()).start_ready();
    for name in ["surface", "staged"] {
        wait_for_version(&server, name, "1");
    }
    let outcome = while_asked(&server, "surface", || {
        mlflow.alias("surface", "champion", Some(2));
        wait_for_version(&server, "surface", "2");
        server.wait_for("an answer of version 2", || {
            Scrape::of(&server)
                .get("inference_predictions_total{model=\"surface\",stage=\"champion\"}")
                > Some(10.0)
        });
    });
    outcome.assert_none_failed(&["1", "2"]);
    let outcome = while_asked(&server, "staged", || {
        mlflow.stage("surface", 2, "Production");
        wait_for_version(&server, "staged", "2");
        server.assert_predicts_with("staged");
    });
    outcome.assert_none_failed(&["1", "2"]);
    let scrape = Scrape::of(&server);
    for labels in [
        "model=\"surface\",stage=\"champion\"",
        "model=\"staged\",stage=\"Production\"",
    ] {
        assert!(scrape.value(&format!("inference_predictions_total{{{labels}}}")) > 0.0);
        assert_eq!(
            scrape.value(&format!("inference_model_loaded{{{labels}}}")),
            1.0
        );
        assert_eq!(
            scrape.value(&format!("inference_errors_total{{{labels}}}")),
            0.0
        );
    }
    server
}

fn it_goes_and_comes_back(mlflow: &mut Mlflow, server: &Server) {
    let series = "inference_mlflow_accessible{model=\"surface\",stage=\"champion\"}";
    let component = || server.status()["components"]["registry"].clone();
    server.wait_for("the registry to be there", || ready(server).0 == 200);
    assert_eq!(ready(server).1["mlflow_accessible"], true);
    wait_for_value(server, series, 1.0);
    assert_eq!(component()["score"], 100, "{:#}", component());

    let outcome = while_asked(server, "surface", || {
        mlflow.end();
        server.wait_for("the registry to be gone", || ready(server).0 == 503);
    });
    outcome.assert_none_failed(&["2"]);
    let (_, body) = ready(server);
    assert_eq!(body["mlflow_accessible"], false, "{body}");
    assert_eq!(body["model_loaded"], true, "{body}");
    let reason = words(&body, "reason");
    assert!(reason.contains("registry unavailable"), "{reason}");
    assert!(reason.contains(mlflow.url()), "{reason}");
    wait_for_value(server, series, 0.0);
    server.wait_for("the component to say so", || component()["score"] == 60);
    assert_eq!(server.get("/api/health/ready").status, 200);
    server.assert_predicts_with("surface");

    mlflow.again();
    server.wait_for("the registry to be back", || ready(server).0 == 200);
    assert_eq!(ready(server).1["mlflow_accessible"], true);
    wait_for_value(server, series, 1.0);
    server.wait_for("the component to say so", || component()["score"] == 100);
    assert_eq!(versions(server, "surface").len(), 1);
}

// === impl Server ===

impl Server {
    /// Sends a sample to one of several models and insists on the right answer.
    #[track_caller]
    pub fn assert_predicts_with(&self, model: &str) {
        let sample = &crate::harness::load::requests()[0];
        let path = format!("/predict?model={model}");
        let answer = self.post(&path, sample.content_type, &sample.body);
        let complaint = crate::harness::load::complaint(sample, &answer);
        assert_eq!(complaint, None);
    }
}
