//! Where workers live: behind one trait, in a process of their own or on a thread of this one.
//!
//! Both kinds speak the same protocol over the same kind of socket, so nothing above this module
//! knows the difference. What differs is what can be done to a worker that does not listen: a
//! process is killed, a thread can only be left alone.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use impetus_supervision::ProcessLost;
use thiserror::Error;

use super::description::Isolation;

mod platform;
mod process;
mod stderr;
mod thread;

pub(super) use platform::autopsy;
pub use process::ProcessHost;
pub use thread::ThreadHost;

/// Why no worker could be started.
#[derive(Debug, Error)]
pub enum HostError {
    /// The operating system would not make the socket pair or the process.
    #[error("could not start a worker from {}: {source}", program.display())]
    Spawn {
        /// What was to be executed.
        program: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The thread that starts workers did not answer in time.
    #[error("starting a worker took longer than {} ms", within.as_millis())]
    TimedOut {
        /// The deadline that passed.
        within: Duration,
    },
    /// The thread that starts workers is gone.
    #[error("the thread that starts workers has ended")]
    Gone,
}

/// Starts workers.
pub trait WorkerHost: Send + Sync + std::fmt::Debug {
    /// Starts one worker and returns it, its socket not yet spoken to.
    fn spawn(&self, within: Duration) -> BoxFuture<'static, Result<HostedWorker, HostError>>;

    /// Tells whether a worker's crash stays its own: its figures can be read and it can be killed.
    fn isolates(&self) -> bool;
}

/// Every place where workers can be started.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// Starts workers as processes.
    pub process: Arc<dyn WorkerHost>,
    /// Starts workers as threads.
    pub thread: Arc<dyn WorkerHost>,
    /// Where those run of which nothing else is said.
    pub usual: Isolation,
}

/// A worker that runs somewhere, and the server's end of its socket.
///
/// Dropping it ends the worker: the socket closes, and a process is killed and reaped.
#[derive(Debug)]
pub struct HostedWorker {
    /// The server's end of the socket pair.
    pub stream: UnixStream,
    life: Life,
}

#[derive(Debug)]
enum Life {
    Process(process::WorkerProcess),
    Thread(thread::WorkerThread),
}

/// What remains of a worker for those who do not own it: enough to end it, nothing else.
#[derive(Debug, Clone)]
pub(super) struct Leash(Option<process::ProcessLeash>);

// === impl Hosts ===

impl Hosts {
    /// Returns what starts workers of this kind.
    #[must_use]
    pub fn of(&self, isolation: Isolation) -> &Arc<dyn WorkerHost> {
        match isolation {
            Isolation::Process => &self.process,
            Isolation::Thread => &self.thread,
        }
    }

    /// Returns what starts workers of which nothing else is said.
    #[must_use]
    pub fn usual(&self) -> &Arc<dyn WorkerHost> {
        self.of(self.usual)
    }
}

// === impl HostedWorker ===

impl HostedWorker {
    /// Takes the socket out, leaving the life behind it.
    ///
    /// # Errors
    /// The operating system has no descriptor left.
    pub fn socket(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Returns the process id, where the worker is a process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Process(process) => Some(process.pid()),
            Life::Thread(_) => None,
        }
    }

    /// Tells whether the worker has not ended.
    pub fn is_running(&mut self) -> bool {
        match &mut self.life {
            Life::Process(process) => process.is_running(),
            Life::Thread(_) => true,
        }
    }

    /// Ends the worker now; a thread that does not listen is left alone.
    pub fn kill(&self) {
        match &self.life {
            Life::Process(process) => process.kill(),
            Life::Thread(_) => {
                // Closing both directions is all that reaches a thread.
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Waits until the worker has ended and says how, or returns `None` at the deadline.
    pub async fn ended(&mut self, within: Duration) -> Option<ProcessLost> {
        match &mut self.life {
            Life::Process(process) => process.ended(within).await,
            Life::Thread(thread) => thread.ended(within).await,
        }
    }

    /// Reads the worker's resident memory in bytes, where it can be told apart from the server's.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        self.pid().and_then(platform::resident_bytes)
    }

    /// Reads what the worker may write and has to itself (`VmData`), in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> Option<u64> {
        self.pid().and_then(platform::data_bytes)
    }

    /// Limits what the worker may allocate in all, in bytes; where that cannot be limited nothing
    /// happens.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn limit_data(&self, bytes: u64) -> std::io::Result<()> {
        match self.pid() {
            Some(pid) => platform::limit_data(pid, bytes),
            None => Ok(()),
        }
    }

    /// Returns the last lines the worker wrote to its standard error.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        match &self.life {
            Life::Process(process) => process.last_words().lines().map(str::to_owned).collect(),
            Life::Thread(_) => Vec::new(),
        }
    }

    pub(super) fn leash(&self) -> Leash {
        match &self.life {
            Life::Process(process) => Leash(Some(process.leash())),
            Life::Thread(_) => Leash(None),
        }
    }
}

// === impl Leash ===

impl Leash {
    pub(super) fn pid(&self) -> Option<u32> {
        self.0.as_ref().map(process::ProcessLeash::pid)
    }

    /// Ends the worker for somebody who cannot do it any more.
    pub(super) fn end(&self) {
        if let Some(process) = &self.0 {
            process.end();
        }
    }
}
