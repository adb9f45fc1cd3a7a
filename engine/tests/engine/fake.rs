//! A runtime that does what a test tells it to: `y` is what a closure makes of `x`.

use std::path::Path;

use impetus_engine::protocol::ToWorker;
use impetus_engine::runtime::{Deliver, Interrupt, Model, Runtime};
use impetus_engine::{
    DType, Dim, EngineError, Limits, LoadSpec, Loaded, RuntimeInfo, Tensor, TensorSpec, TensorView,
    WorkerOptions,
};

use crate::support::Worker;

/// Makes `y` of `x`; the number counts the runs, warm-up and self-checks included.
type Act = Box<dyn FnMut(usize, &[u8]) -> Vec<u8> + Send>;

pub(crate) struct Fake {
    act: Option<Act>,
    interrupt: Option<Interrupt>,
}

struct FakeModel {
    act: Act,
    interrupt: Option<Interrupt>,
    runs: usize,
    inputs: [TensorSpec; 1],
    outputs: [TensorSpec; 1],
}

impl Fake {
    pub(crate) fn new(act: impl FnMut(usize, &[u8]) -> Vec<u8> + Send + 'static) -> Self {
        Self {
            act: Some(Box::new(act)),
            interrupt: None,
        }
    }

    pub(crate) fn interrupted_by(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = Some(interrupt);
        self
    }

    pub(crate) fn options(self) -> WorkerOptions {
        WorkerOptions::with_runtime(move || Box::new(self))
    }

    /// Starts a worker that has loaded this.
    pub(crate) async fn loaded(self, limits: Limits, change: impl FnOnce(&mut LoadSpec)) -> Worker {
        let mut worker = Worker::start_with(limits, self.options()).await;
        let mut spec = worker.spec(&[]);
        spec.warm_up = false;
        change(&mut spec);
        let loaded: Result<Loaded, EngineError> = worker.load(&spec).await;
        loaded.unwrap();
        worker
    }
}

impl Runtime for Fake {
    fn start(&mut self, _library: &Path) -> Result<RuntimeInfo, EngineError> {
        Ok(RuntimeInfo {
            name: "fake".into(),
            version: "1".into(),
        })
    }

    fn load(&mut self, _spec: &LoadSpec) -> Result<Box<dyn Model>, EngineError> {
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            dtype: DType::U8,
            shape: vec![Dim::Free(None)],
        };
        Ok(Box::new(FakeModel {
            act: self.act.take().expect("loaded once"),
            interrupt: self.interrupt.clone(),
            runs: 0,
            inputs: [spec("x")],
            outputs: [spec("y")],
        }))
    }
}

impl Model for FakeModel {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        deliver: &mut Deliver<'_>,
    ) -> Result<(), EngineError> {
        self.runs += 1;
        let data = (self.act)(self.runs, inputs[0].data());
        let y = Tensor::try_new("y", DType::U8, vec![data.len()], data).unwrap();
        deliver(&[y.view()])
    }

    fn interrupt(&self) -> Option<Interrupt> {
        self.interrupt.clone()
    }
}

/// Tells a worker to end once it has answered everything.
pub(crate) async fn shut_down(worker: &Worker) {
    worker.sender.send(&ToWorker::Shutdown).await.unwrap();
}
