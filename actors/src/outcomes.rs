//! How executions ended and how long requests took, lately and since the start.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use impetus_supervision::Clock;

use crate::sliding::{SlidingCounts, SlidingMean, Tally};

/// The figures; recorded on the hot path, read by health and metrics.
pub struct Outcomes {
    clock: Arc<dyn Clock>,
    window: SlidingCounts,
    latency: SlidingMean,
    successes: AtomicU64,
    failures: AtomicU64,
    /// Milliseconds of wall time of the last success; 0 before the first.
    last_success: AtomicU64,
}

// === impl Outcomes ===

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("successes", &self.successes())
            .field("failures", &self.failures())
            .finish_non_exhaustive()
    }
}

impl Outcomes {
    /// Starts counting, by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            window: SlidingCounts::default(),
            latency: SlidingMean::default(),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_success: AtomicU64::new(0),
        }
    }

    /// Returns the time of day, by its clock.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    /// Counts executions that ended well.
    pub fn succeeded(&self, count: u64) {
        let now = self.clock.now();
        self.window.add(
            now,
            Tally {
                successes: count,
                failures: 0,
            },
        );
        self.successes.fetch_add(count, Ordering::Relaxed);
        let wall = self
            .clock
            .wall()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.last_success.store(
            u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// Counts executions that failed; refusals and the client's own mistakes are no executions.
    pub fn failed(&self, count: u64) {
        let now = self.clock.now();
        self.window.add(
            now,
            Tally {
                successes: 0,
                failures: count,
            },
        );
        self.failures.fetch_add(count, Ordering::Relaxed);
    }

    /// Records how long a request took from its arrival to its answer.
    pub fn took(&self, latency: Duration) {
        self.latency.record(self.clock.now(), latency);
    }

    /// Returns the outcomes of the last minute.
    #[must_use]
    pub fn lately(&self) -> Tally {
        self.window.tally(self.clock.now())
    }

    /// Returns the mean latency over the last minute; `None` when nothing was answered in it.
    #[must_use]
    pub fn mean_latency(&self) -> Option<Duration> {
        self.latency.mean(self.clock.now())
    }

    /// Returns how many executions have ended well since the start.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Returns how many executions have failed since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the wall-clock time of the last execution that ended well.
    #[must_use]
    pub fn last_success(&self) -> Option<SystemTime> {
        match self.last_success.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(UNIX_EPOCH + Duration::from_millis(millis)),
        }
    }
}
