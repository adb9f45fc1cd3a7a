//! Processes by pidfd, memory by `/proc`.

#![allow(unsafe_code)] // one block: a pidfd is handed to the event loop

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;

use impetus_supervision::ProcessEnd;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, pidfd_open,
    pidfd_send_signal, prlimit, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A child process that is reaped through this handle and no other way.
#[derive(Debug)]
pub(in crate::serving::host) struct Process {
    pid: u32,
    pidfd: OwnedFd,
}

// === impl Process ===

impl Process {
    pub(in crate::serving::host) fn new(child: &Child) -> io::Result<Self> {
        let pid = Pid::from_child(child);
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        Ok(Self {
            pid: child.id(),
            pidfd,
        })
    }

    pub(in crate::serving::host) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends SIGKILL; a process that has ended is left in peace.
    pub(in crate::serving::host) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits for the process's end without reaping it.
    pub(in crate::serving::host) async fn exited(&self) -> io::Result<()> {
        let pidfd = self.pidfd.try_clone()?;
        // SAFETY: the `OwnedFd` moves into the `AsyncFd`, which alone owns it from here on: it stays
        // open and the same until the `AsyncFd` is dropped at the end of this function.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }
            .map_err(|refused| refused.into_parts().1)?;
        pidfd.readable().await?.retain_ready();
        Ok(())
    }

    /// Reaps the process if it has ended and says how.
    pub(in crate::serving::host) fn try_reap(&self) -> Option<ProcessEnd> {
        use std::os::fd::AsFd;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => ProcessEnd::Code(code),
                (None, Some(signal)) => ProcessEnd::Signal(signal),
                (None, None) => ProcessEnd::Unknown,
            }),
            // Reaped before: there is nothing left to wait for.
            Err(_) => Some(ProcessEnd::Unknown),
        }
    }
}

/// Returns the program that is running, even when its file has been replaced since.
pub(in crate::serving::host) fn program() -> io::Result<PathBuf> {
    Ok(PathBuf::from("/proc/self/exe"))
}

/// Reads a process's resident memory in bytes.
pub(in crate::serving::host) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Reads what a process may write and has to itself, in bytes: what `RLIMIT_DATA` limits.
pub(in crate::serving::host) fn data_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmData:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Limits what a process may allocate. The hard limit stays as it is, so that the soft one can be
/// raised again without a privilege.
pub(in crate::serving::host) fn limit_data(pid: u32, bytes: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::Data).maximum;
    let limit = Rlimit {
        current: Some(maximum.map_or(bytes, |maximum| maximum.min(bytes))),
        maximum,
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Data, limit)?;
    Ok(())
}
