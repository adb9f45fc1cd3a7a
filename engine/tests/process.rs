//! Workers as processes. This program is its own worker, so it brings its own `main`.
#![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use impetus_engine::generate::GenerationSpec;
use impetus_engine::link::{self, Receiver, Sender};
use impetus_engine::protocol::ToWorker;
use impetus_engine::worker::{self, WorkerArgs};
use impetus_engine::{
    Arena, DType, Limits, LinkError, LoadSpec, Providers, Received, StackedInput,
};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

#[path = "generation/killed.rs"]
mod killed;
#[path = "engine/onnx.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod onnx;
#[path = "engine/support.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;
#[path = "generation/text.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod text;

use support::{library, within};

const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("worker") => {
            let parent = arguments[2].parse().unwrap();
            let code = worker::main_from_stdin(WorkerArgs {
                parent,
                runtime: None,
            });
            std::process::exit(code)
        }
        Some("parent") => parent(),
        _ => {}
    }
    let trials = vec![
        trial("a_worker_process_runs_a_model_at_a_lower_priority", runs),
        trial("a_killed_worker_is_lost_and_its_signal_is_known", killed),
        trial(
            "answers_of_a_killed_worker_go_on_in_another_as_they_would_have",
            killed::goes_on_in_another,
        ),
        trial("a_shutdown_ends_the_process_with_code_0", shut_down),
        trial("a_closed_link_ends_the_process", closed),
        trial("a_worker_dies_with_its_parent", orphaned),
        trial("a_worker_of_another_parent_does_not_start", wrong_parent),
        trial("the_runtime_reports_to_nobody", silent),
        #[cfg(target_os = "linux")]
        trial("the_server_maps_no_runtime_and_stays_small", small),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial<F: Future<Output = ()> + 'static>(name: &str, test: fn() -> F) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failed::from)?;
        runtime.block_on(test());
        Ok(())
    })
}

/// A worker process and the server's end of its link.
struct Process {
    child: Child,
    sender: Sender,
    receiver: Receiver,
}

impl Process {
    fn spawn() -> Self {
        Self::spawn_with(|command| command)
    }

    fn spawn_with(change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = command(theirs, std::process::id());
        let child = change(&mut command).spawn().unwrap();
        let limits = Limits::default();
        let arena = Arena::new(&limits).unwrap();
        let (sender, receiver) = link::split(ours, arena, limits).unwrap();
        Self {
            child,
            sender,
            receiver,
        }
    }

    async fn greet(&mut self) {
        self.sender.send(&ToWorker::hello(1)).await.unwrap();
        let hello = self.next().await.unwrap();
        let pid = self.child.id();
        assert_eq!(hello, Received::Hello { generation: 1, pid });
    }

    async fn load(&mut self, folder: &tempfile::TempDir) {
        let path = folder.path().join("model.onnx");
        fs::write(&path, onnx::identity(DType::U8)).unwrap();
        self.load_as(path, None).await;
    }

    async fn load_as(&mut self, path: PathBuf, generation: Option<GenerationSpec>) {
        let spec = LoadSpec {
            model: "identity".into(),
            version: "1".into(),
            path,
            intra_threads: 1,
            warm_up: true,
            samples: Vec::new(),
            runtime: library(),
            providers: Providers::default(),
            self_check_every: Duration::ZERO,
            generation,
        };
        self.sender
            .send(&ToWorker::Load(Box::new(spec)))
            .await
            .unwrap();
        let ready = self.next().await.unwrap();
        assert!(matches!(ready, Received::RuntimeReady(_)), "{ready:?}");
        assert_eq!(self.next().await.unwrap(), Received::Warming);
        let loaded = self.next().await.unwrap();
        assert!(matches!(loaded, Received::Loaded(_)), "{loaded:?}");
    }

