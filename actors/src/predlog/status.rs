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
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use impetus_supervision::{Clock, Timestamp};
use serde::Serialize;

use super::buffer::Buffer;
use super::config::SinkSettings;
use super::drift::DriftByModel;
use super::prediction_time::PredictionTime;
use super::query::StatsErrors;
use super::sink_status::{SinkSnapshot, SinkStatus};
use super::store::{Extent, Inserted};
use crate::histogram::{Histogram, HistogramSnapshot};
use crate::sliding::{SlidingCounts, Tally};

/// The published figures; read without waiting.
pub struct PredictionLogStatus {
    clock: Arc<dyn Clock>,
    buffer: Arc<Buffer>,
    sink: Option<Arc<SinkStatus>>,
    max_backlog: Option<u64>,
    file_generation: AtomicU64,
    can_remove: AtomicBool,
    database: ArcSwap<DatabaseState>,
    initialized: AtomicBool,
    logged: AtomicU64,
    replayed: AtomicU64,
    defects: AtomicU64,
    errors: AtomicU64,
    refused: AtomicU64,
    commits: AtomicU64,
    commit_times: Histogram,
    /// 0 before the file has been looked at.
    size_bytes: AtomicU64,
    /// [`NO_LIMIT`](Self::NO_LIMIT) where the file system does not count, and before it was asked.
    free_bytes: AtomicU64,
    used_bytes: AtomicU64,
    rows: AtomicU64,
    /// Milliseconds since 1970; the most there is when no row is there.
    oldest: AtomicI64,
    dropped: AtomicU64,
    forwarded: AtomicU64,
    refused_by_sink: AtomicU64,
    pruned: AtomicU64,
    expired: AtomicU64,
    set_aside: ArcSwapOption<SetAside>,
    files_set_aside: AtomicU64,
    last_prediction: ArcSwapOption<SystemTime>,
    outcomes: SlidingCounts,
    /// Empty until somebody compares.
    drift: ArcSwapOption<DriftByModel>,
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
    /// Batches that were refused without an attempt, because too many wait or the database was
    /// known to be unavailable; the latter are among the errors.
    pub refused: u64,
    /// Transactions that logged something.
    pub commits: u64,
    /// Bytes that the database and its write-ahead log took when they were last looked at.
    pub size_bytes: Option<u64>,
    /// Predictions that nobody waits for, and that are not yet in the file.
    pub recorded: usize,
    /// What is known of the sink, if there is one.
    pub sink: Option<SinkSnapshot>,
    /// Room on the disk when it was last looked at; nothing where the file system does not count.
    pub free_bytes: Option<u64>,
    /// Rows in the file when it was last looked at.
    pub rows: u64,
    /// When the oldest of them was committed.
    pub oldest: Option<PredictionTime>,
    /// Predictions that were answered and not logged, for want of room among those that wait.
    pub dropped: u64,
    /// Predictions that a sink has taken.
    pub forwarded: u64,
    /// Predictions that a sink will never take; they are kept in the file, aside.
    pub refused_by_sink: u64,
    /// Predictions that were removed because they are kept no longer.
    pub pruned: u64,
    /// Predictions that were given up because they had waited too long for their sink.
    pub expired: u64,
    /// The damaged file that was last set aside.
    pub set_aside: Option<Arc<SetAside>>,
    /// How many files were.
    pub files_set_aside: u64,
    /// When a prediction was last logged.
    pub last_prediction: Option<Timestamp>,
}

/// A damaged file that was replaced by a new one.
#[derive(Clone, Debug, Serialize)]
pub struct SetAside {
    /// Where it is kept.
    pub path: String,
    /// What was wrong with it.
    pub reason: String,
    /// When that was found.
    pub at: Timestamp,
}

// === impl PredictionLogStatus ===

