//! The bounded queue in front of one model, from which every worker's link takes batches.
//!
//! What a batch is made of, and when it goes, is decided in [`waiting`], which knows no clock; here
//! is the lock around it and the waiting for what it says. A link waits for one of three events and
//! asks nothing in between: something came in, the time is over until which a batch was held back,
//! or its own worker has run out of work.
//!
//! A queue ends in two steps. One that is *sealed* takes no new work in, and what it has, or what
//! comes back to it from a lost worker, is still taken and run. One that is *closed* has nothing
//! any more: whoever closed it answers what waited.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::batching::BatchPolicy;
use super::description::WhenFull;
use super::job::Job;

mod group;
#[cfg(test)]
mod tests;
mod waiting;

pub(super) use waiting::Ticket;
use waiting::{Found, Waiting};

/// Why a job was not taken in; it is given back, to be answered or to go elsewhere.
#[derive(Debug)]
pub(super) enum PushError {
    /// The queue holds as many as it may.
    Full(Box<Job>),
    /// The queue is sealed or closed.
    Closed(Box<Job>),
}

/// A job that was taken in.
#[derive(Debug)]
pub(super) struct Pushed {
    /// Where it lies.
    pub(super) ticket: Ticket,
    /// The one that had to make room for it.
    pub(super) shed: Option<Job>,
}

/// A worker as far as its batches depend on what it does.
pub(super) trait Taker {
    /// Tells whether it has nothing to do.
    fn is_idle(&self) -> bool;

    /// Waits until it has nothing to do any more.
    fn turned_idle(&self) -> impl Future<Output = ()>;
}

/// The queue; every method is safe from any thread and none waits for another one's work.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    when_full: WhenFull,
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Debug)]
struct Inner {
    waiting: Waiting,
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
    pub(super) fn new(policy: &BatchPolicy) -> Self {
        Self {
            capacity: policy.queue,
            when_full: policy.when_full,
            inner: Mutex::new(Inner {
                waiting: Waiting::new(policy),
                stage: Stage::Open,
            }),
            filled: Notify::new(),
        }
    }

    /// Makes batches by another policy from now on.
    pub(super) fn follow(&self, policy: &BatchPolicy) {
        let mut inner = self.lock();
        inner.waiting.follow(policy);
        self.wake(inner);
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn depth(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Returns how many jobs waited here until their deadline had passed.
    pub(super) fn expired(&self) -> u64 {
        self.lock().waiting.expired()
    }

    pub(super) fn push(&self, job: Job) -> Result<Pushed, PushError> {
        let mut inner = self.lock();
        if inner.stage != Stage::Open {
            return Err(PushError::Closed(Box::new(job)));
        }
        let mut shed = None;
        if inner.waiting.len() >= self.capacity {
            // Those whose callers have gone take no place from those who wait.
            inner.waiting.purge(Instant::now());
        }
        if inner.waiting.len() >= self.capacity {
            if self.when_full == WhenFull::DropOldest {
                shed = inner.waiting.shed(job.priority);
            }
            if shed.is_none() {
                return Err(PushError::Full(Box::new(job)));
            }
        }
        let ticket = inner.waiting.push(job);
        self.wake(inner);
        Ok(Pushed { ticket, shed })
    }

    /// Puts jobs that were sent before back to the front, in their order. They were admitted once,
    /// so the bound does not apply; their number is bounded by what links may have in flight.
    /// Hands them back when the queue is closed.
    pub(super) fn push_front(&self, jobs: Vec<Job>) -> Result<(), Vec<Job>> {
        let mut inner = self.lock();
        if inner.stage == Stage::Closed {
            return Err(jobs);
        }
        inner.waiting.put_back(jobs);
        self.wake(inner);
        Ok(())
    }

    /// Takes one job out that still waits where it was put.
    pub(super) fn withdraw(&self, ticket: Ticket) -> Option<Job> {
        self.lock().waiting.remove(ticket)
    }

    /// Has a job wait until nothing else does, if it still waits where it was put.
    pub(super) fn demote(&self, ticket: Ticket) {
        let mut inner = self.lock();
        inner.waiting.demote(ticket);
        self.wake(inner);
    }

    /// Waits for work and takes a batch (one job at least). Returns `None` once the queue is closed.
    pub(super) async fn take(&self, taker: &impl Taker) -> Option<Vec<Job>> {
        self.wait(taker, |inner, now, idle| inner.take(now, idle))
            .await
    }

    /// Waits until there is a batch that is to go. Returns `None` once the queue is closed.
    pub(super) async fn is_due(&self, taker: &impl Taker) -> Option<()> {
        self.wait(taker, |inner, now, idle| inner.look(now, idle))
            .await
    }

    /// Takes a batch if there is one that is to go. Returns `None` once the queue is closed.
    pub(super) fn take_now(&self, taker: &impl Taker) -> Option<Option<Vec<Job>>> {
        match self.look(taker, |inner, now, idle| inner.take(now, idle))? {
            Found::Batch(jobs) => Some(Some(jobs)),
            _ => Some(None),
        }
    }

    /// Has another link look, in place of one that was told to and does not.
    pub(super) fn pass_on(&self) {
        self.wake(self.lock());
    }

    async fn wait<T>(
        &self,
        taker: &impl Taker,
        look: impl Fn(&mut Waiting, Instant, bool) -> Found<T>,
    ) -> Option<T> {
        loop {
            let filled = self.filled.notified();
            match self.look(taker, &look)? {
                Found::Batch(found) => return Some(found),
                Found::Nothing => filled.await,
                Found::Held(until) => tokio::select! {
                    () = filled => {}
                    () = taker.turned_idle() => {}
                    () = tokio::time::sleep_until(until.into()) => {}
                },
            }
        }
    }

    /// Looks for a batch. Returns `None` once the queue is closed.
    fn look<T>(
        &self,
        taker: &impl Taker,
        look: impl Fn(&mut Waiting, Instant, bool) -> Found<T>,
    ) -> Option<Found<T>> {
        let now = Instant::now();
        let mut inner = self.lock();
        if inner.stage == Stage::Closed {
            return None;
        }
        let before = inner.waiting.len();
        let found = look(&mut inner.waiting, now, taker.is_idle());
        if (1..before).contains(&inner.waiting.len()) {
            // One notification may stand for several pushes: pass it on to the next idle link.
            self.wake(inner);
        }
        Some(found)
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
        let mut inner = self.lock();
        inner.stage = Stage::Closed;
        self.filled.notify_waiters();
        inner.waiting.drain()
    }

    /// Has the links look at what has changed. Where batches are held back all of them do: one whose
    /// worker is busy may leave to another what that one would take at once.
    fn wake(&self, inner: MutexGuard<'_, Inner>) {
        let holds_back = inner.waiting.holds_back();
        drop(inner);
        if holds_back {
            self.filled.notify_waiters();
        } else {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing inside these sections can leave the lists half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
