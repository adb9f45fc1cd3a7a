//! The states a model and its workers can be in, and the rule that folds one from the other.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::memory::WorkerMemory;

/// The state of a model as `/api/models/list` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// Wanted, but nothing has been begun.
    Absent,
    /// Its files are being fetched.
    Downloading,
    /// A worker reads it for the first time.
    Loading,
    /// A worker runs it on a sample for the first time.
    Warming,
    /// Every worker serves.
    Ready,
    /// It serves, or will again within its load budget, but not with all its workers.
    Degraded,
    /// It cannot serve; it is tried again for ever.
    Failed,
    /// It is being taken out.
    Unloading,
}

// === impl ModelState ===

impl ModelState {
    /// Every state, in its order.
    pub const ALL: [Self; 8] = [
        Self::Absent,
        Self::Downloading,
        Self::Loading,
        Self::Warming,
        Self::Ready,
        Self::Degraded,
        Self::Failed,
        Self::Unloading,
    ];

    /// Returns the name used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Downloading => "downloading",
            Self::Loading => "loading",
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Unloading => "unloading",
        }
    }

    /// Tells whether requests are taken in: they are answered, at the latest after recovery.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

impl fmt::Display for ModelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a version of a model stands beside the others of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is loaded beside the one that serves, and takes over when all its workers are ready.
    Incoming = 0,
    /// It takes requests, or will as soon as it can.
    #[default]
    Serving = 1,
    /// It answers what it has and takes nothing new.
    Retiring = 2,
}

/// What one worker of a model is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// No process, or one that has not said hello.
    #[default]
    Down,
    /// Reads the model.
    Loading,
    /// Runs it on a sample for the first time.
    Warming,
    /// Serves, or stands by where it is a spare.
    Ready,
}

/// One worker in a model's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStatus {
    /// Name of the actor that looks after it.
    pub actor: String,
    /// What it does.
    pub state: WorkerState,
    /// Its incarnation; 0 before the first.
    pub generation: u64,
    /// Process id; absent while there is none and in thread isolation.
    #[schema(required)]
    pub pid: Option<u32>,
    /// Whether it is loaded and warm and waits for another one to fail.
    pub standby: bool,
    /// Resident memory in bytes, where it could be read.
    #[schema(required)]
    pub resident_bytes: Option<u64>,
    /// What it may take, once it has been measured.
    #[schema(required)]
    pub memory: Option<WorkerMemory>,
    /// Batches it has been sent and has not answered.
    pub in_flight: usize,
    /// Idle self-checks it has passed.
    pub self_checks: u64,
}

/// An execution provider that a model was to run on before the one that it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PassedOver {
    /// Its name, as in the configuration.
    pub provider: String,
    /// Why it does not run the model, and what to do about that.
    pub reason: String,
}

/// A model in the status and in `/api/models/list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its state.
    pub state: ModelState,
    /// How it stands beside the other versions of its name.
    pub standing: Standing,
    /// Why it is in that state; empty when there is nothing to say.
    pub reason: String,
    /// Bytes of the model's file present here.
    pub bytes_done: u64,
    /// Bytes of the model's file in all.
    pub bytes_total: u64,
    /// Whether readiness depends on it.
    pub required: bool,
    /// Requests waiting for a worker.
    pub queued: usize,
    /// How many of its workers stand by for the others.
    pub spares: usize,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// Resident memory of all its workers in bytes.
    pub memory_bytes: u64,
    /// The execution provider that runs it, such as `cpu` or `cuda`; absent before it is loaded.
    #[schema(required)]
    pub provider: Option<String>,
    /// The providers that were to be tried first and do not run it, in their order.
    pub passed_over: Vec<PassedOver>,
    /// How long the last load took, process start included, in milliseconds.
    #[schema(required)]
    pub last_load_ms: Option<f64>,
    /// Predictions it has answered.
    pub predictions: u64,
    /// Executions that failed.
    pub errors: u64,
    /// How long one run may take, in milliseconds.
    pub run_budget_ms: f64,
    /// Workers that were lost, by how.
    pub losses: BTreeMap<String, u64>,
    /// Workers that made room for a fresh one because of their memory.
    pub recycled: u64,
}

/// What the fold of a model's state needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateFacts {
    /// How many workers are to serve; spares beyond that number are not missed.
    pub(super) workers: usize,
    pub(super) ready: usize,
    pub(super) loading: usize,
    pub(super) warming: usize,
    pub(super) unloading: bool,
    /// Whether a worker has ever served.
    pub(super) served: bool,
    /// Whether the last try of any worker to load ended in an error that has not been overcome.
    pub(super) failed: bool,
    /// How long no worker has been ready.
    pub(super) down_for: Duration,
    /// How long recovery may take.
    pub(super) budget: Duration,
}

/// Folds the state of a model.
///
/// A model that has served counts as `degraded`, and its requests queue, while a worker recovers
/// inside the load budget; past the budget, or when loading has failed, it is `failed`.
pub(super) fn fold(facts: StateFacts) -> ModelState {
    if facts.unloading {
        return ModelState::Unloading;
    }
    if facts.ready >= facts.workers && facts.workers > 0 {
        return ModelState::Ready;
    }
    if facts.ready > 0 {
        return ModelState::Degraded;
    }
    if facts.failed {
        return ModelState::Failed;
    }
    if facts.served {
        return if facts.down_for <= facts.budget {
            ModelState::Degraded
        } else {
            ModelState::Failed
        };
    }
    if facts.warming > 0 {
        ModelState::Warming
    } else if facts.loading > 0 {
        ModelState::Loading
    } else {
        ModelState::Absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> StateFacts {
        StateFacts {
            workers: 2,
            ready: 0,
            loading: 0,
            warming: 0,
            unloading: false,
            served: false,
            failed: false,
            down_for: Duration::ZERO,
            budget: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_model_with_all_its_workers_is_ready_and_with_some_degraded() {
        assert_eq!(
            fold(StateFacts {
                ready: 2,
                ..facts()
            }),
            ModelState::Ready
        );
        assert_eq!(
            fold(StateFacts {
                ready: 1,
                ..facts()
            }),
            ModelState::Degraded
        );
        assert_eq!(
            fold(StateFacts {
                ready: 1,
                failed: true,
                ..facts()
            }),
            ModelState::Degraded
        );
    }

    #[test]
    fn a_model_that_lost_its_workers_is_degraded_inside_its_budget_and_failed_past_it() {
        let lost = StateFacts {
            served: true,
            loading: 1,
            ..facts()
        };
        assert_eq!(fold(lost), ModelState::Degraded);
        let overrun = StateFacts {
            down_for: Duration::from_millis(1001),
            ..lost
        };
        assert_eq!(fold(overrun), ModelState::Failed);
    }

    #[test]
    fn a_model_that_never_served_is_loading_then_failed_once_loading_failed() {
        assert_eq!(fold(facts()), ModelState::Absent);
        assert_eq!(
            fold(StateFacts {
                loading: 1,
                ..facts()
            }),
            ModelState::Loading
        );
        assert_eq!(
            fold(StateFacts {
                loading: 1,
                failed: true,
                ..facts()
            }),
            ModelState::Failed
        );
    }

    #[test]
    fn a_model_without_workers_is_never_ready() {
        assert_eq!(
            fold(StateFacts {
                workers: 0,
                ..facts()
            }),
            ModelState::Absent
        );
    }
}
