//! The machine's own figures, for everything no control group limits.
//!
//! `sysinfo` reads them on every platform. Only what a sample needs is refreshed: the table of
//! processes is never walked (this process alone is looked up), and the list of processors is read
//! once. The trait is the seam for tests: a fixture has no `/proc/stat` that moves.

use std::fmt;

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate};

use super::sample::ResourceError;

/// Figures of the whole machine, and of this process on it.
pub trait Host: fmt::Debug + Send {
    /// Reads the machine's memory.
    fn memory(&mut self) -> Result<HostMemory, ResourceError>;

    /// Returns the number of the machine's logical processors.
    fn cores(&mut self) -> Result<f64, ResourceError>;

    /// Reads the share of all processors in use since the last call (0 to 100); `None` the first
    /// time.
    fn cpu_percent(&mut self) -> Result<Option<f64>, ResourceError>;

    /// Reads this process's resident set, in bytes.
    fn process_resident_bytes(&mut self) -> Result<u64, ResourceError>;
}

/// The machine's memory, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HostMemory {
    /// All of it.
    pub total: u64,
    /// The part that could not be had without swapping.
    pub used: u64,
}

/// The machine as `sysinfo` sees it.
pub struct SystemHost {
    system: sysinfo::System,
    process: Pid,
    cpu_was_read: bool,
}

// === impl SystemHost ===

impl SystemHost {
    /// Opens the platform's sources; reads nothing yet.
    pub fn new() -> Result<Self, ResourceError> {
        let unreadable = |error| ResourceError::new("the machine's figures", error);
        let system = sysinfo::System::new().map_err(unreadable)?;
        let process = sysinfo::get_current_pid().map_err(unreadable)?;
        Ok(Self {
            system,
            process,
            cpu_was_read: false,
        })
    }
}

impl Host for SystemHost {
    fn memory(&mut self) -> Result<HostMemory, ResourceError> {
        self.system
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = self.system.total_memory();
        if total == 0 {
            return Err(ResourceError::new(
                "the machine's memory",
                "its size is given as 0",
            ));
        }
        Ok(HostMemory {
            total,
            used: total.saturating_sub(self.system.available_memory()),
        })
    }

    fn cores(&mut self) -> Result<f64, ResourceError> {
        if self.system.cpus().is_empty() {
            self.system.refresh_cpu_list(CpuRefreshKind::nothing());
        }
        match self.system.cpus().len() {
            0 => Err(ResourceError::new(
                "the machine's processors",
                "none is listed",
            )),
            cores => Ok(cores as f64),
        }
    }

    fn cpu_percent(&mut self) -> Result<Option<f64>, ResourceError> {
        self.system.refresh_cpu_usage();
        let percent = f64::from(self.system.global_cpu_usage()).clamp(0.0, 100.0);
        // The first reading has no earlier one to be compared with: it would tell the average
        // since the machine was started.
        let known = std::mem::replace(&mut self.cpu_was_read, true);
        Ok(known.then_some(percent))
    }

    fn process_resident_bytes(&mut self) -> Result<u64, ResourceError> {
        self.system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[self.process]),
            false,
            ProcessRefreshKind::nothing().with_memory(),
        );
        let process = self.system.process(self.process);
        process
            .map(sysinfo::Process::memory)
            .ok_or_else(|| ResourceError::new("this process's memory", "the process is not listed"))
    }
}

impl fmt::Debug for SystemHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemHost")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}
