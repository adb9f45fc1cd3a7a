//! The place of one worker in its model: what its newest incarnation says about itself.
//!
//! Every write names the generation it comes from and is dropped when a newer one has written, so
//! an incarnation that was given up can change nothing when it wakes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use impetus_engine::Loaded;
use impetus_engine::link::Parked;
use tokio::sync::OwnedSemaphorePermit;

use super::super::host::{HostedWorker, Leash};
use super::super::memory::{Claim, WorkerMemory};
use super::super::restart::RestartReason;
use super::super::state::{WorkerState, WorkerStatus};

#[derive(Debug)]
pub(in crate::serving) struct Place {
    actor: String,
    inner: Mutex<PlaceState>,
    /// The right to take requests, while the worker has it. Kept here and not by the link, so that
    /// it is free again when an incarnation is given up whose thread never turns again.
    turn: Mutex<Option<OwnedSemaphorePermit>>,
    /// A worker that is loaded and warm and takes the place with the next incarnation.
    successor: Mutex<Option<Successor>>,
}

/// A worker that was loaded beside the one it replaces.
#[derive(Debug)]
pub(in crate::serving) struct Successor {
    pub(in crate::serving) worker: HostedWorker,
    pub(in crate::serving) link: Parked,
    pub(in crate::serving) loaded: Loaded,
    pub(in crate::serving) memory: Option<WorkerMemory>,
    pub(in crate::serving) claim: Option<Claim>,
}

/// A copy of what is known of a worker.
#[derive(Debug, Clone, Default)]
pub(in crate::serving) struct PlaceState {
    pub(in crate::serving) generation: u64,
    pub(in crate::serving) state: WorkerState,
    pub(in crate::serving) pid: Option<u32>,
    pub(in crate::serving) resident_bytes: Option<u64>,
    /// Loaded and warm, and not taking requests: another one serves.
    pub(in crate::serving) standby: bool,
    /// What it may take, once it has been measured.
    pub(in crate::serving) memory: Option<WorkerMemory>,
    /// When a worker here last made room for a fresh one because of its memory.
    pub(in crate::serving) recycled: Option<Instant>,
    pub(in crate::serving) self_checks: u64,
    /// When the worker was last heard of; set anew by each incarnation.
    pub(in crate::serving) heard: Option<Instant>,
    /// Why the last try to load failed; cleared by one that succeeds.
    pub(in crate::serving) load_error: Option<String>,
    /// Why the last incarnation ended; cleared by one that serves.
    pub(in crate::serving) last_loss: Option<String>,
    /// How it came to the end of the newest incarnation, once it has.
    ended: Option<RestartReason>,
    leash: Option<Leash>,
}

// === impl Place ===

impl Place {
    pub(in crate::serving) fn new(actor: String) -> Self {
        Self {
            actor,
            inner: Mutex::default(),
            turn: Mutex::default(),
            successor: Mutex::default(),
        }
    }

    /// Leaves a worker for the next incarnation, if this one is still the newest; one that was left
    /// before is ended.
    pub(in crate::serving) fn leave(&self, generation: u64, successor: Successor) {
        self.write(generation, |_| {
            let mut place = self
                .successor
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *place = Some(successor);
        });
    }

    /// Takes the worker that was left.
    pub(in crate::serving) fn take_successor(&self) -> Option<Successor> {
        let mut place = self
            .successor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        place.take()
    }

    pub(in crate::serving) fn actor(&self) -> &str {
        &self.actor
    }

    pub(in crate::serving) fn read(&self) -> PlaceState {
        self.lock().clone()
    }

    /// Notes why the worker of this incarnation ends, if this is still the newest and nobody has
    /// said so before.
    pub(in crate::serving) fn ends(&self, generation: u64, reason: RestartReason) {
        self.write(generation, |place| *place.ended.get_or_insert(reason));
    }

    /// Takes the reason for which there is to be another incarnation; `None` when it is the first.
    pub(in crate::serving) fn take_end(&self) -> Option<RestartReason> {
        let mut inner = self.lock();
        let ended = inner.ended.take();
        (inner.generation > 0).then(|| ended.unwrap_or(RestartReason::Unknown))
    }

    /// Begins a new incarnation and returns the leash of the process the one before left behind,
    /// if it did: an abandoned incarnation cannot end its process itself.
    pub(in crate::serving) fn begin(&self, generation: u64) -> Option<Leash> {
        let mut inner = self.lock();
        if generation < inner.generation {
            return None;
        }
        let left_behind = inner.leash.take();
        self.turn().take();
        inner.generation = generation;
        inner.state = WorkerState::Loading;
        inner.pid = None;
        inner.resident_bytes = None;
        inner.memory = None;
        inner.standby = false;
        inner.heard = None;
        left_behind
    }

    /// Takes the right to take requests for this incarnation, if it is still the newest.
    pub(in crate::serving) fn take_turn(
        &self,
        generation: u64,
        turn: OwnedSemaphorePermit,
    ) -> bool {
        self.write(generation, |place| {
            place.standby = false;
            *self.turn() = Some(turn);
        })
    }

    /// Gives the right to take requests back, if this incarnation is still the newest: a spare gets
    /// it, or whoever comes next.
    pub(in crate::serving) fn end_turn(&self, generation: u64) {
        self.write(generation, |_| self.turn().take());
    }

    fn turn(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the place if `generation` is still the newest there; tells whether it was.
    pub(in crate::serving) fn write<R>(
        &self,
        generation: u64,
        change: impl FnOnce(&mut PlaceState) -> R,
    ) -> bool {
        let mut inner = self.lock();
        if inner.generation != generation {
            return false;
        }
        change(&mut inner);
        true
    }

    fn lock(&self) -> MutexGuard<'_, PlaceState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PlaceState ===

impl PlaceState {
    pub(in crate::serving) fn hold(&mut self, leash: Leash) {
        self.pid = leash.pid();
        self.leash = Some(leash);
    }

    pub(in crate::serving) fn let_go(&mut self) {
        self.leash = None;
        self.pid = None;
        self.resident_bytes = None;
        self.memory = None;
        self.standby = false;
    }

    pub(in crate::serving) fn silent_for(&self) -> Option<Duration> {
        self.heard.map(|heard| heard.elapsed())
    }

    pub(in crate::serving) fn status(&self, actor: &str, in_flight: usize) -> WorkerStatus {
        WorkerStatus {
            actor: actor.to_owned(),
            state: self.state,
            generation: self.generation,
            pid: self.pid,
            standby: self.standby,
            resident_bytes: self.resident_bytes,
            memory: self.memory,
            in_flight,
            self_checks: self.self_checks,
        }
    }
}
