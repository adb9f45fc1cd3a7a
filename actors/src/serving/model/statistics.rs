//! What a model's requests and batches took, in Triton's terms.
//!
//! Written once per batch under a lock that is held for a few additions, and read by whoever asks:
//! counts and times belong together, and what a reader divides was taken at one moment.
//!
//! **What is measured.** A request waits in the queue until its batch begins to be handed over
//! (`queue`), and so does a batch that lies in the worker behind another one. Laying its members
//! behind one another and writing them to the worker is `compute_input`, the engine's own time
//! `compute_infer`. Everything else until the answer is split is `compute_output`; that has the
//! worker's reading of the inputs in it, which cannot be told apart from here. As Triton does, each
//! request of a batch is given the whole time of its batch.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sizes of batches that are told apart; what has others is in the sums alone.
const MOST_SIZES: usize = 128;

/// The statistics of one version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelStatistics {
    /// When a batch was answered last, in milliseconds since 1970; 0 before the first.
    pub last_inference_ms: u64,
    /// Rows that were answered.
    pub inference_count: u64,
    /// Batches that were run.
    pub execution_count: u64,
    /// Requests that were answered, from their admission to their answer.
    pub success: Timed,
    /// Requests that were taken in and got no prediction, from their admission to the error.
    pub fail: Timed,
    /// Waiting for a worker, of those that were answered.
    pub queue: Timed,
    /// What running them took.
    pub compute: ComputeTimes,
    /// What batches of one size took, the smallest size first.
    pub batches: Vec<BatchStatistics>,
}

/// What batches of one size took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchStatistics {
    /// How many rows they have.
    pub rows: u64,
    /// What running them took; counts batches.
    pub compute: ComputeTimes,
}

/// What running something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ComputeTimes {
    /// Bringing inputs to the worker.
    pub input: Timed,
    /// Running the model.
    pub infer: Timed,
    /// Bringing outputs from the worker.
    pub output: Timed,
}

/// How often something happened, and how long that took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timed {
    /// How often.
    pub count: u64,
    /// Nanoseconds.
    pub ns: u64,
}

/// Where it is counted.
#[derive(Debug, Default)]
pub(super) struct Statistics(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sums: ModelStatistics,
    sizes: BTreeMap<u64, ComputeTimes>,
}

/// A batch that was run and answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Executed {
    /// Requests in it.
    pub(super) requests: u64,
    pub(super) rows: u64,
    /// How long all of its requests took together, from their admission to their answer.
    pub(super) took: Duration,
    /// How long all of its requests waited together.
    pub(super) queued: Duration,
    pub(super) input: Duration,
    pub(super) infer: Duration,
    pub(super) output: Duration,
    pub(super) at: SystemTime,
}

// === impl Statistics ===

impl Statistics {
    /// Counts a batch.
    pub(super) fn executed(&self, batch: Executed) {
        let mut inner = self.lock();
        let Inner { sums, sizes } = &mut *inner;
        let since = batch.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        sums.last_inference_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        sums.inference_count += batch.rows;
        sums.execution_count += 1;
        sums.success.add(batch.requests, batch.took);
        sums.queue.add(batch.requests, batch.queued);
        sums.compute.add(batch.requests, &batch);
        if sizes.len() < MOST_SIZES || sizes.contains_key(&batch.rows) {
            sizes.entry(batch.rows).or_default().add(1, &batch);
        }
    }

    /// Counts a request that was taken in and got no prediction.
    pub(super) fn failed(&self, after: Duration) {
        self.lock().sums.fail.add(1, after);
    }

    /// Returns what has been counted.
    pub(super) fn read(&self) -> ModelStatistics {
        let inner = self.lock();
        let batches = inner.sizes.iter();
        let batches = batches.map(|(rows, compute)| BatchStatistics {
            rows: *rows,
            compute: *compute,
        });
        ModelStatistics {
            batches: batches.collect(),
            ..inner.sums.clone()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ComputeTimes ===

impl ComputeTimes {
    /// Adds the times of a batch, for each of so many.
    fn add(&mut self, count: u64, batch: &Executed) {
        let times = u32::try_from(count).unwrap_or(u32::MAX);
        self.input.add(count, batch.input * times);
        self.infer.add(count, batch.infer * times);
        self.output.add(count, batch.output * times);
    }
}

// === impl Timed ===

impl Timed {
    fn add(&mut self, count: u64, took: Duration) {
        self.count += count;
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.ns = self.ns.saturating_add(ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(requests: u64, rows: u64) -> Executed {
        let micros = Duration::from_micros;
        Executed {
            requests,
            rows,
            took: micros(100 * requests),
            queued: micros(10 * requests),
            input: micros(1),
            infer: micros(20),
            output: micros(2),
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        }
    }

    #[test]
    fn each_request_is_given_the_whole_time_of_its_batch_and_each_batch_its_own_once() {
        let statistics = Statistics::default();
        statistics.executed(batch(3, 5));
        statistics.executed(batch(1, 5));
        statistics.failed(Duration::from_nanos(7));
        let read = statistics.read();
        let timed = |count, micros: u64| Timed {
            count,
            ns: micros * 1000,
        };
        assert_eq!((read.inference_count, read.execution_count), (10, 2));
        assert_eq!(read.success, timed(4, 400));
        assert_eq!(read.queue, timed(4, 40));
        assert_eq!(read.fail, Timed { count: 1, ns: 7 });
        assert_eq!(read.compute.infer, timed(4, 80));
        let [five] = read.batches[..] else {
            panic!("{:?}", read.batches)
        };
        assert_eq!(five.rows, 5);
        assert_eq!(five.compute.input, timed(2, 2));
        assert_eq!(five.compute.output, timed(2, 4));
        assert_eq!(read.last_inference_ms, 1_700_000_000_123);
    }

    #[test]
    fn sizes_that_are_told_apart_are_bounded_and_the_sums_have_all() {
        let statistics = Statistics::default();
        for rows in 1..=1000 {
            statistics.executed(batch(1, rows));
        }
        let read = statistics.read();
        assert_eq!(read.batches.len(), MOST_SIZES);
        assert_eq!(read.execution_count, 1000);
    }
}
