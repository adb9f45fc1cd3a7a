//! Administration: what the person who is paged may ask of a running server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Period;

/// Administration over HTTP, from this machine only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Whether `/api/admin` exists: pausing healing, draining, restarting an actor.
    pub enabled: bool,
    /// Longest time for which healing can be paused at once. A pause always ends by itself.
    #[schemars(extend("x-min" = "1s"))]
    pub longest_pause: Period,
    /// How long the order to restart an actor waits until that is under way, the actor's orderly stop included.
    #[schemars(extend("x-min" = "100ms"))]
    pub restart_timeout: Period,
}

// === impl AdminConfig ===

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            longest_pause: Period::secs(3600),
            restart_timeout: Period::secs(30),
        }
    }
}
