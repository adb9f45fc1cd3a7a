//! Processes by asking for their status now and then, where there is no pidfd.

use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use impetus_supervision::ProcessEnd;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

const POLL: Duration = Duration::from_millis(10);

/// A child process that is reaped through this handle and no other way.
#[derive(Debug)]
pub(in crate::serving::host) struct Process {
    pid: Pid,
    /// Once reaped, the number may belong to a stranger: no signal is sent after that.
    reaped: Mutex<Option<ProcessEnd>>,
}

// === impl Process ===

impl Process {
    pub(in crate::serving::host) fn new(child: &Child) -> io::Result<Self> {
        Ok(Self {
            pid: Pid::from_child(child),
            reaped: Mutex::new(None),
        })
    }

    pub(in crate::serving::host) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(in crate::serving::host) fn kill(&self) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if reaped.is_none() {
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }

    pub(in crate::serving::host) async fn exited(&self) -> io::Result<()> {
        while self.try_reap().is_none() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub(in crate::serving::host) fn try_reap(&self) -> Option<ProcessEnd> {
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if reaped.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            *reaped = match waitid(WaitId::Pid(self.pid), options) {
                Ok(None) => None,
                Ok(Some(status)) => {
                    Some(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => ProcessEnd::Code(code),
                        (None, Some(signal)) => ProcessEnd::Signal(signal),
                        (None, None) => ProcessEnd::Unknown,
                    })
                }
                Err(_) => Some(ProcessEnd::Unknown),
            };
        }
        reaped.clone()
    }
}

/// Returns the program that is running.
pub(in crate::serving::host) fn program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Not read here.
pub(in crate::serving::host) fn resident_bytes(_pid: u32) -> Option<u64> {
    None
}

/// Not read here.
pub(in crate::serving::host) fn data_bytes(_pid: u32) -> Option<u64> {
    None
}

/// Does nothing: another process's limits cannot be set here.
pub(in crate::serving::host) fn limit_data(_pid: u32, _bytes: u64) -> io::Result<()> {
    Ok(())
}

/// Nothing can be read about a process here.
pub(in crate::serving) fn autopsy(_pid: u32) -> serde_json::Value {
    serde_json::Value::Null
}
