//! The release binary, as its users meet it: real processes, real signals, real sockets.
//!
//! One test binary holds them all, so that it is linked once. Each test starts a server of its own
//! on ports from the kernel and ends it by its process id.

// Nothing here is anybody else's interface.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr
)]

mod actors;
mod admin;
mod batching;
#[cfg(target_os = "linux")]
mod clock;
mod contract;
mod database;
mod descriptions;
mod drift;
mod durability;
mod edge;
mod ending;
mod events;
mod export;
#[cfg(target_os = "linux")]
mod footprint;
mod grpc;
mod grpc_health;
mod harness;
mod healing;
mod hostile;
mod hostile_log;
#[cfg(target_os = "linux")]
mod limits;
mod liveness;
mod metrics;
mod models;
mod openai;
mod openapi;
mod own_predictions;
#[cfg(target_os = "linux")]
mod pid1;
mod postgres;
mod predict;
mod predictions;
mod providers;
mod relay;
mod remote;
mod roles;
#[cfg(target_os = "linux")]
mod rolling;
mod seeds;
mod starting;
mod survival;
#[cfg(target_os = "linux")]
mod synced;
mod tls;
mod v2;
mod verdict;
mod versions;
