//! The share that each model has of the machine while several have work.
//!
//! Workers are processes, and the kernel shares the cores between threads: a model with sixteen
//! workers would leave one with a single worker a seventeenth of them. So batches of all models
//! need seats, of which there are a few for each core, and seats go to models by stride
//! scheduling: each model gets engine time in proportion to its weight, whatever its number of
//! workers and the length of its runs.
//!
//! It costs nothing where it earns nothing: a model that is alone asks nobody, and one that is alone
//! in having work goes at once, however many seats it takes.
//!
//! **How it fails.** A seat is part of the ledger's entry of its batch, so whatever ends the batch
//! gives it back; one whose run is overdue is given back before that. And nobody waits for long: who
//! was not called after several runs of those who have the seats goes without, because they may
//! have hung. What a model loses by another's hang is that wait.

mod core;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::core::{Asked, Called, Core};

/// The seats, and who waits for one.
#[derive(Debug)]
pub struct FairShare {
    inner: Mutex<Inner>,
    /// Whether there is more than one model.
    shared: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    core: Core,
    waiting: BTreeMap<u64, oneshot::Sender<Seat>>,
}

/// The account of one model.
#[derive(Debug)]
pub(super) struct Account {
    share: Arc<FairShare>,
    id: u64,
    waits: AtomicU64,
}

/// The right to have one batch run; it is given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    share: Arc<FairShare>,
    account: u64,
    charged: u64,
    since: Instant,
    cost: Option<Duration>,
}

/// Somebody who waits; gives its number back when it stops.
struct Waiter<'a> {
    account: &'a Account,
    token: u64,
}

// === impl FairShare ===

impl FairShare {
    /// Gives so many seats away at a time, while several models want some.
    #[must_use]
    pub fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                core: Core::new(seats),
                waiting: BTreeMap::new(),
            }),
            shared: AtomicBool::new(false),
        })
    }

    /// Opens an account of that weight.
    pub(super) fn account(self: &Arc<Self>, weight: u32) -> Account {
        let mut inner = self.lock();
        let id = inner.core.open(weight);
        self.note_number(&inner);
        Account {
            share: Arc::clone(self),
            id,
            waits: AtomicU64::new(0),
        }
    }

    fn note_number(&self, inner: &Inner) {
        self.shared.store(inner.core.is_shared(), Ordering::Relaxed);
    }

    /// Does something to the accounts, and tells those whose turn it is then.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Inner) -> Vec<Called>) {
        let mut inner = self.lock();
        let called = change(&mut inner);
        let senders = called
            .iter()
            .map(|called| inner.waiting.remove(&called.token));
        let senders: Vec<_> = senders.collect();
        drop(inner);
        for (called, sender) in called.into_iter().zip(senders) {
            let seat = self.seat(called.account, called.charged);
            if let Some(sender) = sender {
                // One that has just stopped waiting gives it back by dropping it.
                let _ = sender.send(seat);
            }
        }
    }

    fn seat(self: &Arc<Self>, account: u64, charged: u64) -> Seat {
        Seat {
            share: Arc::clone(self),
            account,
            charged,
            since: Instant::now(),
            cost: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Account ===

impl Account {
    /// Tells whether there is anybody to share with.
    pub(super) fn is_shared(&self) -> bool {
        self.share.shared.load(Ordering::Relaxed)
    }

    /// Returns how often a batch has waited for others.
    pub(super) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Waits for a seat, if others want them as well, and not for ever.
    pub(super) async fn enter(&self) -> Seat {
        let (token, patience, called) = {
            let mut inner = self.share.lock();
            match inner.core.ask(self.id) {
                Asked::Go(charged) => return self.share.seat(self.id, charged),
                Asked::Wait(token, patience) => {
                    let (sender, called) = oneshot::channel();
                    inner.waiting.insert(token, sender);
                    (token, patience, called)
                }
            }
        };
        self.waits.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter {
            account: self,
            token,
        };
        let mut called = called;
        loop {
            if let Ok(Ok(seat)) = tokio::time::timeout(patience, &mut called).await {
                return seat;
            }
            if let Some(seat) = waiter.go_anyway() {
                return seat;
            }
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.share.change(|inner| {
            let called = inner.core.close(self.id);
            self.share.note_number(inner);
            called
        });
    }
}

// === impl Waiter ===

impl Waiter<'_> {
    /// Goes without having been called; `None` when that has happened in this very moment, and the
    /// seat is on its way.
    fn go_anyway(&self) -> Option<Seat> {
        let Account { share, id, .. } = self.account;
        let charged = share.lock().core.go_anyway(*id, self.token)?;
        Some(share.seat(*id, charged))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.account.share.change(|inner| {
            inner.waiting.remove(&self.token);
            inner.core.withdraw(self.account.id, self.token)
        });
    }
}

// === impl Seat ===

impl Seat {
    /// Says what the run has cost; otherwise it is all the time for which the seat was taken.
    pub(super) fn costs(&mut self, cost: Duration) {
        self.cost = Some(cost);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let cost = self.cost.unwrap_or_else(|| self.since.elapsed());
        let cost = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
        self.share
            .change(|inner| inner.core.end(self.account, self.charged, cost));
    }
}
