//! One reading of the resources, from whichever source limits them.
//!
//! Memory and processors are decided apart: a container with a memory limit and no quota has its
//! own memory and shares the machine's processors, and the sample says so. Limits are read anew
//! each time, because a pod can be resized while it runs. Reading takes a handful of small files
//! of the kernel's own file systems, well under a millisecond, so it needs no thread of its own.

use std::path::PathBuf;
use std::time::Duration;

use super::cgroup::{Cgroups, GroupCpu};
use super::host::{Host, HostMemory};
use super::sample::{ResourceError, ResourceSample, Source};

/// Reads samples, remembering the last reading of processor time.
#[derive(Debug)]
pub struct ResourceProbe {
    cgroups: Cgroups,
    host: Box<dyn Host>,
    last_cpu: Option<(Duration, GroupCpu)>,
}

/// Processor figures of one sample.
struct Cpu {
    percent: Option<f64>,
    cores: f64,
    source: Source,
}

impl ResourceProbe {
    /// Returns a probe that looks for control groups below `root` and falls back to `host`.
    pub fn new(root: PathBuf, host: Box<dyn Host>) -> Result<Self, ResourceError> {
        Ok(Self {
            cgroups: Cgroups::locate(&root)?,
            host,
            last_cpu: None,
        })
    }

    /// Takes one sample at `now` (since the clock's origin).
    pub fn sample(&mut self, now: Duration) -> Result<ResourceSample, ResourceError> {
        let cpu = self.cpu(now)?;
        let HostMemory { total, used } = self.host.memory()?;
        let (used, limit, memory_source) = match self.cgroups.memory(total)? {
            Some(group) => (group.working_set, group.limit, group.source),
            None => (used, total, Source::Host),
        };
        Ok(ResourceSample {
            cpu_percent: cpu.percent,
            cpu_cores: cpu.cores,
            cpu_source: cpu.source,
            memory_used_bytes: used,
            memory_limit_bytes: limit,
            memory_percent: percent_of(used as f64, limit as f64),
            memory_source,
            process_resident_bytes: self.host.process_resident_bytes()?,
        })
    }

    fn cpu(&mut self, now: Duration) -> Result<Cpu, ResourceError> {
        let host_cores = self.host.cores()?;
        let Some(group) = self.cgroups.cpu(host_cores)? else {
            self.last_cpu = None;
            let percent = self.host.cpu_percent()?;
            return Ok(Cpu {
                percent,
                cores: host_cores,
                source: Source::Host,
            });
        };
        let (cores, source) = (group.cores, group.source);
        let last = self.last_cpu.replace((now, group.clone()));
        let percent = last.and_then(|(then, last)| {
            let elapsed = now.checked_sub(then).filter(|elapsed| !elapsed.is_zero())?;
            let is_continuation = last.group == group.group && last.source == group.source;
            let used = group.used_nanos?.checked_sub(last.used_nanos?)?;
            let possible = elapsed.as_nanos() as f64 * cores;
            is_continuation.then(|| percent_of(used as f64, possible))
        });
        Ok(Cpu {
            percent,
            cores,
            source,
        })
    }
}

/// A group may overrun its quota or its limit for a moment; a percentage does not. A limit of zero
/// is used up.
fn percent_of(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        (part / whole * 100.0).clamp(0.0, 100.0)
    } else {
        100.0
    }
}

#[cfg(test)]
mod tests;
