//! The worker: one process (or one thread) that owns one model and does nothing else.
//!
//! The *inference thread* owns the model and the connection: between two runs it takes whatever
//! has arrived, several requests with one call, and it writes each answer as soon as there is one.
//! While it waits for room to write it goes on reading, so neither end can wait for the other. The
//! *watching thread*, which is the one that called [`run`], waits for the end of the connection
//! and for the server's word that nobody wants a run any more, and for nothing else: however long
//! a run takes, a worker whose server is gone ends at once.
//!
//! A model that generates text is run step by step instead ([`generate`](crate::generate)): between two
//! steps the inference thread takes what has arrived without waiting for more.
//!
//! An idle worker repeats its warm-up sample now and then and compares the result with the first
//! one, so that an engine that has died in silence is known before a request finds it. A mismatch
//! is reported and ends the worker.
//!
//! A worker ends in one of the ways of [`WorkerExit`]. As a process it then leaves without running
//! the destructors of native libraries; as a thread of the server ([`run`] called there), it
//! returns at once, and an inference thread that hangs in native code is left behind.

mod compiling;
mod connection;
mod engine;
mod generation;
mod interrupts;
mod outputs;
mod sample;
mod service;
mod sources;

use std::any::Any;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use crate::platform;
use crate::runtime::onnx::OnnxRuntime;
use crate::runtime::{ByModel, Runtime};
use interrupts::Interrupts;
use service::Equipment;

/// How much lower than the server's the priority of a worker process is.
const NICE: i32 = 5;

/// How a worker is to run.
pub struct WorkerOptions {
    runtime: Box<dyn FnOnce() -> Box<dyn Runtime> + Send>,
}

/// What the worker process is told on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerArgs {
    /// The process that started it; if that is gone already, the worker ends.
    pub parent: u32,
    /// The library that it will be told to load a model with: it is loaded at once.
    pub runtime: Option<PathBuf>,
}

/// Why a worker has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerExit {
    /// It was told to, and has answered everything before.
    Shutdown,
    /// The connection ended.
    Closed,
    /// The model no longer gives what it gave; the server has been told what differed.
    SelfCheckFailed(String),
    /// The server said something that it should not have said.
    Protocol(String),
    /// The system failed it.
    System(String),
    /// The inference thread panicked.
    Panicked(String),
}

/// Runs a worker on this thread and an inference thread until the connection ends.
///
/// Blocks. Returns at once when the server closes the connection, even if a run is in progress:
/// that run is asked to end early and its thread is not waited for.
pub fn run(stream: UnixStream, options: WorkerOptions) -> WorkerExit {
    let interrupts = Interrupts::default();
    let (line, theirs) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => return WorkerExit::System(error.to_string()),
    };
    let (tell, told) = mpsc::sync_channel(1);
    let inference = stream.try_clone().and_then(|stream| {
        let interrupts = interrupts.clone();
        thread::Builder::new()
            .name("inference".into())
            .spawn(move || {
                let served = catch_unwind(AssertUnwindSafe(|| {
                    let equipment = Equipment {
                        runtime: (options.runtime)(),
                        interrupts,
                        line: theirs.into(),
                    };
                    service::serve(&stream, equipment)
                }));
                let exit = served.unwrap_or_else(|panic| WorkerExit::Panicked(panic_text(&*panic)));
                // The watching thread may have returned; then nobody asks.
                let _ = tell.send(exit);
                let _ = stream.shutdown(std::net::Shutdown::Both);
            })
    });
    let inference = match inference {
        Ok(inference) => inference,
        Err(error) => return WorkerExit::System(error.to_string()),
    };
    watch(&stream, line, &interrupts);
    match told.try_recv() {
        Ok(exit) => {
            // It has said its last word and is about to return.
            let _ = inference.join();
            exit
        }
        Err(_) => {
            interrupts.strike_any();
            WorkerExit::Closed
        }
    }
}

/// Waits for the end of the connection, and meanwhile passes on which runs nobody wants.
fn watch(stream: &UnixStream, line: UnixStream, interrupts: &Interrupts) {
    let mut line = line.set_nonblocking(true).is_ok().then_some(line);
    while !platform::wait_for_hangup(stream.as_fd(), line.as_ref().map(AsFd::as_fd)) {
        let open = line
            .as_mut()
            .is_some_and(|line| take_words(line, interrupts));
        if !open {
            // The server has put its end away, or says what is no number: nobody will be struck.
            line = None;
        }
    }
}

/// Takes what the server says on the line; returns whether it may say more.
fn take_words(line: &mut UnixStream, interrupts: &Interrupts) -> bool {
    let mut words = [0; 8 * 64];
    match line.read(&mut words) {
        Ok(0) => false,
        // A word is written with one call into an empty or half-empty buffer: whole or not at all.
        Ok(bytes) => {
            let (runs, rest) = words[..bytes].as_chunks::<8>();
            for run in runs {
                interrupts.strike(u64::from_le_bytes(*run));
            }
            rest.is_empty()
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Runs a worker process: the connection is standard input. Returns the exit code.
///
/// Ties the process's life to that of its parent, lowers its priority, and does not return but
/// end the process when the connection is closed while a run is in progress.
pub fn main_from_stdin(args: WorkerArgs) -> i32 {
    let runtime = args.runtime.clone();
    match prepare(args) {
        Ok(stream) => {
            if let Some(runtime) = runtime {
                load_ahead(runtime);
            }
            let exit = run(stream, WorkerOptions::default());
            tracing::debug!(?exit, "worker ended");
            platform::exit_now(exit.code())
        }
        Err(error) => {
            tracing::error!(%error, "worker cannot start");
            WorkerExit::System(error.to_string()).code()
        }
    }
}

// === impl WorkerOptions ===

impl WorkerOptions {
    /// Returns options with another runtime than those of this build, made on the inference thread.
    pub fn with_runtime(runtime: impl FnOnce() -> Box<dyn Runtime> + Send + 'static) -> Self {
        Self {
            runtime: Box::new(runtime),
        }
    }
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self::with_runtime(|| Box::new(ByModel::default()))
    }
}

// === impl WorkerExit ===

impl WorkerExit {
    /// Returns the exit code of a worker process that ends so, after `sysexits.h`.
    pub fn code(&self) -> i32 {
        match self {
            Self::Shutdown | Self::Closed => 0,
            Self::SelfCheckFailed(_) => 69,
            Self::Panicked(_) => 70,
            Self::System(_) => 71,
            Self::Protocol(_) => 76,
        }
    }
}

fn prepare(args: WorkerArgs) -> std::io::Result<UnixStream> {
    let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr().map_err(|error| {
        std::io::Error::other(format!("standard input is no connection: {error}"))
    })?;
    platform::crash_by_signal();
    platform::die_with_parent()?;
    // The parent may have ended before the line above took effect.
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != i32::try_from(args.parent).ok() {
        return Err(std::io::Error::other("the parent process is gone"));
    }
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "priority not lowered");
    }
    Ok(stream)
}

/// Loads the library while the server is still busy with itself. Whether that succeeds is told when
/// a model is to be loaded.
fn load_ahead(runtime: PathBuf) {
    let ahead = thread::Builder::new()
        .name("load-ahead".into())
        .spawn(move || OnnxRuntime.start(&runtime).is_ok());
    if let Err(error) = ahead {
        tracing::debug!(%error, "library not loaded ahead");
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}
