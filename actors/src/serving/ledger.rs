//! What has been given to workers and not been answered.
//!
//! An entry is made before the first byte is written and leaves when the batch is answered or its
//! link is lost. Whoever finds a link dead (the worker's actor, a guard, the next incarnation)
//! collects the entries of that link; collecting twice finds nothing the second time.
//!
//! A worker runs its batches in the order in which it got them, so the oldest one that was sent is
//! the one it runs: that one is judged by the execution budget and, when the worker is lost, the
//! only one that can have been its end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::forensics::BatchNote;
use super::job::Job;
use super::share::Seat;

/// Names one link: a worker's place in its model, and the incarnation that opened the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LinkId {
    pub(super) worker: usize,
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: u64,
    pub(super) link: LinkId,
    /// When it began to be written; until then nothing of it has reached the worker.
    pub(super) sent: Option<Instant>,
    /// When all of it had been written.
    pub(super) written: Option<Instant>,
    /// Since when the worker had nothing else, as of its answer.
    pub(super) free_since: Option<Instant>,
    /// Its seat among the batches of all models, where there are several.
    pub(super) seat: Option<Seat>,
    /// It has the worker to itself: its one member is under suspicion.
    pub(super) alone: bool,
    /// The worker has been told that nobody wants it any more.
    given_up: bool,
    pub(super) jobs: Vec<Job>,
}

/// The batch that a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) id: u64,
    pub(super) sent: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    batches: BTreeMap<u64, InFlight>,
}

// === impl Ledger ===

impl Ledger {
    /// Enters a batch and returns its id, unique within the model for as long as it lives and
    /// growing.
    pub(super) fn enter(&self, link: LinkId, jobs: Vec<Job>, seat: Option<Seat>) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        let batch = InFlight {
            id,
            link,
            sent: None,
            written: None,
            free_since: None,
            seat,
            alone: jobs.first().is_some_and(Job::is_suspect),
            given_up: false,
            jobs,
        };
        inner.batches.insert(id, batch);
        id
    }

    /// Notes that a batch is being written from now on.
    pub(super) fn sending(&self, id: u64) {
        if let Some(batch) = self.lock().batches.get_mut(&id) {
            batch.sent = Some(Instant::now());
        }
    }

    /// Notes that a batch has been written.
    pub(super) fn written(&self, id: u64) {
        if let Some(batch) = self.lock().batches.get_mut(&id) {
            batch.written = Some(Instant::now());
        }
    }

    /// Gives the seats back of what is out over `link`: it is overdue, and others need not wait
    /// until it has been ended.
    pub(super) fn give_seats_back(&self, link: LinkId) {
        let mut inner = self.lock();
        let batches = inner.batches.values_mut().filter(|b| b.link == link);
        let seats: Vec<Seat> = batches.filter_map(|batch| batch.seat.take()).collect();
        drop(inner);
        drop(seats);
    }

    /// Looks at the member of a batch that has just one.
    pub(super) fn with_only_member<T>(&self, id: u64, look: impl FnOnce(&Job) -> T) -> Option<T> {
        let inner = self.lock();
        match inner.batches.get(&id)?.jobs.as_slice() {
            [job] => Some(look(job)),
            _ => None,
        }
    }

    /// Takes a batch out, if `link` is the one it was sent over: a fenced link answers nothing.
    pub(super) fn settle(&self, link: LinkId, id: u64) -> Option<InFlight> {
        let mut inner = self.lock();
        if inner.batches.get(&id)?.link != link {
            return None;
        }
        inner.batches.remove(&id)
    }

    /// Takes out everything that was entered for links of `worker` up to `generation`, oldest first.
    pub(super) fn collect(&self, worker: usize, generation: u64) -> Vec<InFlight> {
        let mut inner = self.lock();
        let ids: Vec<u64> = inner
            .batches
            .iter()
            .filter(|(_, b)| b.link.worker == worker && b.link.generation <= generation)
            .map(|(id, _)| *id)
            .collect();
        ids.iter()
            .filter_map(|id| inner.batches.remove(id))
            .collect()
    }

    /// Returns the batch that the worker behind `link` runs, if it has been sent one.
    pub(super) fn running(&self, link: LinkId) -> Option<Running> {
        let inner = self.lock();
        let mut sent = inner.batches.iter().filter(|(_, b)| b.link == link);
        sent.find_map(|(id, batch)| {
            let sent = batch.sent?;
            Some(Running { id: *id, sent })
        })
    }

    /// Returns the batches sent over `link` that nobody waits for any more, each of them once.
    pub(super) fn newly_unwanted(&self, link: LinkId, now: Instant) -> Vec<u64> {
        let mut inner = self.lock();
        let unwanted = inner.batches.iter_mut().filter(|(_, batch)| {
            batch.link == link
                && batch.sent.is_some()
                && !batch.given_up
                && !batch.jobs.iter().any(|job| job.is_wanted(now))
        });
        unwanted
            .map(|(id, batch)| {
                batch.given_up = true;
                *id
            })
            .collect()
    }

    /// Describes what is out over `link`, oldest first.
    pub(super) fn describe(&self, link: LinkId) -> Vec<BatchNote> {
        let inner = self.lock();
        let mut running = true;
        let batches = inner.batches.values().filter(|b| b.link == link);
        batches
            .map(|batch| BatchNote {
                running: batch.sent.is_some() && std::mem::take(&mut running),
                alone: batch.alone,
                age_ms: batch.sent.map_or(0.0, |s| s.elapsed().as_secs_f64() * 1e3),
                rows: batch.jobs.iter().map(|job| job.rows).sum(),
                request_ids: batch.jobs.iter().filter_map(Job::id).collect(),
            })
            .collect()
    }

    /// Returns how many requests are out.
    pub(super) fn depth(&self) -> usize {
        self.lock().batches.values().map(|b| b.jobs.len()).sum()
    }

    /// Returns how many batches are out over `link`.
    pub(super) fn batches_on(&self, link: LinkId) -> usize {
        self.lock()
            .batches
            .values()
            .filter(|b| b.link == link)
            .count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
