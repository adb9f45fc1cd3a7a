//! What workers may take, what is kept of their ends, and which requests are refused for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Bytes, Period};

/// The memory guard: the hard limits of all workers together stay within what may be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Memory that there is, if less than the container's limit or the machine's memory. 0 = those.
    pub limit: Bytes,
    /// Share of it, in percent, that the server and its workers may use together. The rest is for the kernel, which kills the whole container when nothing is left.
    #[schemars(range(min = 1, max = 100))]
    pub usable_percent: u8,
    /// Memory set aside for the server itself.
    pub server_reserve: Bytes,
    /// Memory that each worker may allocate beside what it has when its model is loaded and warm. 0 = its fair share of what is free, at most four times what it has or 1 GiB. A model's own `memory.headroom` wins.
    pub headroom: Bytes,
    /// Least headroom with which a worker is loaded at all.
    pub headroom_min: Bytes,
    /// Least time between two recyclings of one worker at its soft limit.
    #[schemars(extend("x-min" = "1ms"))]
    pub recycle_pause: Period,
}

/// Requests that killed the worker they were alone with, and are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuarantineConfig {
    /// Most requests that are refused at one time; the oldest makes room.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub capacity: usize,
    /// How long a request is refused.
    #[schemars(extend("x-min" = "1ms"))]
    pub expires_after: Period,
    /// Whether their content is kept in the data folder, in `quarantine/`. It may be somebody's data.
    pub keep_bodies: bool,
    /// Most bytes of contents that are kept; the oldest make room.
    #[schemars(extend("x-min" = "1KiB"))]
    pub bodies_max_bytes: Bytes,
}

/// What is kept of workers that were killed or crashed, in `forensics/` of the data folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForensicsConfig {
    /// Most files. The oldest make room. 0 = none are kept.
    #[schemars(range(max = 10_000))]
    pub max_files: usize,
    /// Most bytes of all files together.
    #[schemars(extend("x-min" = "1KiB"))]
    pub max_bytes: Bytes,
}

// === impl MemoryConfig ===

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            limit: Bytes::mib(0),
            usable_percent: 90,
            server_reserve: Bytes::mib(64),
            headroom: Bytes::mib(0),
            headroom_min: Bytes::mib(64),
            recycle_pause: Period::secs(60),
        }
    }
}

// === impl QuarantineConfig ===

impl Default for QuarantineConfig {
    fn default() -> Self {
        Self {
            capacity: 1024,
            expires_after: Period::secs(3600),
            keep_bodies: false,
            bodies_max_bytes: Bytes::mib(64),
        }
    }
}

// === impl ForensicsConfig ===

impl Default for ForensicsConfig {
    fn default() -> Self {
        Self {
            max_files: 64,
            max_bytes: Bytes::mib(16),
        }
    }
}
