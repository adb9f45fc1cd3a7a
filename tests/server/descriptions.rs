//! What a model's folder says about it, as whoever puts it there meets it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::killers::Picture;
use crate::harness::{Server, Setup, repo};

/// Names of the classes that are not in any `model.toml`.
const LABELS: &str = "top_left\ntop_right\nbottom_left\nbottom_right\n";

/// What Triton needs to know of the models in `tests/models`, and a little more.
const CONFIG: &str = r#"
name: "plain"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "image", data_type: TYPE_FP32, dims: [ 3, 32, 32 ] } ]
output [ { name: "scores", data_type: TYPE_FP32, dims: [ 4 ], label_filename: "labels.txt" } ]
instance_group [ { count: 2, kind: KIND_CPU } ]
dynamic_batching { max_queue_delay_microseconds: 100 }
model_warmup [ {
  name: "full"
  batch_size: 8
  inputs { key: "image" value { data_type: TYPE_FP32 dims: [ 3, 32, 32 ] random_data: true } }
} ]
optimization { cuda { graphs: true } }
"#;

/// Puts one of the models of `tests/models` into the folder of models, with these files beside it.
fn put(setup: &Setup, model: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = setup.path().join("models").join(model);
    fs::create_dir_all(folder.join("1")).unwrap();
    let graph = repo().join("tests/models").join(model).join("model.onnx");
    fs::copy(graph, folder.join("1/model.onnx")).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

/// One worker, whose failed loads are tried again soon.
fn setup() -> Setup {
    Setup::without_models()
        .set("models.workers", "1")
        .set("models.backoff_max", "\"200ms\"")
        .set("supervision.cool_down", "\"200ms\"")
}

fn model(server: &Server, name: &str) -> Option<Value> {
    let listed = server.get("/api/models/list").json();
    let models = listed["models"].as_array()?;
    models.iter().find(|model| model["name"] == name).cloned()
}

/// Waits until a model has failed, and returns why.
fn failure(server: &Server, name: &str) -> String {
    let mut reason = String::new();
    server.wait_for("the model to fail with a reason", || {
        let failed = model(server, name).filter(|model| model["state"] == "failed");
        reason = failed.map_or(String::new(), |model| {
            model["reason"].as_str().unwrap_or_default().to_owned()
        });
        !reason.is_empty()
    });
    reason
}

/// Returns the lines of the log that hold all of these.
fn lines(server: &Server, parts: &[&str]) -> usize {
    let log = server.log();
    let holds = |line: &&str| parts.iter().all(|part| line.contains(part));
    log.lines().filter(holds).count()
}

#[test]
fn a_folder_that_was_laid_out_for_triton_is_served_as_it_is() {
    let setup = setup();
    put(
        &setup,
        "plain",
        &[("config.pbtxt", CONFIG), ("labels.txt", LABELS)],
    );
    let server = setup.start_ready();
    server.wait_all_workers();
    Picture::new(0).assert_answered(&server, "plain");
    assert_eq!(server.workers().len(), 2, "instances of its group");
    let note = [
        "optimization.cuda.graphs (line 14)",
        "says how a GPU is used",
    ];
    assert_eq!(lines(&server, &note), 1, "{}", server.log());
    // Another model is taken up by a later look at the folder: one that says nothing new.
    let folder = server.dir.path().join("models/other");
    fs::create_dir(&folder).unwrap();
    fs::copy(
        repo().join("tests/models/plain/model.onnx"),
        folder.join("model.onnx"),
    )
    .unwrap();
    server.wait_for("the other model", || {
        model(&server, "other").is_some_and(|other| other["state"] == "ready")
    });
    assert_eq!(lines(&server, &note), 1, "{}", server.log());
}

#[test]
fn model_toml_is_used_alone_where_both_are_there() {
    let setup = setup();
    let own = "labels_file = \"labels.txt\"";
    put(
        &setup,
        "plain",
        &[
            ("config.pbtxt", "backend: \"python\""),
            ("labels.txt", LABELS),
            ("model.toml", own),
        ],
    );
    let server = setup.start_ready();
    Picture::new(1).assert_answered(&server, "plain");
    assert_eq!(lines(&server, &["config.pbtxt is ignored"]), 1);
}

#[test]
fn a_graph_that_is_not_the_one_described_is_not_served_until_it_is() {
    let setup = setup();
    let wrong = CONFIG.replace("dims: [ 3, 32, 32 ] }", "dims: [ 3, 64, 64 ] }");
    let folder = put(
        &setup,
        "plain",
        &[("config.pbtxt", &wrong), ("labels.txt", LABELS)],
    );
    let server = setup.start();
    let reason = failure(&server, "plain");
    for part in [
        "input image has shape [?, 3, 64, 64]",
        "in the graph it has [N, 3, 32, 32]",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    fs::write(folder.join("config.pbtxt"), CONFIG).unwrap();
    server.wait_ready();
    Picture::new(2).assert_answered(&server, "plain");
}

#[test]
fn what_triton_serves_and_this_server_does_not_is_listed_with_the_reason() {
    for (config, why) in [
        (
            "platform: \"ensemble\"",
            "platform (line 1): it is \\\"ensemble\\\"",
        ),
        (
            "name: \"plain\"\nsequence_batching { }",
            "sequence_batching (line 2)",
        ),
        ("input {\n name: \"x\"", "line 2, column 11"),
    ] {
        let setup = setup();
        let folder = put(&setup, "plain", &[("config.pbtxt", config)]);
        // An ensemble has no file of its own.
        fs::remove_file(folder.join("1/model.onnx")).unwrap();
        let server = setup.start();
        let reason = failure(&server, "plain");
        assert!(format!("{reason:?}").contains(why), "{reason}");
        assert!(reason.contains("plain/config.pbtxt"), "{reason}");
    }
}

#[test]
fn a_stated_sample_is_run_before_the_model_serves() {
    let setup = setup();
    // Harmless by itself, the model fails when the first number of a row is above 1.5.
    let sample = |fill: &str| {
        format!("[[warm_up]]\ninputs = {{ image = {{ shape = [3, 3, 32, 32], fill = {fill} }} }}")
    };
    let folder = put(&setup, "fail", &[("model.toml", &sample("2"))]);
    let server = setup.start();
    let reason = failure(&server, "fail");
    assert!(
        reason.contains("warm-up sample warm_up[0] cannot be used: the model failed"),
        "{reason}"
    );
    fs::write(folder.join("model.toml"), sample("0.5")).unwrap();
    server.wait_ready();
}

#[test]
fn the_time_for_warming_up_covers_every_sample() {
    let setup = setup();
    let toml = "budgets.warm_up = \"500ms\"\n[[warm_up]]\n\
                inputs = { image = { shape = [1, 3, 32, 32], file = \"sample.bin\" } }";
    let folder = put(&setup, "endless", &[("model.toml", toml)]);
    let sample: Vec<u8> = (0..3072).flat_map(|_| 2f32.to_le_bytes()).collect();
    fs::write(folder.join("sample.bin"), sample).unwrap();
    let server = setup.start();
    let reason = failure(&server, "endless");
    assert!(
        reason.contains("could not warm the model up: no answer within 500 ms"),
        "{reason}"
    );
}

#[test]
fn a_sample_that_does_not_fit_the_graph_fails_the_load_by_its_key() {
    let setup = setup();
    let toml = "[[warm_up]]\ninputs = { image = { shape = [1, 3, 32, 32], fill = \"zeros\" } }\n\
                [[warm_up]]\ninputs = { image = { shape = [1, 4, 32, 32], fill = \"zeros\" } }";
    put(&setup, "plain", &[("model.toml", toml)]);
    let server = setup.start();
    let reason = failure(&server, "plain");
    for part in [
        "warm_up[1].inputs.image",
        "[N, 3, 32, 32], got [1, 4, 32, 32]",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn labels_that_are_not_there_are_named_and_taken_up_once_they_are() {
    let setup = setup();
    let folder = put(
        &setup,
        "plain",
        &[("model.toml", "labels_file = \"names.txt\"")],
    );
    let server = setup.start();
    let reason = failure(&server, "plain");
    assert!(
        reason.contains("labels_file") && reason.contains("names.txt"),
        "{reason}"
    );
    fs::write(folder.join("names.txt"), LABELS).unwrap();
    server.wait_ready();
    Picture::new(3).assert_answered(&server, "plain");
}

#[test]
fn labels_are_those_of_the_output_that_they_are_for_and_that_output_is_classified() {
    // The other output has one number, which leaves no choice.
    for (output, class) in [("scores", "bottom_right"), ("extra", "top_left")] {
        let setup = setup();
        let toml = format!("labels_file = \"labels.txt\"\nlabels_output = \"{output}\"");
        put(
            &setup,
            "explode_output",
            &[("model.toml", &toml), ("labels.txt", LABELS)],
        );
        let server = setup.start_ready();
        let answer = Picture::new(3).send(&server, "explode_output").json();
        assert_eq!(answer["class"], class, "{answer:#}");
    }
}

#[test]
fn a_model_runs_on_threads_if_it_says_so_and_others_do_not() {
    let setup = setup();
    let labelled = |isolation: &str| format!("labels_file = \"labels.txt\"\n{isolation}");
    let thread = labelled("isolation = \"thread\"");
    put(
        &setup,
        "plain",
        &[("model.toml", &thread), ("labels.txt", LABELS)],
    );
    put(
        &setup,
        "slow",
        &[("model.toml", &labelled("")), ("labels.txt", LABELS)],
    );
    let server = setup
        .set("models.required", "[\"plain\", \"slow\"]")
        .start_ready();
    for (name, is_process) in [("plain", false), ("slow", true)] {
        Picture::new(0).assert_answered(&server, name);
        let model = status(&server, name);
        let worker = &model["workers"][0];
        assert_eq!(worker["pid"].is_u64(), is_process, "{model:#}");
        // Only what has memory of its own has a share of it.
        assert_eq!(worker["memory"].is_object(), is_process, "{model:#}");
    }
    assert_eq!(lines(&server, &["threads of the server", "plain"]), 1);
    assert_eq!(lines(&server, &["threads of the server", "slow"]), 0);
}

#[test]
fn a_model_is_a_process_if_it_says_so_where_others_are_threads() {
    let setup = setup().set("models.isolation", "\"thread\"");
    let toml = "labels_file = \"labels.txt\"\nisolation = \"process\"";
    put(
        &setup,
        "plain",
        &[("model.toml", toml), ("labels.txt", LABELS)],
    );
    let server = setup.start_ready();
    Picture::new(0).assert_answered(&server, "plain");
    assert!(status(&server, "plain")["workers"][0]["pid"].is_u64());
}

fn status(server: &Server, name: &str) -> Value {
    let status = server.status();
    let mut models = status["models"].as_array().unwrap().iter();
    models.find(|model| model["name"] == name).cloned().unwrap()
}
