//! One model in service: its queue, its ledger, its workers' places, its figures.
//!
//! It belongs to nobody who can die: actors, links and processes come and go around it, and each
//! writes into its own worker's place only while it is the newest incarnation there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use impetus_engine::generate::GenerationInfo;
use impetus_engine::{Execution, Loaded, Tensor};
use impetus_supervision::Healing;
use impetus_text::TextModel;
use tokio::sync::{Notify, Semaphore, watch};

use super::ServeError;
use super::batching::BatchPolicy;
use super::description::Description;
use super::generation::Streams;
use super::ledger::Ledger;
use super::occupancy::Occupancy;
use super::quarantine::{Quarantine, Suspect};
use super::queue::Queue;
use super::rejection::Rejection;
use super::share::{Account, FairShare};
use super::signature::Signature;
use super::state::{ModelState, Standing, WorkerState};
use crate::outcomes::Outcomes;
use crate::sources::arrival::Arrival;
use crate::sources::folder::{Fingerprint, Wanted};

mod admission;
mod announcement;
mod answers;
mod figures;
mod generation;
mod kind;
mod limits;
mod measures;
mod place;
mod standing;
mod statistics;
mod status;
#[cfg(test)]
mod tests;

pub(super) use answers::{Recovered, micros};
use figures::Figures;
pub use kind::ModelKind;
pub use limits::ServingLimits;
pub use measures::InferenceTimesSnapshot;
use measures::Measures;
pub(super) use place::{Place, Successor};
pub use statistics::{BatchStatistics, ComputeTimes, ModelStatistics, Timed};

/// What a model is, before anything has been loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether its folder names versions, so that several may be there.
    pub versioned: bool,
    /// Which load of this version of its name it is, from 1; a file that has changed is loaded anew.
    pub load: u32,
    /// What it is for.
    pub kind: ModelKind,
    /// Its file.
    pub path: PathBuf,
    /// Size of the file in bytes, with those of its weights that lie beside it.
    pub bytes: u64,
    /// What `model.toml` says.
    pub description: Description,
}

/// A model in service.
#[derive(Debug)]
pub struct ServedModel {
    spec: ModelSpec,
    fingerprint: Fingerprint,
    problem: Option<String>,
    arrival: Option<Arc<Arrival>>,
    limits: ServingLimits,
    policy: BatchPolicy,
    commons: Arc<Commons>,
    /// Its account of the seats that models share.
    pub(super) account: Account,
    pub(super) queue: Queue,
    pub(super) ledger: Ledger,
    /// Queue and ledger of a model that generates text, which uses neither of the above.
    pub(super) streams: Option<Streams>,
    /// What its folder says about text.
    text: ArcSwapOption<TextModel>,
    generation_info: ArcSwapOption<GenerationInfo>,
    pub(super) places: Vec<Place>,
    /// As many permits as workers serve: a spare takes over by getting one.
    pub(super) active: Arc<Semaphore>,
    /// Told when a caller has gone without its answer.
    pub(super) deserted: Notify,
    signature: ArcSwapOption<Signature>,
    /// What its last load runs on.
    execution: ArcSwapOption<Execution>,
    life: Mutex<Life>,
    /// The execution budget in microseconds.
    run_budget: AtomicU64,
    /// What is counted of its name, whichever version it is.
    figures: Arc<Figures>,
    measures: Measures,
    occupancy: Arc<Occupancy>,
    /// A [`Standing`].
    standing: AtomicU8,
    wanted: AtomicBool,
    /// Told when a worker comes or goes.
    changed: watch::Sender<()>,
}

/// What all models have in common.
#[derive(Debug)]
pub struct Commons {
    /// Where executions are counted.
    pub outcomes: Arc<Outcomes>,
    /// The requests that are refused.
    pub quarantine: Arc<Quarantine>,
    /// Whether anything is healed at the moment.
    pub healing: Healing,
    /// The seats that their batches share.
    pub share: Arc<FairShare>,
}

#[derive(Debug)]
struct Life {
    required: bool,
    unloading: bool,
    /// When it was told to take nothing new in.
    retired: Option<Instant>,
    /// It is out, and its workers have ended.
    gone: bool,
    served: bool,
    down_since: Instant,
    last_load: Option<Duration>,
    /// Resident bytes of the last worker when it was loaded and warm.
    last_base: Option<u64>,
}

// === impl ModelSpec ===

