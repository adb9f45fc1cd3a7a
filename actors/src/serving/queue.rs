//! The bounded queue in front of one model, from which every worker's link takes batches.
//!
//! Taking is greedy: whatever waits when a worker has room goes with it, up to the batch limit,
//! and nothing is ever held back to fill a batch, so batching costs an idle server no delay.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::job::Job;

/// Why a job was not taken in.
#[derive(Debug)]
pub(super) enum PushError {
    /// The queue holds as many as it may.
    Full,
    /// The model is being unloaded.
    Closed,
}

/// The queue; every method is safe from any thread and none waits for another one's work.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: VecDeque<Job>,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inner: Mutex::default(),
            filled: Notify::new(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn depth(&self) -> usize {
        self.lock().jobs.len()
    }

    pub(super) fn push(&self, job: Job) -> Result<(), PushError> {
        {
            let mut inner = self.lock();
            if inner.closed {
                return Err(PushError::Closed);
            }
            if inner.jobs.len() >= self.capacity {
                let now = Instant::now();
                // Those whose callers have gone take no place from those who wait.
                inner.jobs.retain(|waiting| waiting.is_wanted(now));
                if inner.jobs.len() >= self.capacity {
                    return Err(PushError::Full);
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
            if inner.closed {
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

    /// Refuses new work from now on and returns what waits.
    pub(super) fn close(&self) -> Vec<Job> {
        let jobs = {
            let mut inner = self.lock();
            inner.closed = true;
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
                Some(job) if job.is_wanted(now) => break job,
                Some(_) => {}
                None if inner.closed => return Taken::Closed,
                None => return Taken::Empty,
            }
        };
        let mut rows = first.rows;
        let mut batch = vec![first];
        while let Some(next) = inner.jobs.front() {
            if !next.is_wanted(now) {
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
