//! The signals that end a server, from the first instruction on.
//!
//! Process 1 gets no default action: a SIGTERM for which it has no handler yet is lost, and with it
//! the orderly end that the kubelet has asked for. So the handlers are there before anything else
//! is, and what comes during the start is kept until it can be honoured.
//!
//! They are received by a thread of its own, so that a main thread that is blocked takes nothing
//! from it. A second signal during the start ends the process at once, for otherwise a start that
//! hangs could be ended by SIGKILL alone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::warn;

use crate::exit::Exit;

/// Signals that are kept: one to end, and one to end at once.
const KEPT: usize = 2;

/// The signals that end a server, in the order in which they come.
pub(super) struct Signals {
    received: Receiver<&'static str>,
    starting: Arc<AtomicBool>,
}

/// What the thread has.
struct Listener {
    terminate: Signal,
    interrupt: Signal,
    tell: Sender<&'static str>,
    starting: Arc<AtomicBool>,
}

// === impl Signals ===

impl Signals {
    /// Installs the handlers and starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread or descriptor left.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let starting = Arc::new(AtomicBool::new(true));
        let (tell, received) = mpsc::channel(KEPT);
        let listener = {
            let _entered = runtime.enter();
            Listener {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                tell,
                starting: Arc::clone(&starting),
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(listener.run()))?;
        Ok(Self { received, starting })
    }

    /// Ends the start: from here on signals are honoured as they come. Returns one that has come
    /// already.
    pub(super) fn started(&mut self) -> Option<&'static str> {
        self.starting.store(false, Ordering::Release);
        self.received.try_recv().ok()
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> &'static str {
        match self.received.recv().await {
            Some(name) => name,
            // The thread has no end; should it have had one, there are no signals any more.
            None => std::future::pending().await,
        }
    }
}

// === impl Listener ===

impl Listener {
    async fn run(mut self) {
        let mut count = 0_u64;
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            };
            count += 1;
            if count > 1 && self.starting.load(Ordering::Acquire) {
                warn!(signal = name, "told to end a second time while starting");
                Exit::Forced.now();
            }
            // A third one says nothing that the second has not said.
            let _ = self.tell.try_send(name);
        }
    }
}
