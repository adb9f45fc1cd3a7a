//! Models without processes, for the tests of what goes on around them.

use std::sync::Arc;
use std::time::Duration;

use impetus_engine::{DType, Dim, Execution, Loaded, RuntimeInfo, TensorSpec};
use impetus_supervision::{Clock, Healing, SystemClock};
use tokio::sync::oneshot;

use super::GenerationLimits;
use super::budget::BudgetRule;
use super::description::Isolation;
use super::quarantine::{Quarantine, QuarantineSettings};
use super::queue::Taker;
use super::{
    BatchDefaults, Commons, FairShare, Inference, Request, ServeError, ServedModel, ServingLimits,
    WorkerState,
};
use crate::outcomes::Outcomes;

/// Numbers in one row of the model's input.
pub(crate) const ROW: usize = 2;

/// Returns what models have in common.
pub(crate) fn commons() -> Arc<Commons> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Arc::new(Commons {
        outcomes: Arc::new(Outcomes::new(Arc::clone(&clock))),
        quarantine: Arc::new(Quarantine::new(
            QuarantineSettings {
                capacity: 16,
                expires_after: Duration::from_secs(3600),
                bodies: None,
            },
            Arc::clone(&clock),
        )),
        healing: Healing::new(clock),
        share: FairShare::new(2),
    })
}

/// Returns bounds with one worker.
pub(crate) fn limits() -> ServingLimits {
    ServingLimits {
        workers: 1,
        threads: 1,
        spares: 0,
        isolation: Isolation::Process,
        queue: 64,
        max_batch: 4,
        batching: BatchDefaults::default(),
        in_flight: 2,
        retries: 2,
        accident_retries: 4,
        generation: GenerationLimits {
            slots: 4,
            max_len: 64,
            prefill_chunk: 16,
        },
        budget: BudgetRule {
            fixed: None,
            floor: Duration::from_secs(1),
            ceiling: Duration::from_secs(10),
        },
        recovery_floor: Duration::from_secs(60),
    }
}

/// A worker that has nothing to do.
pub(crate) struct Idle;

impl Taker for Idle {
    fn is_idle(&self) -> bool {
        true
    }

    async fn turned_idle(&self) {
        std::future::pending().await
    }
}

impl ServedModel {
    /// Takes a request in for a caller that waits in its own way.
    pub(crate) fn submit(
        &self,
        request: Request,
    ) -> Result<oneshot::Receiver<Result<Inference, ServeError>>, ServeError> {
        let admitted = self.admit(request);
        admitted
            .map(|admitted| admitted.answer)
            .map_err(|bounced| bounced.error)
    }
}

/// Lets a model be loaded that doubles rows of [`ROW`] numbers.
pub(crate) fn load(model: &ServedModel) {
    model.loaded(&loaded(), Some(Duration::from_millis(1)));
    serve(model, 0, 1);
}

/// Returns what a worker says of that model.
pub(crate) fn loaded() -> Loaded {
    let tensor = |name: &str| TensorSpec {
        name: name.to_owned(),
        dtype: DType::F32,
        shape: vec![Dim::Free(None), Dim::Fixed(ROW)],
    };
    Loaded {
        inputs: vec![tensor("x")],
        outputs: vec![tensor("y")],
        load_micros: 1,
        warm_up_micros: 1,
        warm_up_skipped: None,
        generation: None,
        sample_runs: Vec::new(),
        max_batch_free: true,
        runtime: RuntimeInfo {
            name: "none".to_owned(),
            version: "0".to_owned(),
        },
        execution: Execution::default(),
    }
}

/// Lets one of its workers serve.
pub(crate) fn serve(model: &ServedModel, worker: usize, generation: u64) {
    model.places[worker].begin(generation);
    model.places[worker].write(generation, |place| place.state = WorkerState::Ready);
}

/// Lets one of its workers have failed to load.
pub(crate) fn fail(model: &ServedModel, worker: usize, generation: u64) {
    model.places[worker].begin(generation);
    model.places[worker].write(generation, |place| {
        place.state = WorkerState::Down;
        place.load_error = Some("it is corrupt".to_owned());
    });
    model.note_down();
}
