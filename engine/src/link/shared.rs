//! What sender and receiver have in common, and the task that writes when the socket is full.
//!
//! Frames are gathered in the outbox under a lock that is held for a copy or one system call,
//! never across a wait. Who appends a frame also writes it, unless the worker has work enough
//! already: then the frame can wait for the pump, which runs once the tasks that are ready have
//! had their turn and writes what all of them have appended with one call. A full socket is left
//! to the pump in any case, so no caller that goes away can leave a half-written frame behind.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream as AsyncStream;
use tokio::sync::Notify;

use super::ledger::Ledger;
use super::{Limits, LinkError};
use crate::arena::Arena;
use crate::error::EngineError;
use crate::platform;
use crate::protocol::ProtocolError;
use crate::wire::{Filled, Inbox, Outbox};

/// Runs in flight with which a worker counts as busy: the one it executes and the next one.
const BUSY_RUNS: usize = 2;

/// The common part of both halves.
pub(super) struct Shared {
    pub(super) socket: AsyncStream,
    pub(super) arena: Arena,
    pub(super) limits: Limits,
    /// Notified when a slot comes free, when there is room to write, and when the worker is lost.
    pub(super) room: Notify,
    /// Whether the last outputs were too large for a frame, so that runs had better own a slot.
    pub(super) large_outputs: AtomicBool,
    outbox: Mutex<Outbox>,
    ledger: Mutex<Ledger>,
    /// Where the worker hears which runs nobody wants any more.
    line: OnceLock<OwnedFd>,
    pump: Arc<Notify>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(stream: UnixStream, arena: Arena, limits: Limits) -> io::Result<Arc<Self>> {
        stream.set_nonblocking(true)?;
        let shared = Arc::new(Self {
            socket: AsyncStream::from_std(stream)?,
            outbox: Mutex::new(Outbox::new(limits.frame_cap)),
            ledger: Mutex::new(Ledger::new(arena.layout().slots())),
            arena,
            limits,
            line: OnceLock::new(),
            room: Notify::new(),
            large_outputs: AtomicBool::new(false),
            pump: Arc::new(Notify::new()),
        });
        tokio::spawn(pump(Arc::downgrade(&shared), shared.pump.clone()));
        Ok(shared)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing that can panic runs under the lock.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the line that came with the worker's hello.
    pub(super) fn set_line(&self, line: OwnedFd) {
        if rustix::io::ioctl_fionbio(&line, true).is_ok() {
            // A second one would be a worker's whim; the first stands.
            let _ = self.line.set(line);
        }
    }

    /// Returns another descriptor of the line.
    pub(super) fn line(&self) -> io::Result<Option<OwnedFd>> {
        self.line.get().map(OwnedFd::try_clone).transpose()
    }

    pub(super) fn say_unwanted(&self, id: u64) {
        if let Some(line) = self.line.get() {
            // Full: dozens are being given up. Broken: the worker is gone, and so is the run.
            let _ = rustix::net::send(line, &id.to_le_bytes(), platform::SEND_FLAGS);
        }
    }

    /// Returns the loss of the worker, if it is lost.
    pub(super) fn alive(&self) -> Result<(), LinkError> {
        match self.ledger().lost() {
            Some(reason) => Err(LinkError::lost(reason)),
            None => Ok(()),
        }
    }

    /// Records the loss of the worker and wakes everybody who waits for it.
    pub(super) fn lose(&self, reason: impl ToString) {
        self.ledger().lose(reason.to_string());
        self.room.notify_waiters();
    }

    /// Waits for a condition that changes when the worker answers, takes bytes or is lost.
    pub(super) async fn wait_for<T>(
        &self,
        mut condition: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, LinkError> {
        loop {
            let changed = self.room.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            self.alive()?;
            if let Some(met) = condition(self) {
                return Ok(met);
            }
            changed.await;
        }
    }

    /// Waits until little enough waits to be written.
    pub(super) async fn wait_for_backlog(&self) -> Result<(), LinkError> {
        self.wait_for(|shared| (shared.outbox().len() < shared.limits.backlog).then_some(()))
            .await
    }

    /// Appends a frame and sees to it that it leaves.
    pub(super) fn enqueue(
        &self,
        append: impl FnOnce(&mut Outbox) -> Result<(), ProtocolError>,
    ) -> Result<(), LinkError> {
        let busy = self.ledger().in_flight() > BUSY_RUNS;
        let mut outbox = self.outbox();
        let pump_has_it = !outbox.is_empty();
        append(&mut outbox).map_err(refused)?;
        if pump_has_it {
            return Ok(());
        }
        if busy {
            self.pump.notify_one();
            return Ok(());
        }
        match outbox.flush(&self.socket) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.pump.notify_one();
                Ok(())
            }
            Err(error) => {
                drop(outbox);
                self.lose(&error);
                Err(LinkError::lost(error))
            }
        }
    }

    /// Ends the connection in both directions; what has arrived can still be received.
    pub(super) fn close(&self) {
        // Fails only when the other end has closed it first.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Writes until nothing waits.
    async fn drain(&self) -> io::Result<()> {
        loop {
            self.socket.writable().await?;
            let flushed = self.socket.try_io(Interest::WRITABLE, || {
                match self.outbox().flush(&self.socket) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error),
                }
            });
            self.room.notify_waiters();
            match flushed {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                flushed => return flushed,
            }
        }
    }

    /// Waits until something has arrived and reads it with one call.
    pub(super) async fn fill(&self, inbox: &mut Inbox) -> io::Result<Filled> {
        loop {
            self.socket.readable().await?;
            let mut filled = Filled::WouldBlock;
            let read = self.socket.try_io(Interest::READABLE, || {
                filled = inbox.fill(&self.socket)?;
                match filled {
                    // Saves the call that would only find the socket empty.
                    Filled::WouldBlock | Filled::Bytes { drained: true } => {
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    _ => Ok(()),
                }
            });
            match read {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ if filled == Filled::WouldBlock => {}
                _ => return Ok(filled),
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pump.notify_one();
    }
}

/// What does not fit a frame was never sent, so it says nothing about the worker.
fn refused(error: ProtocolError) -> LinkError {
    LinkError::Refused(match error {
        ProtocolError::Oversized { bytes, cap } => EngineError::InputTooLarge {
            bytes: bytes as u64,
            cap: cap as u64,
        },
        error => EngineError::Protocol {
            reason: error.to_string(),
        },
    })
}

/// Writes whenever it is asked to, until both halves are gone.
async fn pump(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Err(error) = shared.drain().await {
            shared.lose(&error);
            return;
        }
    }
}
