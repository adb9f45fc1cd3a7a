//! What all workers' actors work with, and by which bounds.

use std::sync::Arc;
use std::time::Duration;

use impetus_engine::Providers;
use impetus_engine::link::Limits;
use impetus_supervision::{ActorId, Clock};
use tracing::info;

use super::super::Catalog;
use super::super::host::Hosts;
use super::super::memory::{MemoryGuard, OutOfMemory};
use super::super::model::ServedModel;
use super::super::opening::{HELLO_WITHIN, REAP_WITHIN};
use crate::archive::Archive;
use crate::heartbeat::BoardSource;

/// What every worker of every model is started with.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The ONNX Runtime library.
    pub runtime: std::path::PathBuf,
    /// What may execute models of which nothing else is said.
    pub providers: Providers,
    /// How long reading a model may take, the start of its runtime included.
    pub load_timeout: Duration,
    /// How long its first run may take.
    pub warm_up_timeout: Duration,
    /// How often an idle worker checks itself.
    pub self_check_every: Duration,
    /// How long an orderly stop waits for batches that are out.
    pub stop_within: Duration,
    /// Bounds of the link.
    pub link: Limits,
}

/// What all workers' actors work with.
pub struct Workshop {
    /// Where workers are started.
    pub hosts: Hosts,
    /// The table of models, which is told of the runtime.
    pub catalog: Arc<Catalog>,
    /// What workers are started with.
    pub settings: WorkerSettings,
    /// Who may take how much memory.
    pub memory: Arc<MemoryGuard>,
    /// What the kernel has killed for want of memory.
    pub out_of_memory: OutOfMemory,
    /// Where it is kept how workers ended.
    pub forensics: Option<Archive>,
    /// Where events are noted.
    pub board: BoardSource,
    /// The time of day, for what people read.
    pub clock: Arc<dyn Clock>,
}

// === impl WorkerSettings ===

impl WorkerSettings {
    /// Returns how long reading this model may take.
    pub(crate) fn load_within(&self, model: &ServedModel) -> Duration {
        let budgets = &model.spec().description.budgets;
        budgets.load.unwrap_or(self.load_timeout)
    }

    /// Returns how long its first run may take.
    pub(crate) fn warm_up_within(&self, model: &ServedModel) -> Duration {
        let budgets = &model.spec().description.budgets;
        budgets.warm_up.unwrap_or(self.warm_up_timeout)
    }

    /// Returns what may execute this model.
    pub(crate) fn providers_of(&self, model: &ServedModel) -> Providers {
        let own = &model.spec().description.providers;
        Providers {
            order: own.clone().unwrap_or_else(|| self.providers.order.clone()),
            options: self.providers.options.clone(),
        }
    }

    /// Returns how long a worker may take to open, everything included.
    pub(crate) fn open_within(&self, model: &ServedModel) -> Duration {
        HELLO_WITHIN * 2 + self.load_within(model) + self.warm_up_within(model) + REAP_WITHIN * 2
    }
}

// === impl Workshop ===

impl Workshop {
    /// Adds a line to the history of an actor.
    pub(super) fn note(&self, actor: &str, message: String) {
        match self.board.get() {
            Some(board) => board.note(&ActorId::from(actor), message),
            None => info!(actor, "{message}"),
        }
    }
}

impl std::fmt::Debug for Workshop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop")
            .field("hosts", &self.hosts)
            .field("settings", &self.settings)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
