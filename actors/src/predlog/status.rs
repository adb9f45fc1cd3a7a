//! What the log says about itself.
//!
//! Readiness, metrics and the status page ask at any time and from any thread, and none of them may
//! wait for a disk. So the writer publishes and everybody else reads: counters, and the state of
//! the database behind one pointer.
//!
//! **Invariant:** only the incarnation of the writer that holds the lease publishes; the others
//! are fenced off before they get here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use impetus_supervision::{Clock, Timestamp};
use serde::Serialize;

use super::store::Inserted;
use crate::sliding::{SlidingCounts, Tally};

/// The published figures; read without waiting.
pub struct PredictionLogStatus {
    clock: Arc<dyn Clock>,
    database: ArcSwap<DatabaseState>,
    initialized: AtomicBool,
    logged: AtomicU64,
    replayed: AtomicU64,
    defects: AtomicU64,
    errors: AtomicU64,
    commits: AtomicU64,
    last_prediction: ArcSwapOption<SystemTime>,
    outcomes: SlidingCounts,
}

/// Whether the database can be written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DatabaseState {
    /// It has not been opened yet.
    Starting,
    /// It was last time anybody tried.
    Connected,
    /// It cannot be written.
    Unavailable {
        /// Why.
        reason: Arc<str>,
        /// Since when, by the wall clock.
        since: Timestamp,
    },
}

/// All figures of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct LogSnapshot {
    /// Whether this process has opened the database, with its schema up to date.
    pub db_initialized: bool,
    /// Whether the database can be written now.
    pub connected: bool,
    /// The same with the reason.
    pub database: Arc<DatabaseState>,
    /// Predictions this process has made rows of.
    pub predictions_logged: u64,
    /// Predictions that were rows already.
    pub predictions_replayed: u64,
    /// Defects among the predictions logged.
    pub defects_detected: u64,
    /// Batches that were not logged because the database failed.
    pub errors: u64,
    /// Transactions that logged something.
    pub commits: u64,
    /// When a prediction was last logged.
    pub last_prediction: Option<Timestamp>,
}

// === impl PredictionLogStatus ===

impl PredictionLogStatus {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            database: ArcSwap::from_pointee(DatabaseState::Starting),
            initialized: AtomicBool::new(false),
            logged: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            defects: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            last_prediction: ArcSwapOption::empty(),
            outcomes: SlidingCounts::default(),
        }
    }

    /// Returns all figures.
    pub fn snapshot(&self) -> LogSnapshot {
        let database = self.database();
        LogSnapshot {
            db_initialized: self.initialized.load(Ordering::Acquire),
            connected: *database == DatabaseState::Connected,
            database,
            predictions_logged: self.logged.load(Ordering::Relaxed),
            predictions_replayed: self.replayed.load(Ordering::Relaxed),
            defects_detected: self.defects.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            last_prediction: self
                .last_prediction
                .load()
                .as_deref()
                .copied()
                .map(Timestamp::from),
        }
    }

    /// Returns the state of the database.
    pub fn database(&self) -> Arc<DatabaseState> {
        self.database.load_full()
    }

    /// Returns how attempts to log a batch ended in the last minute. A batch that was refused
    /// without an attempt, because the database was known to be unavailable, is not among them.
    pub fn outcomes(&self) -> Tally {
        self.outcomes.tally(self.clock.now())
    }

    pub(crate) fn publish(&self, state: DatabaseState) {
        if state == DatabaseState::Connected {
            self.initialized.store(true, Ordering::Release);
        }
        self.database.store(Arc::new(state));
    }

    /// Counts one transaction that logged `rows` of `batches`.
    pub(crate) fn committed(&self, batches: u64, rows: u64, inserted: Inserted) {
        self.logged.fetch_add(inserted.rows, Ordering::Relaxed);
        self.replayed
            .fetch_add(rows.saturating_sub(inserted.rows), Ordering::Relaxed);
        self.defects.fetch_add(inserted.defects, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.last_prediction
            .store(Some(Arc::new(self.clock.wall())));
        self.outcomes.add(
            self.clock.now(),
            Tally {
                successes: batches,
                failures: 0,
            },
        );
    }

    /// Counts `batches` that were tried and failed.
    pub(crate) fn failed(&self, batches: u64) {
        self.errors.fetch_add(batches, Ordering::Relaxed);
        self.outcomes.add(
            self.clock.now(),
            Tally {
                successes: 0,
                failures: batches,
            },
        );
    }

    /// Counts a batch that was refused untried.
    pub(crate) fn refused(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for PredictionLogStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PredictionLogStatus")
            .field(&self.snapshot())
            .finish()
    }
}
