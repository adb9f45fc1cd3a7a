//! What this process may use of the machine: the arithmetic of how many threads are worth having.
//!
//! Threads beyond the processor time that is granted do not compute more, they take it from each
//! other: under a quota the kernel stops all of them for the rest of each period as soon as it is
//! used up, and what was the answer of a moment waits for the next one. The standard library knows
//! the quota too, but rounds one below a core to a core silently and tells nobody where it was found;
//! here it is the same reading that health and metrics show, so they cannot disagree.
//!
//! **Invariant:** there is always at least one thread, and never more than there are processors that
//! this process may run on.

use std::path::PathBuf;
use std::time::Duration;

use super::host::SystemHost;
use super::probe::ResourceProbe;
use super::sample::{ResourceError, ResourceSample, Source};

/// The limits of this process, as found at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// The quota in cores, or the number of the host's cores where there is none.
    pub cores: f64,
    /// Whose processors these are.
    pub cpu_source: Source,
    /// What the working set may grow to, in bytes.
    pub memory_bytes: u64,
    /// Whose memory this is.
    pub memory_source: Source,
}

// === impl Allowance ===

impl Allowance {
    /// Reads the limits of this process.
    ///
    /// # Errors
    /// A limit is there and cannot be understood, or the machine's own figures cannot be read.
    pub fn read() -> Result<Self, ResourceError> {
        let host = Box::new(SystemHost::new()?);
        let mut probe = ResourceProbe::new(PathBuf::from("/"), host)?;
        Ok(Self::from(&probe.sample(Duration::ZERO)?))
    }

    /// Returns how many threads may compute at one time, where this process may run on so many
    /// processors: the whole cores of the quota, at least one.
    pub fn threads(&self, processors: usize) -> usize {
        // What is beyond any number of processors is cut off, and so is what is no number.
        let whole = self.cores.floor() as usize;
        whole.clamp(1, processors.max(1))
    }
}

impl From<&ResourceSample> for Allowance {
    fn from(sample: &ResourceSample) -> Self {
        Self {
            cores: sample.cpu_cores,
            cpu_source: sample.cpu_source,
            memory_bytes: sample.memory_limit_bytes,
            memory_source: sample.memory_source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(cores: f64, processors: usize) -> usize {
        let allowance = Allowance {
            cores,
            cpu_source: Source::CgroupV2,
            memory_bytes: 1 << 30,
            memory_source: Source::Host,
        };
        allowance.threads(processors)
    }

    #[test]
    fn threads_are_the_whole_cores_of_the_quota_and_at_least_one() {
        for (cores, expected) in [(0.1, 1), (0.5, 1), (1.0, 1), (1.9, 1), (2.0, 2), (3.5, 3)] {
            assert_eq!(threads(cores, 64), expected, "{cores} cores");
        }
    }

    #[test]
    fn a_process_that_may_run_on_fewer_processors_than_its_quota_is_worth_has_no_more_threads() {
        assert_eq!(threads(8.0, 2), 2);
        assert_eq!(threads(8.0, 0), 1);
    }
}
