//! What stands between a model and the server.

use serde::{Deserialize, Serialize};

/// Where the workers of a model run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// In a process each: what crashes, hangs or grows there is ended there.
    #[default]
    Process,
    /// On a thread of the server each: what crashes there takes the server with it.
    Thread,
}
