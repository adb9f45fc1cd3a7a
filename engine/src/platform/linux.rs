//! The Linux half.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Whether tensors can be passed in shared memory.
pub(crate) const SHARED_MEMORY: bool = true;

/// How both ends read: never waiting, and keeping descriptors from programs they start.
pub(crate) const RECV_FLAGS: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);

/// How both ends write: never waiting, and with an error instead of a signal.
pub(crate) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// The seals that make a size final, so that no access within it can fault.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// Returns a zeroed memory file whose size can never change again.
pub(crate) fn sealed_memory(name: &str, bytes: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create(name, flags)?);
    file.set_len(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SIZE_SEALS)?;
    Ok(file)
}

/// Takes a descriptor of somebody else's as a memory file; returns it with its final size.
pub(crate) fn accept_sealed(descriptor: OwnedFd) -> io::Result<(File, u64)> {
    let seals = rustix::fs::fcntl_get_seals(&descriptor)
        .map_err(|_| io::Error::other("it is no memory file"))?;
    if !seals.contains(SIZE_SEALS) {
        return Err(io::Error::other("its size is not sealed"));
    }
    let file = File::from(descriptor);
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Gives the memory behind a part of a memory file back; it reads as zeros afterwards.
pub(crate) fn punch(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, mode, offset, bytes)?)
}

/// Has this process killed when its parent's thread that started it ends.
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Waits until the connection has ended in both directions, without waking for its data, or until
/// there is something on the line; returns true for the former.
pub(crate) fn wait_for_hangup(socket: BorrowedFd<'_>, line: Option<BorrowedFd<'_>>) -> bool {
    // Asking for no event leaves those that are always reported: hang-up and error.
    let mut polled = vec![PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    polled.extend(line.map(|line| PollFd::from_borrowed_fd(line, PollFlags::IN)));
    loop {
        match poll(&mut polled, None) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return !polled[0].revents().is_empty(),
            // An error in waiting must not leave a worker without its watch.
            Err(_) => return true,
        }
    }
}
