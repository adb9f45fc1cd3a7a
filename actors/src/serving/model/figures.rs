//! What is counted of a model, for status and metrics.
//!
//! All of it is atomics: the path of a request writes here, and whoever scrapes reads, and neither
//! waits for the other. The figures are gone with the model; one that comes back begins at zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::generation;
use super::super::loss::Loss;
use super::super::rejection::{Rejection, Rejections};
use super::super::restart::RestartReason;
use super::super::{AnswerTimes, Protocol};
use super::{ServedModel, micros};

/// The figures.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) predictions: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) rejections: Rejections,
    losses: [AtomicU64; Loss::KINDS.len()],
    recycled: AtomicU64,
    restarts: [AtomicU64; RestartReason::ALL.len()],
    answers: [AnswerTimes; Protocol::ALL.len()],
    /// What is counted of text.
    pub(super) generation: Arc<generation::Figures>,
    born: Instant,
    /// When a worker last finished something, in microseconds after `born`; 0 before the first did.
    progressed: AtomicU64,
}

// === impl Figures ===

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            predictions: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            rejections: Rejections::default(),
            losses: Default::default(),
            recycled: AtomicU64::new(0),
            restarts: Default::default(),
            answers: Default::default(),
            generation: Arc::default(),
            born: Instant::now(),
            progressed: AtomicU64::new(0),
        }
    }
}

// === impl ServedModel ===

impl ServedModel {
    /// Returns how long the answers to requests for this model took that came in so; written by the
    /// edge.
    #[must_use]
    pub fn answers(&self, protocol: Protocol) -> &AnswerTimes {
        &self.figures.answers[protocol as usize]
    }

    /// Returns how many predictions all versions of its name have answered.
    pub(in crate::serving) fn predictions_of_its_name(&self) -> u64 {
        self.figures.predictions.load(Ordering::Relaxed)
    }

    /// Returns how many executions failed, of all versions of its name.
    pub(in crate::serving) fn errors_of_its_name(&self) -> u64 {
        self.figures.errors.load(Ordering::Relaxed)
    }

    /// Returns how many workers were lost, by the kind of loss.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.figures.losses.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        Loss::KINDS.into_iter().zip(counts)
    }

    /// Returns how many workers were started anew, by what became of the one before.
    pub fn restarts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RestartReason::ALL.into_iter().map(|reason| {
            let count = &self.figures.restarts[reason as usize];
            (reason.as_str(), count.load(Ordering::Relaxed))
        })
    }

    /// Returns how many requests of its name were turned away, those not counted that waited here
    /// until their deadline had passed.
    pub(in crate::serving) fn turned_away(&self, reason: Rejection) -> u64 {
        self.figures.rejections.of(reason)
    }

    /// Returns how many requests waited here until their deadline had passed.
    pub(in crate::serving) fn expired(&self) -> u64 {
        self.queue.expired()
    }

    /// Hands what is counted here alone over to its name, when it goes for good.
    pub(in crate::serving) fn hand_over_counts(&self) {
        let expired = self.queue.expired();
        self.figures.rejections.add(Rejection::Expired, expired);
    }

    /// Returns how many workers made room for a fresh one because of their memory.
    #[must_use]
    pub fn recycled(&self) -> u64 {
        self.figures.recycled.load(Ordering::Relaxed)
    }

    /// Returns how long ago a worker last finished something, a run or an idle check of itself;
    /// `None` before the first time.
    #[must_use]
    pub fn progress_age(&self) -> Option<Duration> {
        let last = match self.figures.progressed.load(Ordering::Relaxed) {
            0 => return None,
            micros => Duration::from_micros(micros),
        };
        Some(self.figures.born.elapsed().saturating_sub(last))
    }

    /// Counts a lost worker.
    pub(in crate::serving) fn note_loss(&self, loss: &Loss) {
        let kinds = Loss::KINDS.iter().zip(&self.figures.losses);
        for (_, count) in kinds.filter(|(kind, _)| **kind == loss.kind()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a worker that makes room for a fresh one.
    pub(in crate::serving) fn note_recycled(&self) {
        self.figures.recycled.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a worker that is started in place of another.
    pub(in crate::serving) fn note_restart(&self, reason: RestartReason) {
        self.figures.restarts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a worker has finished something.
    pub(in crate::serving) fn note_progress(&self, now: Instant) {
        let after = micros(now.saturating_duration_since(self.figures.born)).max(1);
        self.figures.progressed.store(after, Ordering::Relaxed);
    }
}
