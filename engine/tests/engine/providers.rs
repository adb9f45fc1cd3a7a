//! Execution providers against the library that is there, which has the CPU alone.

use impetus_engine::{EngineError, Execution, Fault, Provider, Providers};

use crate::onnx;
use crate::support::Worker;

#[tokio::test]
async fn a_provider_that_is_not_there_is_passed_over_with_what_to_install() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::add());
    let loaded = worker.load(&spec).await.unwrap();
    assert_eq!(loaded.execution, Execution::by(Provider::Cpu));

    spec.providers = Providers::of([Provider::TensorRt, Provider::Cuda, Provider::Cpu]);
    let loaded = worker.load(&spec).await.unwrap();
    assert_eq!(loaded.execution.provider, Provider::Cpu);
    let passed_over = &loaded.execution.passed_over;
    let named: Vec<_> = passed_over.iter().map(|one| one.provider).collect();
    assert_eq!(named, [Provider::TensorRt, Provider::Cuda]);
    for one in passed_over {
        assert!(one.reason.contains("onnxruntime-gpu"), "{}", one.reason);
        assert!(
            one.reason
                .contains(spec.runtime.parent().unwrap().to_str().unwrap())
                || one.reason.contains("libonnxruntime"),
            "{}",
            one.reason
        );
    }
}

#[tokio::test]
async fn a_model_for_which_no_provider_is_left_is_not_loaded_on_the_cpu_in_silence() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(&onnx::add());
    spec.providers = Providers::of([Provider::OpenVino, Provider::Cuda]);
    let error = worker.load(&spec).await.unwrap_err();
    assert!(matches!(error, EngineError::NoProvider { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Internal);
    let text = error.to_string();
    assert!(
        text.contains("openvino: ") && text.contains("cuda: "),
        "{text}"
    );
}

#[tokio::test]
async fn a_corrupt_model_is_called_corrupt_whatever_was_passed_over_before() {
    let mut worker = Worker::start().await;
    let mut spec = worker.spec(b"this is no model");
    spec.providers = Providers::of([Provider::Cuda, Provider::Cpu]);
    let error = worker.load(&spec).await.unwrap_err();
    assert!(matches!(error, EngineError::ModelCorrupt { .. }), "{error}");
}

#[test]
fn the_cpu_makes_a_session_of_its_own_and_another_says_that_it_is_not_there() {
    let library = crate::support::library();
    let cpu = impetus_engine::runtime::onnx::probe(&library, Provider::Cpu, &Default::default());
    assert_eq!(cpu.usable, Ok(()));
    assert!(cpu.has.contains(&Provider::Cpu), "{cpu:?}");
    let cuda = impetus_engine::runtime::onnx::probe(&library, Provider::Cuda, &Default::default());
    assert!(cuda.usable.unwrap_err().contains("has no cuda"));
}
