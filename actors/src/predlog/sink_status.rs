//! What is known of the sink, for everybody who asks and must not wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use impetus_supervision::Timestamp;
use serde::Serialize;

use super::config::SinkTarget;
use crate::histogram::{Histogram, HistogramSnapshot};

/// The published figures of the forwarder; read without waiting.
pub struct SinkStatus {
    kind: &'static str,
    state: ArcSwap<SinkState>,
    deliveries: AtomicU64,
    failures: AtomicU64,
    delivery_times: Histogram,
}

/// Whether the sink takes predictions.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SinkState {
    /// It has not been asked yet.
    Starting,
    /// It did last time anybody tried.
    Connected,
    /// It failed, and is tried again at once.
    Retrying {
        /// Why.
        reason: Arc<str>,
        /// Since when, by the wall clock.
        since: Timestamp,
    },
    /// It failed more often than is tried at once. Predictions wait in the file.
    Unreachable {
        /// Why.
        reason: Arc<str>,
        /// Since when, by the wall clock.
        since: Timestamp,
    },
}

/// All figures of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct SinkSnapshot {
    /// `postgres` or `impetus`.
    pub kind: &'static str,
    /// Whether it takes predictions.
    #[serde(flatten)]
    pub state: Arc<SinkState>,
    /// Batches that it has taken.
    pub deliveries: u64,
    /// Attempts that failed.
    pub failures: u64,
}

// === impl SinkStatus ===

impl SinkStatus {
    pub(crate) fn new(target: &SinkTarget) -> Self {
        Self {
            kind: match target {
                SinkTarget::Postgres(_) => "postgres",
                SinkTarget::Impetus(_) => "impetus",
            },
            state: ArcSwap::from_pointee(SinkState::Starting),
            deliveries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            delivery_times: Histogram::default(),
        }
    }

    /// Returns all figures.
    pub fn snapshot(&self) -> SinkSnapshot {
        SinkSnapshot {
            kind: self.kind,
            state: self.state(),
            deliveries: self.deliveries.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Returns whether it takes predictions.
    pub fn state(&self) -> Arc<SinkState> {
        self.state.load_full()
    }

    /// Returns how long batches took that it has taken.
    pub fn delivery_times(&self) -> HistogramSnapshot {
        self.delivery_times.snapshot()
    }

    pub(crate) fn publish(&self, state: SinkState) {
        self.state.store(Arc::new(state));
    }

    pub(crate) fn delivered(&self, took: Duration) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        self.delivery_times.record(took);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for SinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SinkStatus").field(&self.snapshot()).finish()
    }
}

// === impl SinkState ===

impl SinkState {
    /// Returns why it does not take predictions, if it does not.
    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Starting | Self::Connected => None,
            Self::Retrying { reason, .. } | Self::Unreachable { reason, .. } => Some(reason),
        }
    }

    /// Returns since when it does not.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Starting | Self::Connected => None,
            Self::Retrying { since, .. } | Self::Unreachable { since, .. } => Some(*since),
        }
    }
}
