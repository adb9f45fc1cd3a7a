//! Workers as processes of their own.
//!
//! A worker is this very program executed again, never a bare fork. All are started from one
//! thread that never ends: the kernel's parent-death signal fires when the *thread* that started a
//! child ends, and actors' threads come and go. The same thread reaps workers whose owner has gone.
//!
//! The first worker is started before anybody asks for one, and each loads its library before it
//! is told to, so that both run while the server is still busy with itself.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use impetus_supervision::{ProcessEnd, ProcessLost};
use tokio::sync::oneshot;

use super::platform::{self, Process};
use super::stderr::Tail;
use super::{HostError, HostedWorker, Life, WorkerHost};

/// Requests that may wait for the spawning thread.
const BACKLOG: usize = 256;
/// How often abandoned children are looked at.
const REAP_EVERY: Duration = Duration::from_millis(20);

/// Starts workers as processes.
#[derive(Debug, Clone)]
pub struct ProcessHost {
    requests: Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Spawn(oneshot::Sender<Result<HostedWorker, HostError>>),
    Reap(Arc<Process>),
}

/// A worker process; dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    process: Arc<Process>,
    end: Option<ProcessEnd>,
    last_words: Tail,
    reaper: Sender<Order>,
}

#[derive(Debug, Clone)]
pub(super) struct ProcessLeash {
    process: Arc<Process>,
    reaper: Sender<Order>,
}

// === impl ProcessHost ===

impl ProcessHost {
    /// Starts the thread that starts workers. Each is the running program, executed again with
    /// these arguments.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(arguments: Vec<OsString>) -> io::Result<Self> {
        let (requests, orders) = bounded(BACKLOG);
        let spawner = Spawner {
            program: platform::program()?,
            arguments,
            reaper: requests.clone(),
            abandoned: Vec::new(),
            spare: None,
        };
        std::thread::Builder::new()
            .name("worker-spawner".to_owned())
            .spawn(move || spawner.run(&orders))?;
        Ok(Self { requests })
    }
}

impl WorkerHost for ProcessHost {
    fn spawn(&self, within: Duration) -> BoxFuture<'static, Result<HostedWorker, HostError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.try_send(Order::Spawn(reply));
        async move {
            sent.map_err(|_| HostError::Gone)?;
            match tokio::time::timeout(within, answer).await {
                Ok(Ok(worker)) => worker,
                Ok(Err(_)) => Err(HostError::Gone),
                Err(_) => Err(HostError::TimedOut { within }),
            }
        }
        .boxed()
    }

    fn isolates(&self) -> bool {
        true
    }
}

/// The thread that starts workers.
struct Spawner {
    program: PathBuf,
    arguments: Vec<OsString>,
    reaper: Sender<Order>,
    abandoned: Vec<Arc<Process>>,
    /// Started before anybody asked, so that it loads the library while the server comes up.
    spare: Option<HostedWorker>,
}

// === impl Spawner ===

impl Spawner {
    fn run(mut self, orders: &Receiver<Order>) {
        // An error is met again by whoever asks for a worker.
        self.spare = self.try_spawn().ok();
        loop {
            let order = if self.abandoned.is_empty() {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                orders.recv_timeout(REAP_EVERY)
            };
            match order {
                Ok(Order::Spawn(reply)) => {
                    let _ = reply.send(self.spawn());
                }
                Ok(Order::Reap(process)) => self.abandoned.push(process),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.abandoned
                .retain(|process| process.try_reap().is_none());
        }
    }

    fn spawn(&mut self) -> Result<HostedWorker, HostError> {
        if let Some(spare) = self.spare.take_if(|spare| spare.is_running()) {
            return Ok(spare);
        }
        self.try_spawn().map_err(|source| HostError::Spawn {
            program: self.program.clone(),
            source,
        })
    }

    fn try_spawn(&self) -> io::Result<HostedWorker> {
        let (stream, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env("ORT_DISABLE_TELEMETRY", "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().map(OwnedFd::from);
        let mut process = WorkerProcess {
            process: Arc::new(Process::new(&child)?),
            end: None,
            last_words: Tail::default(),
            reaper: self.reaper.clone(),
        };
        if let Some(stderr) = stderr {
            // When this fails the process is ended by its drop.
            process.last_words = Tail::follow(stderr)?;
        }
        Ok(HostedWorker {
            stream,
            life: Life::Process(process),
        })
    }
}

// === impl WorkerProcess ===

impl WorkerProcess {
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn kill(&self) {
        self.process.kill();
    }

    pub(super) fn last_words(&self) -> String {
        self.last_words.text()
    }

    pub(super) fn is_running(&mut self) -> bool {
        if self.end.is_none() {
            self.end = self.process.try_reap();
        }
        self.end.is_none()
    }

    pub(super) fn leash(&self) -> ProcessLeash {
        ProcessLeash {
            process: Arc::clone(&self.process),
            reaper: self.reaper.clone(),
        }
    }

    pub(super) async fn ended(&mut self, within: Duration) -> Option<ProcessLost> {
        let deadline = Instant::now() + within;
        while self.end.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let exited = tokio::time::timeout(left, self.process.exited()).await;
            self.end = self.process.try_reap();
            if !matches!(exited, Ok(Ok(()))) {
                break;
            }
        }
        let how = self.end?;
        Some(ProcessLost {
            pid: self.pid(),
            how,
            detail: None,
        })
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        if self.end.is_none() {
            end(&self.process, &self.reaper);
        }
    }
}

// === impl ProcessLeash ===

impl ProcessLeash {
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn end(&self) {
        end(&self.process, &self.reaper);
    }
}

/// Kills a process and sees to it that it is reaped, without waiting for either.
fn end(process: &Arc<Process>, reaper: &Sender<Order>) {
    process.kill();
    if process.try_reap().is_none() {
        // A full channel means that hundreds wait already; a child that is not reaped here is
        // reaped with the server's own end.
        let _ = reaper.try_send(Order::Reap(Arc::clone(process)));
    }
}
