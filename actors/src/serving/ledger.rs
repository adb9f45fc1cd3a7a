//! What has been sent to workers and not been answered.
//!
//! An entry is made before the first byte is written and leaves when the batch is answered or its
//! link is lost. Whoever finds a link dead (the reader, its drop guard, the next incarnation)
//! collects the entries of that link; collecting twice finds nothing the second time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::job::Job;

/// Names one link: a worker's place in its model, and the incarnation that opened the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LinkId {
    pub(super) worker: usize,
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) link: LinkId,
    pub(super) sent: Instant,
    pub(super) jobs: Vec<Job>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    batches: HashMap<u64, InFlight>,
}

// === impl Ledger ===

impl Ledger {
    /// Enters a batch and returns its id, unique within the model for as long as it lives.
    pub(super) fn enter(&self, link: LinkId, jobs: Vec<Job>) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        let sent = Instant::now();
        inner.batches.insert(id, InFlight { link, sent, jobs });
        id
    }

    /// Takes a batch out, if `link` is the one it was sent over: a fenced link answers nothing.
    pub(super) fn settle(&self, link: LinkId, id: u64) -> Option<InFlight> {
        let mut inner = self.lock();
        if inner.batches.get(&id)?.link != link {
            return None;
        }
        inner.batches.remove(&id)
    }

    /// Takes out everything that was sent over links of `worker` up to `generation`, oldest first.
    pub(super) fn collect(&self, worker: usize, generation: u64) -> Vec<InFlight> {
        let mut inner = self.lock();
        let mut ids: Vec<u64> = inner
            .batches
            .iter()
            .filter(|(_, b)| b.link.worker == worker && b.link.generation <= generation)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids.iter()
            .filter_map(|id| inner.batches.remove(id))
            .collect()
    }

    /// Returns for how long the oldest batch of `link` has been out.
    pub(super) fn oldest(&self, link: LinkId) -> Option<Duration> {
        let inner = self.lock();
        let sent = inner
            .batches
            .values()
            .filter(|b| b.link == link)
            .map(|b| b.sent)
            .min();
        sent.map(|sent| sent.elapsed())
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
