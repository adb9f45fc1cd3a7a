//! What is known of the registry, for everybody who asks and must not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use impetus_supervision::Timestamp;
use serde::Serialize;

/// The published figures of the actor; read without waiting.
#[derive(Debug)]
pub struct RegistryStatus {
    state: ArcSwap<RegistryState>,
    failures: AtomicU64,
}

/// Whether the registry answers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RegistryState {
    /// It has not been asked yet.
    Starting,
    /// It did when it was last asked.
    Accessible,
    /// It did not.
    Inaccessible {
        /// Why.
        reason: String,
        /// Since when, by the wall clock.
        since: Timestamp,
    },
}

/// All figures of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct RegistrySnapshot {
    /// Whether it answers.
    #[serde(flatten)]
    pub state: Arc<RegistryState>,
    /// Times that it did not, or answered what cannot be used.
    pub failures: u64,
}

// === impl RegistryStatus ===

impl Default for RegistryStatus {
    fn default() -> Self {
        Self {
            state: ArcSwap::from_pointee(RegistryState::Starting),
            failures: AtomicU64::new(0),
        }
    }
}

impl RegistryStatus {
    /// Returns all figures.
    #[must_use]
    pub fn snapshot(&self) -> RegistrySnapshot {
        RegistrySnapshot {
            state: self.state(),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Returns whether it answers.
    #[must_use]
    pub fn state(&self) -> Arc<RegistryState> {
        self.state.load_full()
    }

    pub(super) fn publish(&self, state: RegistryState) {
        self.state.store(Arc::new(state));
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl RegistryState ===

impl RegistryState {
    /// Tells whether it answered when it was last asked.
    #[must_use]
    pub fn is_accessible(&self) -> bool {
        matches!(self, Self::Accessible)
    }

    /// Returns the state in one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Accessible => "accessible",
            Self::Inaccessible { .. } => "inaccessible",
        }
    }

    /// Returns why it does not answer, if it does not.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Inaccessible { reason, .. } => Some(reason),
            Self::Starting | Self::Accessible => None,
        }
    }

    /// Returns since when it does not answer, if it does not.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Inaccessible { since, .. } => Some(*since),
            Self::Starting | Self::Accessible => None,
        }
    }
}
