//! Requests that were turned away without having been run, by the reason.
//!
//! Each is counted where it is decided, once, and whatever answer the edge makes of it. A request
//! that names no model that is known here is counted by the [catalog](super::Catalog): its words
//! are the client's and become nobody's label.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// As many as may wait for the model already.
    QueueFull,
    /// It had waited longest when the queue was full.
    Shed,
    /// No worker took it within the time that it may wait for one.
    QueueTimeout,
    /// Its deadline passed while it waited for a worker.
    Expired,
    /// The model was not usable.
    NotLoaded,
    /// Its content has killed a worker that had nothing else.
    Quarantined,
    /// The model was taken out of service.
    Unloaded,
    /// No model has that name.
    UnknownModel,
    /// There is no model, or several of which none was named.
    NoModel,
    /// The server is ending; whatever the model.
    Draining,
}

/// Counts them.
#[derive(Debug, Default)]
pub struct Rejections([AtomicU64; Rejection::ALL.len()]);

// === impl Rejection ===

impl Rejection {
    /// Every reason, in its order.
    pub const ALL: [Self; 10] = [
        Self::QueueFull,
        Self::Shed,
        Self::QueueTimeout,
        Self::Expired,
        Self::NotLoaded,
        Self::Quarantined,
        Self::Unloaded,
        Self::UnknownModel,
        Self::NoModel,
        Self::Draining,
    ];
    /// Those of a request for a model that is known.
    pub const OF_A_MODEL: [Self; 7] = [
        Self::QueueFull,
        Self::Shed,
        Self::QueueTimeout,
        Self::Expired,
        Self::NotLoaded,
        Self::Quarantined,
        Self::Unloaded,
    ];
    /// Those of a request for none, or for one that was not even asked for.
    pub const OF_NO_MODEL: [Self; 3] = [Self::UnknownModel, Self::NoModel, Self::Draining];

    /// Returns the reason as metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Shed => "shed",
            Self::QueueTimeout => "queue_timeout",
            Self::Expired => "expired",
            Self::NotLoaded => "not_loaded",
            Self::Quarantined => "quarantined",
            Self::Unloaded => "unloaded",
            Self::UnknownModel => "unknown_model",
            Self::NoModel => "no_model",
            Self::Draining => "draining",
        }
    }
}

// === impl Rejections ===

impl Rejections {
    /// Counts a request.
    pub(crate) fn count(&self, reason: Rejection) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts several.
    pub(crate) fn add(&self, reason: Rejection, requests: u64) {
        self.0[reason as usize].fetch_add(requests, Ordering::Relaxed);
    }

    /// Returns how many there were for that reason.
    #[must_use]
    pub fn of(&self, reason: Rejection) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}
