//! What a model shows of itself: its state, why it is in it, and everything the status says.

use std::sync::atomic::Ordering;

use impetus_engine::Execution;

use super::super::ModelStatus;
use super::super::ledger::LinkId;
use super::super::state::{self, ModelState, PassedOver, StateFacts, WorkerState, WorkerStatus};
use super::{Place, ServedModel};

// === impl ServedModel ===

impl ServedModel {
    /// Returns the model's state now.
    #[must_use]
    pub fn state(&self) -> ModelState {
        if let Some(arrival) = &self.arrival
            && !self.life().unloading
        {
            return arrival.state();
        }
        let places: Vec<_> = self.places.iter().map(Place::read).collect();
        let life = self.life();
        let count = |state| places.iter().filter(|p| p.state == state).count();
        let failed = places.iter().filter(|p| p.load_error.is_some()).count();
        // A model that never served fails with its first worker. One that did recovers as long as
        // one of its workers may: a spare that does not fit says nothing about the others.
        let no_hope = match life.served {
            true => failed == places.len(),
            false => failed > 0,
        };
        state::fold(StateFacts {
            workers: self.limits.workers,
            ready: count(WorkerState::Ready),
            loading: count(WorkerState::Loading),
            warming: count(WorkerState::Warming),
            unloading: life.unloading,
            served: life.served,
            failed: self.problem.is_some() || no_hope,
            down_for: life.down_since.elapsed(),
            budget: self.recovery_budget(life.last_load),
        })
    }

    /// Returns why the model is in its state; empty when there is nothing to say.
    #[must_use]
    pub fn reason(&self) -> String {
        if let Some(arrival) = &self.arrival {
            return arrival.reason();
        }
        let mut reason = self.problem.clone().unwrap_or_default();
        for place in self.places.iter().map(Place::read) {
            if place.state == WorkerState::Ready {
                continue;
            }
            if let Some(error) = place.load_error.or(place.last_loss) {
                reason = error;
            }
        }
        reason
    }

    /// Returns everything the status shows of this model.
    #[must_use]
    pub fn status(&self) -> ModelStatus {
        let workers: Vec<WorkerStatus> = self
            .places
            .iter()
            .enumerate()
            .map(|(index, place)| {
                let place_now = place.read();
                let link = LinkId {
                    worker: index,
                    generation: place_now.generation,
                };
                place_now.status(place.actor(), self.out_on(link))
            })
            .collect();
        let (required, last_load) = {
            let life = self.life();
            (life.required, life.last_load)
        };
        let (bytes_done, bytes_total) = match &self.arrival {
            Some(arrival) => arrival.bytes(),
            None => (self.spec.bytes, self.spec.bytes),
        };
        let execution = self.execution();
        ModelStatus {
            name: self.spec.name.clone(),
            version: self.spec.version.clone(),
            state: self.state(),
            reason: self.reason(),
            bytes_done,
            bytes_total,
            required,
            queued: self.queued(),
            memory_bytes: workers.iter().filter_map(|w| w.resident_bytes).sum(),
            spares: self.limits.spares,
            standing: self.standing(),
            workers,
            provider: execution.as_ref().map(|one| one.provider.to_string()),
            passed_over: execution.iter().flat_map(|one| passed_over(one)).collect(),
            last_load_ms: last_load.map(|load| load.as_secs_f64() * 1e3),
            predictions: self.figures.predictions.load(Ordering::Relaxed),
            errors: self.figures.errors.load(Ordering::Relaxed),
            run_budget_ms: self.run_budget().as_secs_f64() * 1e3,
            losses: self
                .losses()
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
            recycled: self.recycled(),
        }
    }
}

fn passed_over(execution: &Execution) -> impl Iterator<Item = PassedOver> {
    execution.passed_over.iter().map(|one| PassedOver {
        provider: one.provider.to_string(),
        reason: one.reason.clone(),
    })
}
