//! The rules and what comes of them: what promtool says, what Alertmanager silences, and the whole
//! way from a server that is broken to the message somebody gets.
//!
//! Prometheus and Alertmanager are real ones, fetched by scripts/install-prometheus.sh; each test
//! starts its own on ports from the kernel and ends it by its process id. What they are given is
//! what stands in `k8s/monitoring`, made quicker by replacing periods and nothing else.

// Nothing here is anybody else's interface.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr
)]
// Where there is no Alertmanager, not all of it is used.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

#[cfg(target_os = "linux")]
mod alertmanager;
#[cfg(target_os = "linux")]
mod delivery;
#[cfg(target_os = "linux")]
mod inhibition;
mod linter;
mod prometheus;
mod rules;
#[path = "../server"]
mod server {
    // Each of the binaries uses its part of it.
    #[allow(dead_code, unused_imports)]
    pub mod harness;
}
mod tools;
#[cfg(target_os = "linux")]
mod webhook;

use crate::server::harness;
