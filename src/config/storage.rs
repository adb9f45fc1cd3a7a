//! Where the server writes.

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

// === impl DataConfig ===

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data"),
            last_run_timeout: Period::secs(1),
        }
    }
}
