//! What a reading of the machine's resources says.
//!
//! A sample is one reading; a snapshot is what readers see: the last good sample, whether memory
//! is available by the rule, and what is wrong with reading if something is. A reading that fails
//! leaves the last good sample standing beside the problem, so that a reader can tell an old truth
//! from a new one by [`ResourceSnapshot::taken_at`].

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// One reading of memory and processor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceSample {
    /// Share of the processors in use since the reading before, 0 to 100, relative to
    /// [`cpu_cores`](Self::cpu_cores); `None` in the first reading, which has nothing before it.
    pub cpu_percent: Option<f64>,
    /// The quota in cores, or the number of the host's cores where there is no quota.
    pub cpu_cores: f64,
    /// Whose processors these are.
    pub cpu_source: Source,
    /// Working set in bytes: usage less the file cache that can be dropped at once.
    pub memory_used_bytes: u64,
    /// What the working set may grow to, in bytes.
    pub memory_limit_bytes: u64,
    /// Working set ÷ limit, 0 to 100.
    pub memory_percent: f64,
    /// Whose memory this is.
    pub memory_source: Source,
    /// Resident set of this process alone, in bytes.
    pub process_resident_bytes: u64,
}

/// Whose figures a reading gives: those of a control group count only where it sets a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A group of the unified hierarchy.
    CgroupV2,
    /// A group of one of the older hierarchies, one per controller.
    CgroupV1,
    /// The whole machine.
    Host,
}

/// What readers of the resources see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceSnapshot {
    /// The last good reading, `None` until there has been one.
    pub sample: Option<ResourceSample>,
    /// When that reading was taken, since the clock's origin.
    #[serde(skip)]
    pub taken_at: Option<Duration>,
    /// Whether there is memory to work with; true until a reading has said otherwise.
    pub memory_available: bool,
    /// Why the last attempt to read failed, `None` when it did not.
    pub problem: Option<String>,
}

/// A source of figures that could not be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot read {what}: {reason}")]
pub struct ResourceError {
    /// The file or the figure.
    pub what: String,
    /// What went wrong.
    pub reason: String,
}

// === impl Source ===

impl Source {
    /// Returns the name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CgroupV2 => "cgroup v2",
            Self::CgroupV1 => "cgroup v1",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// === impl ResourceSnapshot ===

impl Default for ResourceSnapshot {
    fn default() -> Self {
        Self {
            sample: None,
            taken_at: None,
            memory_available: true,
            problem: None,
        }
    }
}

// === impl ResourceError ===

impl ResourceError {
    pub(crate) fn new(what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            reason: reason.to_string(),
        }
    }
}
