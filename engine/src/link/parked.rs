//! A link that is put away while its worker lives on.
//!
//! Both halves belong to the event loop they were made on. A worker that was loaded by one task to
//! be used by another, on another loop, is parked in between: the connection stays open, nothing
//! is in flight, and whatever the worker says meanwhile waits in the socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::shared::Shared;
use super::{Limits, Receiver, Sender};
use crate::arena::Arena;

/// The connection to a worker that nobody talks to at the moment.
///
/// Dropping it does not end the worker by itself; closing the last descriptor of the socket does.
#[derive(Debug)]
pub struct Parked {
    stream: UnixStream,
    arena: Arena,
    line: Option<OwnedFd>,
    limits: Limits,
}

/// Puts a link away on which nothing is in flight.
///
/// # Errors
///
/// Something is in flight or has been read and not passed on, or no descriptor is left; the link is
/// closed then.
pub fn park(sender: &Sender, receiver: Receiver) -> io::Result<Parked> {
    let idle = sender.in_flight() == 0;
    let shared = idle
        .then(|| receiver.put_away())
        .flatten()
        .ok_or_else(|| io::Error::other("the link is in use"))?;
    Ok(Parked {
        stream: shared.socket.as_fd().try_clone_to_owned()?.into(),
        arena: shared.arena.try_clone()?,
        line: shared.line()?,
        limits: shared.limits,
    })
}

// === impl Parked ===

impl Parked {
    /// Makes a link of it again, on the event loop of the caller.
    ///
    /// # Panics
    ///
    /// Must be called within a tokio runtime with its I/O driver enabled.
    ///
    /// # Errors
    ///
    /// The system refuses what the link needs.
    pub fn resume(self) -> io::Result<(Sender, Receiver)> {
        let shared = Shared::new(self.stream, self.arena, self.limits)?;
        if let Some(line) = self.line {
            shared.set_line(line);
        }
        let receiver = Receiver::new(Arc::clone(&shared))?;
        Ok((Sender::new(shared), receiver))
    }
}
