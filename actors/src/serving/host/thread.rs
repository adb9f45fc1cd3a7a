//! Workers as threads of this process, for comparison and for engines that cannot be isolated.
//!
//! A thread that hangs cannot be ended and one that crashes takes the server with it: this is not
//! what Impetus is for, and the default is a process.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use impetus_engine::worker::{self, WorkerOptions};
use impetus_supervision::{ProcessEnd, ProcessLost};
use tokio::sync::oneshot;

use super::{HostError, HostedWorker, Life, WorkerHost};

/// Starts workers as threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadHost;

#[derive(Debug)]
pub(super) struct WorkerThread {
    ended: oneshot::Receiver<String>,
}

// === impl ThreadHost ===

impl WorkerHost for ThreadHost {
    fn spawn(&self, _within: Duration) -> BoxFuture<'static, Result<HostedWorker, HostError>> {
        let worker = start().map_err(|source| HostError::Spawn {
            program: "a thread of this process".into(),
            source,
        });
        async move { worker }.boxed()
    }

    fn isolates(&self) -> bool {
        false
    }
}

fn start() -> io::Result<HostedWorker> {
    let (stream, theirs) = UnixStream::pair()?;
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(move || {
            let exit = worker::run(theirs, WorkerOptions::default());
            let _ = tell.send(format!("{exit:?}"));
        })?;
    Ok(HostedWorker {
        stream,
        life: Life::Thread(WorkerThread { ended }),
    })
}

// === impl WorkerThread ===

impl WorkerThread {
    pub(super) async fn ended(&mut self, within: Duration) -> Option<ProcessLost> {
        let detail = tokio::time::timeout(within, &mut self.ended).await.ok()?;
        Some(ProcessLost {
            pid: std::process::id(),
            how: ProcessEnd::Unknown,
            detail: Some(detail.unwrap_or_else(|_| "the worker's thread panicked".to_owned())),
        })
    }
}
