//! What is measured of the inferences of one version of a model: statistics and histograms.
//!
//! Everything is recorded when a batch is answered, from times that were noted on its way; nothing
//! here waits for anybody but the statistics' lock, once per batch and for a few additions.

use std::time::{Duration, Instant, SystemTime};

use super::super::Protocol;
use super::super::job::Job;
use super::super::ledger::InFlight;
use super::ServedModel;
use super::statistics::{Executed, ModelStatistics, Statistics};
use crate::histogram::{Histogram, HistogramSnapshot, SizeHistogram, SizeSnapshot};

/// The measures.
#[derive(Debug, Default)]
pub(super) struct Measures {
    statistics: Statistics,
    times: [InferenceTimes; Protocol::ALL.len()],
    rows: SizeHistogram,
}

#[derive(Debug, Default)]
struct InferenceTimes {
    request: Histogram,
    queue: Histogram,
    compute: Histogram,
}

/// How long inferences took that came over one protocol.
#[derive(Debug, Clone, Copy)]
pub struct InferenceTimesSnapshot {
    /// From admission to answer.
    pub request: HistogramSnapshot,
    /// Waiting for a worker.
    pub queue: HistogramSnapshot,
    /// Running on the engine.
    pub compute: HistogramSnapshot,
}

/// What is known of the run of a batch when it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunTimes {
    /// When it had been written to the worker, which had nothing before it from then on.
    began: Instant,
    input: Duration,
    infer: Duration,
    output: Duration,
}

// === impl InferenceTimesSnapshot ===

impl InferenceTimesSnapshot {
    /// Returns what two have counted together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            request: self.request.plus(&other.request),
            queue: self.queue.plus(&other.queue),
            compute: self.compute.plus(&other.compute),
        }
    }
}

// === impl RunTimes ===

impl RunTimes {
    /// Takes the times of a batch that has been answered at `now`.
    pub(super) fn of(batch: &InFlight, run_micros: u64, now: Instant) -> Option<Self> {
        let sent = batch.sent?;
        let written = batch.written.unwrap_or(sent);
        let began = batch.free_since.map_or(written, |free| free.max(written));
        let infer = Duration::from_micros(run_micros);
        Some(Self {
            began,
            input: written.saturating_duration_since(sent),
            infer,
            output: now.saturating_duration_since(began).saturating_sub(infer),
        })
    }

    /// Returns how long a member of the batch has waited, before it was written and behind another.
    pub(super) fn queued(&self, job: &Job) -> Duration {
        let until_begun = self.began.saturating_duration_since(job.enqueued);
        until_begun.saturating_sub(self.input)
    }
}

// === impl Measures ===

impl Measures {
    /// Counts a batch that has been answered at `now`, which a wall clock calls `at`.
    pub(super) fn executed(&self, jobs: &[Job], times: RunTimes, now: Instant, at: SystemTime) {
        let rows: usize = jobs.iter().map(|job| job.rows).sum();
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        let (mut took, mut queued) = (Duration::ZERO, Duration::ZERO);
        for job in jobs {
            let (own_took, own_queued) = (
                now.saturating_duration_since(job.enqueued),
                times.queued(job),
            );
            let histograms = &self.times[job.protocol as usize];
            histograms.request.record(own_took);
            histograms.queue.record(own_queued);
            histograms.compute.record(times.infer);
            took += own_took;
            queued += own_queued;
        }
        self.rows.record(rows);
        self.statistics.executed(Executed {
            requests: jobs.len() as u64,
            rows,
            took,
            queued,
            input: times.input,
            infer: times.infer,
            output: times.output,
            at,
        });
    }

    /// Counts a request that was taken in and got no prediction.
    pub(super) fn failed(&self, after: Duration) {
        self.statistics.failed(after);
    }
}

// === impl ServedModel ===

impl ServedModel {
    /// Returns what its requests and batches took, in Triton's terms.
    #[must_use]
    pub fn statistics(&self) -> ModelStatistics {
        self.measures.statistics.read()
    }

    /// Returns how long inferences took that came over a protocol; `None` before the first.
    #[must_use]
    pub fn inference_times(&self, protocol: Protocol) -> Option<InferenceTimesSnapshot> {
        let times = &self.measures.times[protocol as usize];
        let request = times.request.snapshot();
        (request.count() > 0).then(|| InferenceTimesSnapshot {
            request,
            queue: times.queue.snapshot(),
            compute: times.compute.snapshot(),
        })
    }

    /// Returns how many rows batches had.
    #[must_use]
    pub fn batch_rows(&self) -> SizeSnapshot {
        self.measures.rows.snapshot()
    }

    /// Returns how often a batch has waited for those of other models.
    #[must_use]
    pub fn share_waits(&self) -> u64 {
        self.account.waits()
    }
}
