//! The bounded queue in front of one model, from which every worker's link takes batches.
//!
//! Taking is greedy: whatever waits when a worker has room goes with it, up to the batch limit,
//! and nothing is ever held back to fill a batch, so batching costs an idle server no delay.
//!
//! A queue ends in two steps. One that is *sealed* takes no new work in, and what it has, or what
//! comes back to it from a lost worker, is still taken and run. One that is *closed* has nothing
//! any more: whoever closed it answers what waited.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::job::Job;

/// Why a job was not taken in; it is given back, to be answered or to go elsewhere.
#[derive(Debug)]
pub(super) enum PushError {
    /// The queue holds as many as it may.
    Full(Job),
    /// The queue is sealed or closed.
    Closed(Job),
}

/// The queue; every method is safe from any thread and none waits for another one's work.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    inner: Mutex<Inner>,
    filled: Notify,
    /// Jobs that were found here when their deadline had passed.
    expired: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: VecDeque<Job>,
    stage: Stage,
}

/// How far a queue is on its way to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Takes work in.
    #[default]
    Open,
    /// Takes nothing new in; what is here or comes back is still taken.
    Sealed,
    /// Has nothing any more and takes nothing in.
    Closed,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inner: Mutex::default(),
            filled: Notify::new(),
            expired: AtomicU64::new(0),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn depth(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Returns how many jobs waited here until their deadline had passed.
    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    pub(super) fn push(&self, job: Job) -> Result<(), PushError> {
        {
            let mut inner = self.lock();
            if inner.stage != Stage::Open {
                return Err(PushError::Closed(job));
            }
            if inner.jobs.len() >= self.capacity {
                let now = Instant::now();
                // Those whose callers have gone take no place from those who wait.
                inner.jobs.retain(|waiting| self.is_wanted(waiting, now));
                if inner.jobs.len() >= self.capacity {
                    return Err(PushError::Full(job));
                }
            }
            inner.jobs.push_back(job);
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Puts jobs that were sent before back to the front, in their order. They were admitted once,
    /// so the bound does not apply; their number is bounded by what links may have in flight.
    /// Hands them back when the queue is closed.
    pub(super) fn push_front(&self, jobs: Vec<Job>) -> Result<(), Vec<Job>> {
        {
            let mut inner = self.lock();
            if inner.stage == Stage::Closed {
                return Err(jobs);
            }
            for job in jobs.into_iter().rev() {
                inner.jobs.push_front(job);
            }
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for work and takes a batch of at most `max_rows` rows (one job at least).
    /// Returns `None` once the queue is closed and empty.
    pub(super) async fn take(&self, max_rows: usize) -> Option<Vec<Job>> {
        loop {
            let filled = self.filled.notified();
            match self.try_take(max_rows) {
                Taken::Batch(jobs) => return Some(jobs),
                Taken::Closed => return None,
                Taken::Empty => filled.await,
            }
        }
    }

    /// Refuses new work from now on; what waits, and what comes back, is still taken.
    pub(super) fn seal(&self) {
        let mut inner = self.lock();
        if inner.stage == Stage::Open {
            inner.stage = Stage::Sealed;
        }
    }

    /// Refuses all work from now on and returns what waits.
    pub(super) fn close(&self) -> Vec<Job> {
        let jobs = {
            let mut inner = self.lock();
            inner.stage = Stage::Closed;
            inner.jobs.drain(..).collect()
        };
        self.filled.notify_waiters();
        jobs
    }

    fn try_take(&self, max_rows: usize) -> Taken {
        let now = Instant::now();
        let mut inner = self.lock();
        let first = loop {
            match inner.jobs.pop_front() {
                Some(job) if self.is_wanted(&job, now) => break job,
                Some(_) => {}
                None if inner.stage == Stage::Closed => return Taken::Closed,
                None => return Taken::Empty,
            }
        };
        let mut rows = first.rows;
        let mut batch = vec![first];
        while let Some(next) = inner.jobs.front() {
            if !self.is_wanted(next, now) {
                inner.jobs.pop_front();
                continue;
            }
            if rows + next.rows > max_rows || !batch[0].stacks_with(next) {
                break;
            }
            rows += next.rows;
            batch.extend(inner.jobs.pop_front());
        }
        let more = !inner.jobs.is_empty();
        drop(inner);
        if more {
            // One notification may stand for several pushes: pass it on to the next idle link.
            self.filled.notify_one();
        }
        Taken::Batch(batch)
    }

    /// Tells whether a job is to stay; asked once of one that is not.
    fn is_wanted(&self, job: &Job, now: Instant) -> bool {
        if now >= job.deadline {
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        job.is_wanted(now)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing inside these sections can leave the list half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Taken {
    Batch(Vec<Job>),
    Empty,
    Closed,
}

#[cfg(test)]
mod tests;