impl PredictionLogStatus {
    const NO_LIMIT: u64 = u64::MAX;

    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        buffer: Arc<Buffer>,
        sink: Option<&SinkSettings>,
    ) -> Self {
        Self {
            clock,
            buffer,
            sink: sink.map(|sink| Arc::new(SinkStatus::new(&sink.target))),
            max_backlog: sink.map(|sink| sink.max_backlog),
            file_generation: AtomicU64::new(0),
            can_remove: AtomicBool::new(false),
            database: ArcSwap::from_pointee(DatabaseState::Starting),
            initialized: AtomicBool::new(false),
            logged: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            defects: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            commit_times: Histogram::default(),
            size_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(Self::NO_LIMIT),
            used_bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            oldest: AtomicI64::new(i64::MAX),
            dropped: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
            refused_by_sink: AtomicU64::new(0),
            pruned: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            set_aside: ArcSwapOption::empty(),
            files_set_aside: AtomicU64::new(0),
            last_prediction: ArcSwapOption::empty(),
            outcomes: SlidingCounts::default(),
            drift: ArcSwapOption::empty(),
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
            refused: self.refused.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            size_bytes: Some(self.size_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0),
            recorded: self.buffer.rows(),
            sink: self.sink.as_ref().map(|sink| sink.snapshot()),
            free_bytes: Some(self.free_bytes.load(Ordering::Relaxed))
                .filter(|bytes| *bytes != Self::NO_LIMIT),
            rows: self.rows.load(Ordering::Relaxed),
            oldest: Some(self.oldest.load(Ordering::Relaxed))
                .filter(|oldest| *oldest != i64::MAX)
                .and_then(PredictionTime::from_unix_millis),
            dropped: self.dropped.load(Ordering::Relaxed),
            forwarded: self.forwarded.load(Ordering::Relaxed),
            refused_by_sink: self.refused_by_sink.load(Ordering::Relaxed),
            pruned: self.pruned.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            set_aside: self.set_aside.load_full(),
            files_set_aside: self.files_set_aside.load(Ordering::Relaxed),
            last_prediction: self
                .last_prediction
                .load()
                .as_deref()
                .copied()
                .map(Timestamp::from),
        }
    }

    /// Returns how many predictions this process has made rows of.
    pub(crate) fn predictions_logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    /// Returns whether rows can be removed from the database: it can be written, or lacks nothing
    /// but room.
    pub(crate) fn can_remove(&self) -> bool {
        self.can_remove.load(Ordering::Acquire)
    }

    /// Publishes whether rows can be removed.
    pub(crate) fn removes(&self, can_remove: bool) {
        self.can_remove.store(can_remove, Ordering::Release);
    }

    /// Returns the number of the file that is written: another one whenever the database was
    /// replaced by a new one, whose rows are numbered anew.
    pub fn file_generation(&self) -> u64 {
        self.file_generation.load(Ordering::Acquire)
    }

    /// Publishes that another file is written from now on.
    pub(crate) fn file_replaced(&self) {
        self.file_generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether as much waits in the file for its sink as may.
    pub fn backlog_is_full(&self) -> bool {
        self.max_backlog
            .is_some_and(|most| self.used_bytes() > most)
    }

    /// Returns the figures of the sink, if there is one.
    pub fn sink(&self) -> Option<&Arc<SinkStatus>> {
        self.sink.as_ref()
    }

    /// Returns the state of the database.
    pub fn database(&self) -> Arc<DatabaseState> {
        self.database.load_full()
    }

    /// Returns what went wrong since this process started, as the statistics show it.
    pub(crate) fn errors(&self) -> StatsErrors {
        StatsErrors {
            batches_failed: self.errors.load(Ordering::Relaxed),
            batches_refused: self.refused.load(Ordering::Relaxed),
            predictions_dropped: self.dropped.load(Ordering::Relaxed),
            predictions_expired: self.expired.load(Ordering::Relaxed),
            predictions_refused_by_sink: self.refused_by_sink.load(Ordering::Relaxed),
        }
    }

    /// Returns how attempts to log a batch ended in the last minute. A batch that was refused
    /// without an attempt, because the database was known to be unavailable, is not among them.
    pub fn outcomes(&self) -> Tally {
        self.outcomes.tally(self.clock.now())
    }

    /// Returns when something was last logged.
    pub fn last_commit(&self) -> Option<SystemTime> {
        self.last_prediction.load().as_deref().copied()
    }

    /// Returns how long transactions that logged something took.
    pub fn commit_times(&self) -> HistogramSnapshot {
        self.commit_times.snapshot()
    }

    /// Returns how far each model's answers have moved, if that is watched and has been looked at.
    pub fn drift(&self) -> Option<Arc<DriftByModel>> {
        self.drift.load_full()
    }

    /// Publishes how far each model's answers have moved.
    pub(crate) fn drifts(&self, found: DriftByModel) {
        self.drift.store(Some(Arc::new(found)));
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

    /// Records how long a transaction took that logged something.
    pub(crate) fn commit_took(&self, took: Duration) {
        self.commit_times.record(took);
    }

    /// Publishes how much room the log takes on the disk.
    pub(crate) fn takes_room(&self, bytes: u64) {
        self.size_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Publishes how much lies in the file, and the room that is left on its disk.
    pub(crate) fn extends(&self, extent: Extent, free_bytes: Option<u64>) {
        let oldest = extent.oldest.unwrap_or(i64::MAX);
        self.rows.store(extent.rows, Ordering::Relaxed);
        self.used_bytes.store(extent.used_bytes, Ordering::Relaxed);
        self.oldest.store(oldest, Ordering::Relaxed);
        let free_bytes = free_bytes.unwrap_or(Self::NO_LIMIT);
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
    }

    /// Returns the bytes that rows took when that was last looked at.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Counts predictions that a sink has taken, and those that it never will.
    pub(crate) fn forwarded(&self, taken: u64, refused: u64) {
        self.forwarded.fetch_add(taken, Ordering::Relaxed);
        self.refused_by_sink.fetch_add(refused, Ordering::Relaxed);
    }

    /// Counts predictions that were removed: given up where they waited for a sink, or else kept
    /// long enough.
    pub(crate) fn removed(&self, rows: u64, waited: bool) {
        let counter = if waited { &self.expired } else { &self.pruned };
        counter.fetch_add(rows, Ordering::Relaxed);
    }

    /// Counts predictions that were answered and not logged.
    pub(crate) fn dropped(&self, predictions: u64) {
        self.dropped.fetch_add(predictions, Ordering::Relaxed);
    }

    /// Publishes that a damaged file was replaced.
    pub(crate) fn set_aside(&self, path: &str, reason: &str) {
        self.files_set_aside.fetch_add(1, Ordering::Relaxed);
        self.set_aside.store(Some(Arc::new(SetAside {
            path: path.to_owned(),
            reason: reason.to_owned(),
            at: Timestamp::from(self.clock.wall()),
        })));
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

    /// Counts a batch that was refused untried because the database is unavailable.
    pub(crate) fn refused(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a batch for which there was no room among those that wait.
    pub(crate) fn turned_away(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for PredictionLogStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PredictionLogStatus")
            .field(&self.snapshot())
            .finish()
    }
}
