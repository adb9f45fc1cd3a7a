//! What the server writes, and how much of it may wait.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Period;

/// Where the server writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Folder of everything the server writes. One per server, never shared.
    pub dir: PathBuf,
    /// How long the start waits for the record of the last run. A disk that takes longer costs that record, not the start.
    #[schemars(extend("x-min" = "1ms", "x-max" = "1m"))]
    pub last_run_timeout: Period,
}

/// The prediction log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PredlogConfig {
    /// Requests that may wait for the database. Further ones are refused with `Retry-After`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: usize,
    /// Most rows in one transaction. More requests than one share its sync.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_rows_per_commit: usize,
    /// Most predictions in one `POST /log`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_batch_rows: usize,
    /// How often the database is asked whether it is there.
    #[schemars(extend("x-min" = "10ms"))]
    pub check_every: Period,
    /// How long it may take to say so.
    #[schemars(extend("x-min" = "1ms"))]
    pub check_timeout: Period,
    /// Longest wait for a prediction to be committed.
    #[schemars(extend("x-min" = "1ms"))]
    pub write_timeout: Period,
    /// Longest wait for `/predictions` and `/stats`.
    #[schemars(extend("x-min" = "1ms"))]
    pub read_timeout: Period,
    /// What an unreachable database does to `/ready`. `/api/health/ready` never depends on it.
    pub readiness: Readiness,
}

/// What a dependency means for readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Without it the service is not ready.
    #[default]
    Required,
    /// Without it the service is ready, and says that it is degraded.
    Degraded,
}

// === impl DataConfig ===

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data"),
            last_run_timeout: Period::secs(1),
        }
    }
}

// === impl PredlogConfig ===

impl Default for PredlogConfig {
    fn default() -> Self {
        Self {
            queue: 1024,
            max_rows_per_commit: 4096,
            max_batch_rows: 10_000,
            check_every: Period::secs(2),
            check_timeout: Period::secs(2),
            write_timeout: Period::secs(5),
            read_timeout: Period::secs(5),
            readiness: Readiness::Required,
        }
    }
}
