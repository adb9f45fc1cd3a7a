//! The worker's end of the socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::WorkerExit;
use crate::link::Limits;
use crate::wire::{Filled, Inbox, Outbox};

/// The socket with what has arrived and what is to be written.
///
/// The two buffers are apart so that an answer can be written while its request is still read.
pub(super) struct Connection<'a> {
    socket: &'a UnixStream,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
}

/// What ended a wait.
pub(super) enum Woken {
    Bytes,
    Deadline,
}

// === impl Connection ===

impl<'a> Connection<'a> {
    pub(super) fn new(socket: &'a UnixStream) -> io::Result<Self> {
        // Until the server states its own.
        let cap = Limits::default().frame_cap;
        Ok(Self {
            socket,
            inbox: Inbox::new(cap)?,
            outbox: Outbox::new(cap),
        })
    }

    /// Sets the longest frame in either direction.
    pub(super) fn set_frame_cap(&mut self, cap: usize) {
        self.inbox.set_cap(cap);
        self.outbox.set_cap(cap);
    }

    /// Reads what has arrived, without waiting.
    pub(super) fn read_what_is_there(&mut self) -> Result<(), WorkerExit> {
        match self.inbox.fill(self.socket).map_err(system)? {
            Filled::End => Err(WorkerExit::Closed),
            Filled::Bytes { .. } | Filled::NoRoom | Filled::WouldBlock => Ok(()),
        }
    }

    /// Waits until something has arrived or the deadline has passed.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Result<Woken, WorkerExit> {
        loop {
            match self.inbox.fill(self.socket).map_err(system)? {
                Filled::Bytes { .. } => return Ok(Woken::Bytes),
                Filled::End => return Err(WorkerExit::Closed),
                Filled::NoRoom => {
                    return Err(WorkerExit::Protocol("bytes beyond a frame".to_owned()));
                }
                Filled::WouldBlock => {}
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Woken::Deadline);
            }
            self.poll(PollFlags::IN, left)?;
        }
    }

    /// Writes everything; goes on reading while the server does not take it.
    pub(super) fn flush(&mut self) -> Result<(), WorkerExit> {
        let mut reading = true;
        while !self.outbox.flush(self.socket).map_err(lost)? {
            let events = if reading {
                PollFlags::IN | PollFlags::OUT
            } else {
                PollFlags::OUT
            };
            self.poll(events, None)?;
            // What has been read cannot be taken now, so there is an end to the room.
            reading = reading
                && !matches!(
                    self.inbox.fill(self.socket).map_err(system)?,
                    Filled::NoRoom | Filled::End
                );
        }
        Ok(())
    }

    fn poll(&self, events: PollFlags, timeout: Option<Duration>) -> Result<(), WorkerExit> {
        let timeout = timeout
            .map(Timespec::try_from)
            .transpose()
            .map_err(|_| WorkerExit::System("a deadline beyond the clock".to_owned()))?;
        match poll(&mut [PollFd::new(self.socket, events)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(WorkerExit::System(error.to_string())),
        }
    }
}

/// The server is gone, or the system is out of something.
fn lost(error: io::Error) -> WorkerExit {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => WorkerExit::Closed,
        _ => system(error),
    }
}

fn system(error: io::Error) -> WorkerExit {
    match error.kind() {
        io::ErrorKind::ConnectionReset => WorkerExit::Closed,
        _ => WorkerExit::System(error.to_string()),
    }
}