impl ModelSpec {
    /// Returns the name by which its actors are told from those of other versions.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = self.name.clone();
        if self.versioned {
            label.push('@');
            label.push_str(&self.version);
        }
        if self.load > 1 {
            label.push_str(&format!("#{}", self.load));
        }
        label
    }
}

// === impl ServedModel ===

impl ServedModel {
    /// Makes the place for a model, the first of its name; nothing is loaded yet.
    #[must_use]
    pub fn new(wanted: Wanted, limits: ServingLimits, commons: Arc<Commons>) -> Self {
        let figures = Arc::new(Figures::new());
        Self::counted(wanted, limits, commons, figures)
    }

    /// Makes the place for another version of a model that is there; it takes no requests before it
    /// is told to.
    #[must_use]
    pub fn beside(wanted: Wanted, limits: ServingLimits, other: &Self) -> Self {
        let (commons, figures) = (Arc::clone(&other.commons), Arc::clone(&other.figures));
        let model = Self::counted(wanted, limits, commons, figures);
        model
            .standing
            .store(Standing::Incoming as u8, Ordering::Release);
        model
    }

    fn counted(
        wanted: Wanted,
        limits: ServingLimits,
        commons: Arc<Commons>,
        figures: Arc<Figures>,
    ) -> Self {
        let Wanted {
            spec,
            fingerprint,
            problem,
            arrival,
        } = wanted;
        let limits = limits.of(spec.kind, &spec.description);
        let policy = BatchPolicy::of(&spec.description, &limits);
        let workers = match arrival {
            Some(_) => 0,
            None => limits.workers + limits.spares,
        };
        let places = (0..workers)
            .map(|index| Place::new(format!("worker:{}/{index}", spec.label())))
            .collect();
        Self {
            queue: Queue::new(&policy),
            account: commons.share.account(spec.description.share.unwrap_or(1)),
            policy,
            measures: Measures::default(),
            ledger: Ledger::default(),
            streams: (spec.kind == ModelKind::Generation).then(|| {
                Streams::new(
                    limits.queue,
                    limits.generation.slots,
                    figures.generation.clone(),
                )
            }),
            text: ArcSwapOption::empty(),
            generation_info: ArcSwapOption::empty(),
            places,
            signature: ArcSwapOption::empty(),
            execution: ArcSwapOption::empty(),
            life: Mutex::new(Life {
                required: false,
                unloading: false,
                retired: None,
                gone: false,
                served: false,
                down_since: Instant::now(),
                last_load: None,
                last_base: None,
            }),
            active: Arc::new(Semaphore::new(limits.workers)),
            deserted: Notify::new(),
            run_budget: AtomicU64::new(micros(limits.budget.unlearned())),
            figures,
            occupancy: Arc::default(),
            standing: AtomicU8::new(Standing::Serving as u8),
            wanted: AtomicBool::new(true),
            changed: standing::changes(),
            spec,
            fingerprint,
            problem,
            arrival,
            limits,
            commons,
        }
    }

