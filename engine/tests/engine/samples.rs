//! Samples that somebody states for a model's first runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use impetus_engine::{DType, EngineError, Fill, Limits, LoadSpec, WarmUpInput, WarmUpSample};

use crate::fake::Fake;
use crate::onnx;
use crate::support::Worker;

fn input(name: &str, shape: &[usize], fill: Fill) -> WarmUpInput {
    WarmUpInput {
        name: name.into(),
        dtype: None,
        shape: shape.to_vec(),
        fill,
    }
}

fn sample(index: usize, inputs: Vec<WarmUpInput>) -> WarmUpSample {
    WarmUpSample {
        key: format!("warm_up[{index}]"),
        inputs,
    }
}

fn file(folder: &std::path::Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("sample.bin");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn stated_samples_are_run_once_each_in_their_order_after_the_smallest() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let fake = Fake::new(move |_, x| {
        log.lock().unwrap().push(x.to_vec());
        x.to_vec()
    });
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[7, 8]);
    let fills = [
        (4, Fill::Zeros),
        (2, Fill::Value(9.0)),
        (6, Fill::File { path, times: 3 }),
        (1000, Fill::Random),
    ];
    let change = |spec: &mut LoadSpec| {
        spec.warm_up = true;
        let samples = fills.into_iter().enumerate();
        spec.samples = samples
            .map(|(index, (rows, fill))| sample(index, vec![input("x", &[rows], fill)]))
            .collect();
    };
    let _worker = fake.loaded(Limits::default(), change).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert_eq!(seen[0].len(), 1, "the smallest");
    assert_eq!(seen[1], [0; 4]);
    assert_eq!(seen[2], [9; 2]);
    assert_eq!(seen[3], [7, 8, 7, 8, 7, 8]);
    assert!(
        seen[4].contains(&0) && seen[4].contains(&1),
        "{:?}",
        seen[4]
    );
}

#[tokio::test]
async fn the_rows_and_the_time_of_every_stated_sample_are_told() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::add());
    let rows = |name, rows| input(name, &[rows, 3], Fill::Random);
    spec.samples = vec![
        sample(0, vec![rows("b", 5), rows("a", 5)]),
        sample(1, vec![rows("a", 2), rows("b", 2)]),
    ];
    let loaded = worker.load(&spec).await.unwrap();
    let runs = loaded.sample_runs.iter().map(|run| run.rows);
    assert_eq!(runs.collect::<Vec<_>>(), [5, 2]);
    assert!(loaded.sample_runs[0].micros > 0);
}

#[tokio::test]
async fn strings_of_a_file_are_run_like_numbers() {
    let mut worker = Worker::start().await;
    let path = file(worker.folder(), b"\x03\0\0\0one\0\0\0\0");
    let mut spec = worker.spec(&onnx::identity(DType::Bytes));
    let fill = Fill::File { path, times: 2 };
    spec.samples = vec![
        sample(0, vec![input("x", &[4], fill)]),
        sample(1, vec![input("x", &[3], Fill::Zeros)]),
    ];
    assert_eq!(worker.load(&spec).await.unwrap().sample_runs.len(), 2);
}

#[tokio::test]
async fn a_stated_sample_is_repeated_where_none_could_be_made_up() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::reshape());
    spec.samples = vec![sample(0, vec![input("x", &[6], Fill::Zeros)])];
    let loaded = worker.load(&spec).await.unwrap();
    assert_eq!(loaded.warm_up_skipped, None);
    assert_eq!(loaded.sample_runs[0].rows, 1, "its runs cannot be stacked");
}

#[tokio::test]
async fn a_sample_that_does_not_fit_the_graph_is_refused_by_its_key() {
    let typed = |dtype| WarmUpInput {
        dtype: Some(dtype),
        ..input("a", &[1, 3], Fill::Zeros)
    };
    let a = || input("a", &[1, 3], Fill::Zeros);
    let b = || input("b", &[1, 3], Fill::Zeros);
    let missing = Fill::File {
        path: "nowhere.bin".into(),
        times: 1,
    };
    for (inputs, expected) in [
        (
            vec![input("c", &[1, 3], Fill::Zeros)],
            "warm_up[0].inputs.c cannot be used: the model has no such input, only a, b",
        ),
        (vec![a()], "warm_up[0] cannot be used: input b is missing"),
        (
            vec![a(), b(), b()],
            "warm_up[0] cannot be used: input b is given twice",
        ),
        (
            vec![typed(DType::I64), b()],
            "warm_up[0].inputs.a cannot be used: input a must be f32, got i64",
        ),
        (
            vec![input("a", &[1, 4], Fill::Zeros), b()],
            "must have shape [batch, 3], got [1, 4]",
        ),
        (
            vec![input("a", &[1, 3], Fill::Value(1e300)), b()],
            "1000000",
        ),
        (
            vec![input("a", &[1, 3], missing), b()],
            "nowhere.bin cannot be read",
        ),
        (
            vec![input("a", &[usize::MAX, 3], Fill::Zeros), b()],
            "too large",
        ),
        (
            vec![input("a", &[1 << 40, 3], Fill::Zeros), b()],
            "too large",
        ),
        (
            vec![
                input("a", &[2, 3], Fill::Zeros),
                input("b", &[3, 3], Fill::Zeros),
            ],
            "warm_up[0] cannot be used: the model failed to run",
        ),
    ] {
        let mut worker = Worker::start().await;
        let mut spec = worker.spec(&onnx::add());
        spec.samples = vec![sample(0, inputs)];
        let error = worker.load(&spec).await.unwrap_err();
        assert!(
            matches!(error, EngineError::SampleRefused { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_file_of_another_length_is_refused_with_both_lengths() {
    let mut worker = Worker::start().await;
    let path = file(worker.folder(), &[0; 10]);
    let mut spec = worker.spec(&onnx::identity(DType::F32));
    let fill = Fill::File { path, times: 2 };
    spec.samples = vec![sample(0, vec![input("x", &[6], fill)])];
    let error = worker.load(&spec).await.unwrap_err().to_string();
    assert!(
        error.contains("10 bytes") && error.contains("ask for 12"),
        "{error}"
    );
    spec.samples.clear();
    worker.load(&spec).await.unwrap();
}
