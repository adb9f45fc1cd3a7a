//! The numbers by which the server judges itself.
//!
//! They come in pairs wherever a single limit would make an answer flap: what
//! turns false at one value turns true again only at a lower one. The loader
//! refuses a pair in the wrong order.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Period;

/// The readiness checks that exist, under the names they have in `/api/health/ready`.
pub const READINESS_CHECKS: [&str; 3] = ["memory_available", "models_loaded", "runtime_available"];

/// The health plane: when something counts as stale, failing, unready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Port of the health thread, which answers also while every request worker is blocked. 0 = none; the main port gives the same answers as long as it can.
    pub port: u16,
    /// Address of the health thread. Empty = the same as `host`.
    pub host: String,
    /// Further names in the `checks` of `/api/health/ready`, each repeating the check it names: `memory_available`, `models_loaded` or `runtime_available`.
    pub check_aliases: BTreeMap<String, String>,
    /// Whether a server without any configured model is unready.
    pub require_model: bool,
    /// How often health is evaluated, whether or not anybody asks.
    #[schemars(extend("x-min" = "10ms"))]
    pub evaluate_every: Period,
    /// How often Heartbeat beats and rings every actor for its status.
    #[schemars(extend("x-min" = "10ms"))]
    pub heartbeat_interval: Period,
    /// Age of the last beat from which the server is no longer alive.
    #[schemars(extend("x-min" = "10ms"))]
    pub heartbeat_stale_after: Period,
    /// Age of an actor's own status from which it is `unknown`, unless it is inside a deadline that it declared.
    #[schemars(extend("x-min" = "10ms"))]
    pub status_ttl: Period,
    /// Age of the root supervisor's stamp from which the server is no longer alive.
    #[schemars(extend("x-min" = "10ms"))]
    pub root_stale_after: Period,
    /// How long all request workers must have stood still before the server is no longer alive.
    #[schemars(extend("x-min" = "10ms"))]
    pub edge_stalled_after: Period,
    /// Working set in percent of the memory limit from which `memory_available` is false.
    #[schemars(range(min = 1, max = 100))]
    pub memory_unready_percent: u8,
    /// Working set in percent of the memory limit under which `memory_available` is true again.
    #[schemars(range(min = 1, max = 100))]
    pub memory_ready_percent: u8,
    /// Score under which a component, and with it the server, is unhealthy.
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_below: u8,
    /// Score under which a component, and with it the server, is degraded.
    #[schemars(range(min = 1, max = 100))]
    pub degraded_below: u8,
    /// Sliding window over which the error rate is taken.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub error_window: Period,
    /// Requests there must be in the window before its error rate means anything.
    #[schemars(range(min = 1))]
    pub error_min_requests: u64,
    /// Share of failed executions above which `/ready` says no.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub error_unready_ratio: f64,
    /// Share of failed executions under which `/ready` may say yes again.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub error_ready_ratio: f64,
    /// Shortest time for which `/ready` stays at no once the error rate has made it so.
    pub error_hold: Period,
}

// === impl HealthConfig ===

impl Default for HealthConfig {
    fn default() -> Self {
        let alias = ("mlx_available".to_owned(), "runtime_available".to_owned());
        Self {
            port: 8081,
            host: String::new(),
            check_aliases: BTreeMap::from([alias]),
            require_model: true,
            evaluate_every: Period::secs(10),
            heartbeat_interval: Period::secs(1),
            heartbeat_stale_after: Period::secs(15),
            status_ttl: Period::secs(10),
            root_stale_after: Period::secs(15),
            edge_stalled_after: Period::secs(30),
            memory_unready_percent: 95,
            memory_ready_percent: 90,
            unhealthy_below: 50,
            degraded_below: 80,
            error_window: Period::secs(60),
            error_min_requests: 10,
            error_unready_ratio: 0.5,
            error_ready_ratio: 0.25,
            error_hold: Period::secs(30),
        }
    }
}