    /// Returns the identity of the files it was made from.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Returns why it cannot even be tried, if so.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Tells whether it has files that workers could load.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.problem.is_none() && self.arrival.is_none()
    }

    /// Tells whether its files are not here yet.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.arrival.is_some()
    }

    /// Returns what the model is.
    #[must_use]
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Returns the bounds it is served within.
    #[must_use]
    pub fn limits(&self) -> &ServingLimits {
        &self.limits
    }

    /// Returns its inputs and outputs once it has been loaded.
    #[must_use]
    pub fn signature(&self) -> Option<Arc<Signature>> {
        self.signature.load_full()
    }

    /// Returns what executes it, once it has been loaded.
    #[must_use]
    pub fn execution(&self) -> Option<Arc<Execution>> {
        self.execution.load_full()
    }

    /// Returns how many requests wait for a worker.
    #[must_use]
    pub fn queued(&self) -> usize {
        match &self.streams {
            Some(streams) => streams.waiting(),
            None => self.queue.depth(),
        }
    }

    /// Returns how many requests are with workers.
    #[must_use]
    pub fn running(&self) -> usize {
        match &self.streams {
            Some(streams) => streams.out(),
            None => self.ledger.depth(),
        }
    }

    /// Returns how many requests may wait.
    #[must_use]
    pub fn queue_capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Says whether readiness depends on this model.
    pub fn set_required(&self, required: bool) {
        self.life().required = required;
    }

    /// Returns the switch by which healing is paused.
    #[must_use]
    pub fn healing(&self) -> &Healing {
        &self.commons.healing
    }

    /// Returns how long one run may take.
    #[must_use]
    pub fn run_budget(&self) -> Duration {
        Duration::from_micros(self.run_budget.load(Ordering::Relaxed))
    }

    /// Takes the model out: refuses new requests and answers those that wait.
    pub fn close(&self) {
        self.life().unloading = true;
        self.note_change();
        for job in self.queue.close() {
            self.refuse(job, self.unloaded());
        }
        if let Some(streams) = &self.streams {
            for sequence in streams.close() {
                streams.fail(sequence, self.unloaded());
            }
        }
    }

    /// Reports that a worker has loaded the model, `took` after its start; a worker that was
    /// loaded ahead took no time that anybody could wait for.
    pub(super) fn loaded(&self, loaded: &Loaded, took: Option<Duration>) {
        let signature = Signature::of(loaded, &self.spec.description);
        let max_rows = match signature.batches {
            true => self.limits.max_batch,
            false => 1,
        };
        let budget = self.limits.budget.learn(loaded, max_rows);
        self.run_budget.store(micros(budget), Ordering::Relaxed);
        self.generation_info
            .store(loaded.generation.clone().map(Arc::new));
        self.signature.store(Some(Arc::new(signature)));
        let before = self
            .execution
            .swap(Some(Arc::new(loaded.execution.clone())));
        self.announce_execution(&loaded.execution, before.as_deref());
        self.queue.follow(&self.batching());
        let mut life = self.life();
        life.served = true;
        life.last_load = took.or(life.last_load);
    }

    /// Returns what the last worker had when it was loaded and warm.
    pub(super) fn last_base(&self) -> Option<u64> {
        self.life().last_base
    }

    /// Remembers what a worker has when it is loaded and warm.
    pub(super) fn note_base(&self, bytes: u64) {
        self.life().last_base = Some(bytes);
    }

    /// Tells whether another worker than the one at `index` is ready and takes no requests yet.
    pub(super) fn has_standby(&self, index: usize) -> bool {
        let mut others = self.places.iter().enumerate().filter(|(i, _)| *i != index);
        others.any(|(_, place)| {
            let place = place.read();
            place.state == WorkerState::Ready && place.standby
        })
    }

    /// Returns how many workers have not been given their share of memory yet.
    pub(super) fn unmeasured(&self) -> usize {
        let places = self.places.iter();
        places.filter(|place| place.read().memory.is_none()).count()
    }

    pub(super) fn suspect<'a>(
        &'a self,
        inputs: &'a [Tensor],
        request_id: Option<&'a str>,
    ) -> Suspect<'a> {
        Suspect {
            model: &self.spec.name,
            version: &self.spec.version,
            inputs,
            request_id,
        }
    }

    /// Reports that a worker stopped serving; the clock of recovery runs from the moment the last
    /// one did.
    pub(super) fn note_down(&self) {
        self.note_change();
        let ready = self
            .places
            .iter()
            .any(|p| p.read().state == WorkerState::Ready);
        if !ready {
            self.life().down_since = Instant::now();
        }
    }

    /// Returns the signature of a model that takes requests; a request that finds it takes none is
    /// counted as turned away.
    ///
    /// A version that another has replaced since it was found still says it: a request that is handed in too
    /// late is led on to the other one, which has to be decided then and not while the request is read.
    ///
    /// # Errors
    /// Says in which state it is and why, when it takes none.
    pub fn usable_signature(&self) -> Result<Arc<Signature>, ServeError> {
        let state = self.state();
        match self.signature() {
            Some(signature) if state.is_usable() || !self.is_offered() => Ok(signature),
            _ => {
                self.figures.rejections.count(Rejection::NotLoaded);
                let reason = self.reason();
                Err(ServeError::NotReady {
                    model: self.spec.name.clone(),
                    state,
                    reason: if reason.is_empty() {
                        "no worker serves it yet".to_owned()
                    } else {
                        reason
                    },
                    retry_after: Duration::from_secs(1),
                })
            }
        }
    }

    /// Turns a request away because the model is taken out of service.
    fn unloaded(&self) -> ServeError {
        self.figures.rejections.count(Rejection::Unloaded);
        ServeError::Unloaded {
            model: self.spec.name.clone(),
        }
    }

    /// Returns for how long a model that lost its last worker counts as recovering.
    fn recovery_budget(&self, last_load: Option<Duration>) -> Duration {
        let load = last_load.unwrap_or_default();
        (load + load / 2).max(self.limits.recovery_floor)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