    async fn run(&mut self, data: &[u8]) {
        let stacked = StackedInput {
            name: "x",
            dtype: DType::U8,
            shape: &[data.len()],
            parts: &[data],
        };
        within(self.sender.run(1, &[stacked])).await.unwrap();
        match self.next().await.unwrap() {
            Received::Done { outputs, .. } => assert!(outputs[0].data() == data),
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn next(&mut self) -> Result<Received, LinkError> {
        within(self.receiver.next()).await
    }

    async fn assert_lost(&mut self) -> ExitStatus {
        let end = self.next().await;
        assert!(matches!(end, Err(LinkError::Lost { .. })), "{end:?}");
        wait(&mut self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(connection: UnixStream, parent: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["worker", &parent.to_string()])
        .stdin(Stdio::from(OwnedFd::from(connection)));
    command
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the process does not end");
        std::thread::yield_now();
    }
}

async fn runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::spawn();
    process.greet().await;
    process.load(&folder).await;
    for len in [10, 100_000, 9_000_000] {
        process.run(&support::pattern("x", len).into_data()).await;
    }
    let pid = Pid::from_child(&process.child);
    let ours = rustix::process::getpriority_process(None).unwrap();
    let theirs = rustix::process::getpriority_process(Some(pid)).unwrap();
    assert_eq!(theirs, (ours + 5).min(19));
}

async fn killed() {
    for signal in [Signal::KILL, Signal::SEGV] {
        let mut process = Process::spawn();
        process.greet().await;
        kill_process(Pid::from_child(&process.child), signal).unwrap();
        let status = process.assert_lost().await;
        assert_eq!(status.signal(), Some(signal.as_raw()));
    }
}

async fn shut_down() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::spawn();
    process.greet().await;
    process.load(&folder).await;
    process.sender.send(&ToWorker::Shutdown).await.unwrap();
    assert_eq!(process.assert_lost().await.code(), Some(0));
}

async fn closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::spawn();
    process.greet().await;
    process.load(&folder).await;
    process.sender.close();
    assert_eq!(process.assert_lost().await.code(), Some(0));
}

/// Starts a worker, says so, and waits to be killed.
fn parent() -> ! {
    let (ours, theirs) = UnixStream::pair().unwrap();
    #[expect(clippy::zombie_processes, reason = "this process is killed before")]
    let child = command(theirs, std::process::id()).spawn().unwrap();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", child.id()).unwrap();
    stdout.flush().unwrap();
    let _kept = ours;
    loop {
        std::thread::park();
    }
}

async fn orphaned() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .arg("parent")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = parent.stdout.take().unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The worker holds the other end of this pipe: it ends when the worker does.
    let mut rest = Vec::new();
    let ended = tokio::task::spawn_blocking(move || stdout.read_to_end(&mut rest));
    within(ended).await.unwrap().unwrap();
}

async fn wrong_parent() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let mut child = command(theirs, 1_999_999_999).spawn().unwrap();
    assert_eq!(wait(&mut child).code(), Some(71));
    let mut child = command(UnixStream::pair().unwrap().0, std::process::id())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(wait(&mut child).code(), Some(71), "no connection");
}

async fn silent() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Nothing in this environment keeps the library from reporting.
    let mut process = Process::spawn_with(|command| command.env_clear().env("HOME", home.path()));
    process.greet().await;
    process.load(&folder).await;
    process.run(b"abc").await;
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[cfg(target_os = "linux")]
async fn small() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::spawn();
    process.greet().await;
    process.load(&folder).await;
    let before = resident_kib();
    let data = support::pattern("x", 3_000_000).into_data();
    for _ in 0..20 {
        process.run(&data).await;
    }
    // One input and one output of three megabytes are held here; the slots are not.
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains("onnxruntime"));
    assert!(!maps.contains("impetus-arena"));
    let theirs = fs::read_to_string(format!("/proc/{}/maps", process.child.id()));
    assert!(theirs.unwrap().contains("onnxruntime"));
}

#[cfg(target_os = "linux")]
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
