//! How the server ends, how it restarts its parts, and how one may break them on purpose.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Period;

/// The end: the steps from SIGTERM on in their order, each with its own deadline; what happens when the server gives itself up; whose orphans it reaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleConfig {
    /// How long the server goes on serving after it has said that it is not ready, so that load balancers can take it out.
    pub lame_duck: Period,
    /// Longest time for requests in flight to be answered; new ones are refused meanwhile.
    #[schemars(extend("x-min" = "1ms"))]
    pub drain_timeout: Period,
    /// Longest time for waiting predictions to be committed.
    #[schemars(extend("x-min" = "1ms"))]
    pub flush_timeout: Period,
    /// Longest time for the actors to stop, in the reverse of their starting order. What the flush has left of its time comes on top.
    #[schemars(extend("x-min" = "1ms"))]
    pub stop_timeout: Period,
    /// File that says why the server is no longer alive, written at that moment and emptied when it is alive again; the kubelet shows it as the container's termination message. Empty = none.
    pub termination_log: PathBuf,
    /// How long a server that is no longer alive waits to be restarted before it ends by itself, with code 76. 0 = for ever.
    pub exit_after_verdict: Period,
    /// Whether processes that lose their parent below the server fall to it, and are reaped by it, also where it is not process 1. Linux only.
    pub subreaper: bool,
}

/// The supervision of actors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SupervisionConfig {
    /// Restarts of one actor within `within` that are still healing. One more is giving up: a significant actor escalates, another one is `failed` and cools down.
    #[schemars(range(min = 1, max = 1000))]
    pub restarts: u32,
    /// The sliding window in which restarts are counted.
    #[schemars(extend("x-min" = "1ms"))]
    pub within: Period,
    /// Pause before the second restart in a row. The first is immediate.
    #[schemars(extend("x-min" = "1ms"))]
    pub backoff_min: Period,
    /// Longest pause between two restarts.
    #[schemars(extend("x-min" = "1ms"))]
    pub backoff_max: Period,
    /// Share by which a pause varies at random, so that actors that fell together do not rise together.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
    /// Time without a fall after which the next pause is the shortest one again.
    #[schemars(extend("x-min" = "1ms"))]
    pub stable_after: Period,
    /// How long a `failed` actor rests before it is tried again.
    #[schemars(extend("x-min" = "1ms"))]
    pub cool_down: Period,
    /// Longest time for an actor to handle one message, unless the message or the actor declares another.
    #[schemars(extend("x-min" = "10ms"))]
    pub handle_timeout: Period,
    /// Abandoned threads that may exist at one time. At the cap nothing more is replaced until one of them ends.
    #[schemars(range(min = 1, max = 1024))]
    pub leak_cap: usize,
    /// Messages that may wait in an actor's inbox.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub mailbox: usize,
}

/// Fault injection, for game days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsConfig {
    /// Whether faults can be injected over HTTP, from this machine only.
    pub enabled: bool,
}

// === impl LifecycleConfig ===

impl LifecycleConfig {
    /// Returns the longest time from SIGTERM to the end of the process.
    ///
    /// A pod's `terminationGracePeriodSeconds` must be longer than this.
    pub fn longest_stop(&self) -> Duration {
        [
            self.lame_duck,
            self.drain_timeout,
            self.flush_timeout,
            self.stop_timeout,
        ]
        .iter()
        .map(|step| step.get())
        .sum()
    }
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            lame_duck: Period::secs(10),
            drain_timeout: Period::secs(30),
            flush_timeout: Period::secs(10),
            stop_timeout: Period::secs(10),
            termination_log: PathBuf::from("/dev/termination-log"),
            exit_after_verdict: Period::secs(120),
            subreaper: false,
        }
    }
}

// === impl SupervisionConfig ===

impl Default for SupervisionConfig {
    fn default() -> Self {
        Self {
            restarts: 5,
            within: Period::secs(30),
            backoff_min: Period::millis(100),
            backoff_max: Period::secs(30),
            jitter: 0.2,
            stable_after: Period::secs(60),
            cool_down: Period::secs(30),
            handle_timeout: Period::secs(10),
            leak_cap: 32,
            mailbox: 1024,
        }
    }
}
