//! Loading: what a model says about itself, and files that are none.

use std::time::Duration;

use impetus_engine::{DType, Dim, EngineError, Fault, LoadSpec, Received, Tensor};

use crate::onnx::{self, Graph, Node, free};
use crate::support::{Worker, pattern};

#[tokio::test]
async fn a_model_states_its_inputs_outputs_and_whether_requests_can_be_stacked() {
    let mut worker = Worker::start().await;
    let spec = worker.spec(&onnx::add());

    let loaded = worker.load(&spec).await.unwrap();

    let names: Vec<&str> = loaded
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(loaded.outputs[0].name, "sum");
    assert_eq!(loaded.outputs[0].dtype, DType::F32);
    assert_eq!(loaded.inputs[0].shape, [free("batch"), Dim::Fixed(3)]);
    assert!(loaded.max_batch_free);
    assert!(loaded.load_micros > 0);
    assert!(loaded.warm_up_micros > 0);
    assert_eq!(loaded.runtime.name, "onnxruntime");
    assert!(loaded.runtime.version.starts_with("1."), "{loaded:?}");

    let spec = worker.spec(&onnx::reshape());
    let loaded = worker.load(&spec).await.unwrap();
    assert!(
        !loaded.max_batch_free,
        "the output's first dimension is fixed"
    );
}

#[tokio::test]
async fn a_model_that_does_not_take_made_up_inputs_is_loaded_without_a_warm_up() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::reshape());
    spec.self_check_every = Duration::from_millis(1);

    let loaded = worker.load(&spec).await.unwrap();

    assert_eq!(loaded.warm_up_micros, 0);
    let reason = loaded.warm_up_skipped.unwrap();
    assert!(reason.contains("Reshape"), "{reason}");
    // An idle worker still says that it is alive.
    let beat = worker.next().await;
    assert_eq!(
        beat,
        Received::Beat {
            idle: true,
            self_checks: 0
        }
    );
}

#[tokio::test]
async fn a_warm_up_can_be_switched_off() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::add());
    spec.warm_up = false;
    let loaded = worker.load(&spec).await.unwrap();
    assert_eq!(loaded.warm_up_micros, 0);
    assert_eq!(loaded.warm_up_skipped.as_deref(), Some("switched off"));
}

#[tokio::test]
async fn a_file_that_is_no_model_is_corrupt_and_the_worker_loads_the_mended_one() {
    let mut worker = Worker::start().await;
    let good = onnx::identity(DType::U8);
    let truncated = &good[..good.len() / 2];
    let garbage: Vec<u8> = (0..4096u32)
        .map(|index| ((index * 31) >> 3) as u8)
        .collect();
    for (what, file) in [
        ("truncated", truncated),
        ("garbage", &garbage),
        ("empty", &[]),
        (
            "text",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        ),
    ] {
        let spec = worker.spec(file);
        let error = worker.load(&spec).await.unwrap_err();
        let EngineError::ModelCorrupt { path, reason } = &error else {
            panic!("{what}: unexpected {error:?}");
        };
        assert_eq!(*path, spec.path);
        assert!(!reason.is_empty());
        assert_eq!(error.fault(), Fault::Internal);

        let refused = worker.run(&[&pattern("x", 4)]).await.unwrap_err();
        assert_eq!(refused, EngineError::NotLoaded);
    }
    let spec = worker.spec(&good);
    worker.load(&spec).await.unwrap();
    worker.run(&[&pattern("x", 4)]).await.unwrap();
}

