//! What every Unix can do: no shared memory, and the socket as the only sign of life.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};

/// Whether tensors can be passed in shared memory.
pub(crate) const SHARED_MEMORY: bool = false;

/// How both ends read: never waiting.
pub(crate) const RECV_FLAGS: RecvFlags = RecvFlags::DONTWAIT;

/// How both ends write: never waiting. The standard library has the signal ignored.
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT;

/// How often the end of the connection is looked for.
const HANGUP_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Fails: there is no memory that two processes could rely on.
pub(crate) fn sealed_memory(_name: &str, _bytes: u64) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails: nothing here can have made one.
pub(crate) fn accept_sealed(_descriptor: OwnedFd) -> io::Result<(File, u64)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails: there is nothing to give back.
pub(crate) fn punch(_file: &File, _offset: u64, _bytes: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Does nothing: the closed socket is the sign.
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Waits until the connection has ended and all that was sent over it has been read, or until there
/// is something on the line; returns true for the former.
pub(crate) fn wait_for_hangup(socket: BorrowedFd<'_>, line: Option<BorrowedFd<'_>>) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let mut byte = [0u8; 1];
    loop {
        match rustix::net::recv(socket, &mut byte, flags) {
            Ok((0, _)) => return true,
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
        // Waits for the interval, or less where the system reports a hang-up by itself.
        let mut polled = vec![PollFd::from_borrowed_fd(socket, PollFlags::empty())];
        polled.extend(line.map(|line| PollFd::from_borrowed_fd(line, PollFlags::IN)));
        if poll(&mut polled, Some(&HANGUP_INTERVAL)).is_err() {
            return true;
        }
        if polled.get(1).is_some_and(|line| !line.revents().is_empty()) {
            return false;
        }
    }
}
