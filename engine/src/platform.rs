//! What differs between operating systems.
//!
//! Linux is home: sealed memory files, a signal when the parent dies and a poll that waits for
//! nothing but the end of a connection. Everywhere else the portable half does without: tensors
//! stay on the socket, and a worker learns of its parent's end from the socket alone.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;
mod unix;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::*;
pub(crate) use unix::crash_by_signal;
pub use unix::{exit_now, give_back_freed_memory};
