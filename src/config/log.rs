//! What the log looks like and how much of it may wait.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The log on stderr.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Form of a line. `auto` is human in a terminal and JSON otherwise.
    pub format: LogFormat,
    /// Lines that may wait while nobody reads stderr. Further ones are dropped and counted, because a reader that hangs must not hang the server.
    #[schemars(range(min = 16, max = 1_000_000))]
    pub queue: usize,
}

/// The form of a log line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Human in a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One coloured line per event.
    Human,
    /// One JSON object per event.
    Json,
}

// === impl LogConfig ===

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            queue: 16_384,
        }
    }
}

// === impl LogFormat ===

impl LogFormat {
    /// Returns the name under which configuration and command line know it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}
