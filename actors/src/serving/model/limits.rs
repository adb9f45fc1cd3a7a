//! The bounds of one model's serving path.

use std::time::Duration;

use super::super::batching::BatchDefaults;
use super::super::budget::BudgetRule;
use super::super::description::{Description, Isolation};
use super::super::generation::GenerationLimits;
use super::ModelKind;

/// The bounds of the serving path.
#[derive(Debug, Clone)]
pub struct ServingLimits {
    /// Workers per model.
    pub workers: usize,
    /// Threads with which each of them computes.
    pub threads: usize,
    /// Requests that may wait per model.
    pub queue: usize,
    /// Rows in one batch.
    pub max_batch: usize,
    /// How requests wait and become batches otherwise.
    pub batching: BatchDefaults,
    /// Batches a worker may have at a time; the second waits in the worker, so that it never
    /// starves between two.
    pub in_flight: usize,
    /// Workers beyond those that serve, loaded and warm, one of which takes over at once.
    pub spares: usize,
    /// Where its workers run.
    pub isolation: Isolation,
    /// Workers that a request may lose by their own doing before it is answered with an error.
    pub retries: u32,
    /// Workers that it may lose otherwise, killed by somebody else, before it is answered so.
    pub accident_retries: u32,
    /// How text is generated.
    pub generation: GenerationLimits,
    /// How long one run may take.
    pub budget: BudgetRule,
    /// The least time a model gets for recovery before it counts as not loaded, however fast its
    /// last load was.
    pub recovery_floor: Duration,
}

// === impl ServingLimits ===

impl ServingLimits {
    /// Returns the bounds of one model: these, but for what its description says otherwise.
    #[must_use]
    pub fn of(mut self, kind: ModelKind, description: &Description) -> Self {
        if kind == ModelKind::Generation {
            // Sequences share each step of one worker, and all cores work on it.
            self.threads *= self.workers;
            self.workers = 1;
        }
        self.generation = self.generation.of(&description.generation);
        self.workers = description.workers.unwrap_or(self.workers).max(1);
        self.threads = description.threads.unwrap_or(self.threads);
        self.spares = description.spares.unwrap_or(self.spares);
        self.queue = description.batching.queue.unwrap_or(self.queue);
        self.max_batch = description.batching.max_rows.unwrap_or(self.max_batch);
        self.isolation = description.isolation.unwrap_or(self.isolation);
        self.budget.fixed = description.budgets.run.or(self.budget.fixed);
        self
    }
}