#[tokio::test]
async fn a_model_that_is_not_there_is_missing() {
    let mut worker = Worker::start().await;
    let spec = worker.spec(&onnx::add());
    for path in [
        worker.folder().join("absent.onnx"),
        worker.folder().join("model.onnx/x"),
    ] {
        let spec = LoadSpec {
            path: path.clone(),
            ..spec.clone()
        };
        let error = worker.load(&spec).await.unwrap_err();
        assert!(
            matches!(&error, EngineError::ModelMissing { path: missing, .. } if *missing == path),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_model_with_a_type_that_no_client_can_send_is_not_supported() {
    let complex64 = 14;
    let file = Graph::default()
        .input("x", DType::F32, &[free("n")])
        .foreign_output("y", complex64, &[free("n")])
        .node(Node {
            op: "Cast",
            inputs: &["x"],
            outputs: &["y"],
        })
        .build();
    let mut worker = Worker::start().await;
    let spec = worker.spec(&file);
    let error = worker.load(&spec).await.unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::ModelUnsupported { .. } | EngineError::ModelCorrupt { .. }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_model_that_states_no_shape_for_an_input_is_not_supported() {
    let file = Graph::default()
        .shapeless_input("x", DType::F32)
        .output("y", DType::F32, &[free("n")])
        .node(Node {
            op: "Identity",
            inputs: &["x"],
            outputs: &["y"],
        })
        .build();
    let mut worker = Worker::start().await;
    let spec = worker.spec(&file);
    let error = worker.load(&spec).await.unwrap_err();
    let EngineError::ModelUnsupported { reason, .. } = &error else {
        panic!("unexpected {error:?}");
    };
    assert_eq!(reason, "input x states no shape");
}

#[tokio::test]
async fn a_scalar_input_is_no_input_without_a_shape() {
    let file = Graph::default()
        .input("x", DType::F32, &[])
        .output("y", DType::F32, &[])
        .node(Node {
            op: "Identity",
            inputs: &["x"],
            outputs: &["y"],
        })
        .build();
    let mut worker = Worker::with_model(&file).await;
    let input = Tensor::from_f32("x", vec![], &[2.5]).unwrap();
    let outputs = worker.run(&[&input]).await.unwrap();
    assert_eq!(outputs[0].to_f32().unwrap(), [2.5]);
}

#[tokio::test]
async fn a_model_whose_description_exceeds_a_frame_is_not_supported() {
    let long = |index: usize| format!("{index}{}", "x".repeat(1000));
    let names: Vec<String> = (0..300).map(long).collect();
    let file = names.iter().fold(Graph::default(), |graph, name| {
        let output = format!("{name}y");
        graph
            .input(name, DType::F32, &[free("n")])
            .output(&output, DType::F32, &[free("n")])
            .node(Node {
                op: "Identity",
                inputs: &[name],
                outputs: &[&output],
            })
    });
    let mut worker = Worker::start().await;
    let spec = worker.spec(&file.build());
    let error = worker.load(&spec).await.unwrap_err();
    assert!(
        error.to_string().contains("its description is a frame of"),
        "{error}"
    );
    let spec = worker.spec(&onnx::identity(DType::U8));
    worker.load(&spec).await.unwrap();
}

#[tokio::test]
async fn an_idle_worker_repeats_its_warm_up_and_says_so() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::add());
    spec.self_check_every = Duration::from_millis(1);
    worker.load(&spec).await.unwrap();
    for expected in 1..=3 {
        assert_eq!(
            worker.next().await,
            Received::Beat {
                idle: true,
                self_checks: expected
            }
        );
    }
    // Work goes on between the checks.
    let row = |name| Tensor::from_f32(name, vec![1, 3], &[1.0; 3]).unwrap();
    worker.send(5, &[&row("a"), &row("b")]).await;
    loop {
        match worker.next().await {
            Received::Beat { .. } => {}
            Received::Done { id: 5, outputs, .. } => {
                assert_eq!(outputs[0].to_f32().unwrap(), [2.0; 3]);
                break;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn several_threads_give_the_same_result() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::identity(DType::F32));
    spec.intra_threads = 2;
    worker.load(&spec).await.unwrap();
    let input = Tensor::from_f32("x", vec![10_000], &[0.25; 10_000]).unwrap();
    let outputs = worker.run(&[&input]).await.unwrap();
    assert_eq!(outputs[0].data(), input.data());
}
