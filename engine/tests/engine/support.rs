//! A worker on a thread with the server's end of its link, and models for it.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use impetus_engine::link::{self, Receiver, Sender};
use impetus_engine::protocol::ToWorker;
use impetus_engine::{
    Arena, EngineError, Limits, LinkError, LoadSpec, Loaded, Providers, Received, StackedInput,
    Tensor, WorkerExit, WorkerOptions, worker,
};
use tempfile::TempDir;

/// No step of a test takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A linked worker with nothing loaded.
pub(crate) struct Worker {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) thread: JoinHandle<WorkerExit>,
    folder: TempDir,
}

impl Worker {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default(), WorkerOptions::default()).await
    }

    pub(crate) async fn start_with(limits: Limits, options: WorkerOptions) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || worker::run(theirs, options));
        let arena = Arena::new(&limits).unwrap();
        let (sender, receiver) = link::split(ours, arena, limits).unwrap();
        let mut worker = Self {
            sender,
            receiver,
            thread,
            folder: tempfile::tempdir().unwrap(),
        };
        worker.sender.send(&ToWorker::hello(3)).await.unwrap();
        let hello = worker.next().await;
        assert!(
            matches!(hello, Received::Hello { generation: 3, pid } if pid == std::process::id()),
            "{hello:?}"
        );
        worker
    }

    /// A worker that has loaded the given model.
    pub(crate) async fn with_model(file: &[u8]) -> Self {
        Self::with_model_and_limits(file, Limits::default()).await
    }

    pub(crate) async fn with_model_and_limits(file: &[u8], limits: Limits) -> Self {
        let mut worker = Self::start_with(limits, WorkerOptions::default()).await;
        let spec = worker.spec(file);
        worker.load(&spec).await.unwrap();
        worker
    }

    /// Writes a model and returns how to load it.
    pub(crate) fn spec(&self, file: &[u8]) -> LoadSpec {
        let path = self.folder.path().join("model.onnx");
        std::fs::write(&path, file).unwrap();
        LoadSpec {
            model: "test".into(),
            version: "1".into(),
            path,
            intra_threads: 1,
            warm_up: true,
            samples: Vec::new(),
            runtime: library(),
            providers: Providers::default(),
            self_check_every: Duration::from_secs(3600),
            generation: None,
        }
    }

    pub(crate) async fn load(&mut self, spec: &LoadSpec) -> Result<Loaded, EngineError> {
        self.sender
            .send(&ToWorker::Load(Box::new(spec.clone())))
            .await
            .unwrap();
        loop {
            match self.next().await {
                Received::RuntimeReady(runtime) => assert!(!runtime.version.is_empty()),
                Received::Warming => {}
                Received::Loaded(loaded) => return Ok(loaded),
                Received::LoadFailed(error) => return Err(error),
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Received {
        self.try_next().await.unwrap()
    }

    pub(crate) async fn try_next(&mut self) -> Result<Received, LinkError> {
        within(self.receiver.next()).await
    }

    pub(crate) async fn send(&self, id: u64, inputs: &[&Tensor]) {
        self.try_send(id, inputs).await.unwrap();
    }

    pub(crate) async fn try_send(&self, id: u64, inputs: &[&Tensor]) -> Result<(), LinkError> {
        let parts: Vec<[&[u8]; 1]> = inputs.iter().map(|input| [input.data()]).collect();
        let stacked: Vec<StackedInput<'_>> = inputs
            .iter()
            .zip(&parts)
            .map(|(input, parts)| StackedInput {
                name: input.name(),
                dtype: input.dtype(),
                shape: input.shape(),
                parts,
            })
            .collect();
        within(self.sender.run(id, &stacked)).await
    }

    /// Sends one run and returns its answer.
    pub(crate) async fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        self.send(77, inputs).await;
        self.answer(77).await
    }

    /// Returns the next thing said, which is to be the answer to this run.
    pub(crate) async fn answer(&mut self, run: u64) -> Result<Vec<Tensor>, EngineError> {
        match self.next().await {
            Received::Done { id, outputs, .. } if id == run => Ok(outputs),
            Received::RunFailed { id, error } if id == run => Err(error),
            other => panic!("unexpected {other:?}"),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the link up and returns how the worker ended.
    pub(crate) async fn finish(self) -> WorkerExit {
        drop(self.receiver);
        joined(self.thread).await
    }
}

/// Awaits with a deadline, so that a hang is a failure.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it hangs")
}

/// Waits for a thread without blocking the test's runtime.
pub(crate) async fn joined<T: Send + 'static>(thread: JoinHandle<T>) -> T {
    let waiting = tokio::task::spawn_blocking(move || thread.join());
    within(waiting).await.unwrap().unwrap()
}

/// Returns the ONNX Runtime library that the tests run against.
///
/// It is fetched by `make test`; without it nothing here can be tested, so that is a failure.
pub(crate) fn library() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the tests' one setting")]
    if let Some(path) = std::env::var_os("IMPETUS_RUNTIME__LIBRARY") {
        return path.into();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.onnxruntime");
    find_library(&folder).unwrap_or_else(|error| {
        panic!(
            "no ONNX Runtime in {} ({error}): `make test` fetches it, or set \
             IMPETUS_RUNTIME__LIBRARY",
            folder.display()
        )
    })
}

fn find_library(folder: &Path) -> io::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("libonnxruntime.so") || name.starts_with("libonnxruntime.dylib") {
            found.push(path);
        }
    }
    found.sort();
    found.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A one-dimensional tensor of bytes with a pattern that betrays a shifted copy.
pub(crate) fn pattern(name: &str, len: usize) -> Tensor {
    let data: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
    Tensor::try_new(name, impetus_engine::DType::U8, vec![len], data).unwrap()
}
