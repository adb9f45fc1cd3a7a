//! Durations counted by how long they were, on the path of whatever took that long.
//!
//! Recording is two atomic additions and takes no lock, so it may stand where every request passes.
//! A reader takes the counts one after the other while others are recording: what it has is not the
//! picture of one instant, but each count only grows from one look to the next, which is all that
//! rates are made from.
//!
//! **Invariant:** every histogram of durations has the same bounds, so any two can be added up.
//! [`SizeHistogram`] counts numbers instead, by powers of two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

mod sizes;

pub use sizes::{SizeHistogram, SizeSnapshot};

/// Upper bounds of the buckets in nanoseconds, each of them included in its bucket. From a
/// millisecond, which is less than the smallest model takes, to the seconds of one that has hung;
/// objectives are stated at 0.1, 0.25, 0.5, 1, 2.5, 5 and 10 s.
const BOUNDS: [u64; 13] = [
    MILLI,
    MILLI * 5 / 2,
    MILLI * 5,
    MILLI * 10,
    MILLI * 25,
    MILLI * 50,
    MILLI * 100,
    MILLI * 250,
    MILLI * 500,
    MILLI * 1000,
    MILLI * 2500,
    MILLI * 5000,
    MILLI * 10_000,
];

const MILLI: u64 = 1_000_000;

/// The buckets, the last one without an upper bound.
const BUCKETS: usize = BOUNDS.len() + 1;

/// Counts durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// Wraps after five centuries of recorded time.
    nanos: AtomicU64,
}

/// What had been recorded when somebody looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    buckets: [u64; BUCKETS],
    nanos: u64,
}

// === impl Histogram ===

impl Histogram {
    /// Counts something that took this long.
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Counted without a branch: a comparison costs less than a wrong guess where it ends.
        let bucket: usize = BOUNDS.iter().map(|bound| usize::from(nanos > *bound)).sum();
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns what has been recorded.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            nanos: self.nanos.load(Ordering::Relaxed),
        }
    }
}

// === impl HistogramSnapshot ===

impl HistogramSnapshot {
    /// Returns how many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the sum of all durations in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.nanos as f64 / 1e9
    }

    /// Returns each upper bound in seconds, and how many durations were not longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut so_far = 0;
        BOUNDS.iter().zip(self.buckets).map(move |(bound, count)| {
            so_far += count;
            (*bound as f64 / 1e9, so_far)
        })
    }

    /// Returns what two histograms have counted together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket] + other.buckets[bucket]),
            nanos: self.nanos.wrapping_add(other.nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[Duration]) -> HistogramSnapshot {
        let histogram = Histogram::default();
        durations
            .iter()
            .for_each(|duration| histogram.record(*duration));
        histogram.snapshot()
    }

    #[test]
    fn a_duration_counts_up_to_its_bound_and_the_bound_is_included() {
        let bound = Duration::from_millis(250);
        let snapshot = of(&[bound, bound + Duration::from_nanos(1)]);
        let within = |seconds| snapshot.cumulative().find(|(bound, _)| *bound == seconds);
        assert_eq!(within(0.1), Some((0.1, 0)));
        assert_eq!(within(0.25), Some((0.25, 1)));
        assert_eq!(within(0.5), Some((0.5, 2)));
    }

    #[test]
    fn what_is_longer_than_every_bound_is_counted_and_summed_all_the_same() {
        let snapshot = of(&[Duration::ZERO, Duration::from_secs(100)]);
        assert_eq!(snapshot.cumulative().last(), Some((10.0, 1)));
        assert_eq!((snapshot.count(), snapshot.sum_seconds()), (2, 100.0));
    }

    #[test]
    fn counts_only_grow_with_the_bounds_and_the_objectives_are_among_them() {
        let durations: Vec<Duration> = (0..20_000).step_by(7).map(Duration::from_millis).collect();
        let snapshot = of(&durations);
        let cumulative: Vec<(f64, u64)> = snapshot.cumulative().collect();
        assert!(cumulative.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        for objective in [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0] {
            let within = durations.iter().filter(|d| d.as_secs_f64() <= objective);
            assert!(cumulative.contains(&(objective, within.count() as u64)));
        }
    }

    #[test]
    fn two_histograms_add_up_to_one_of_all_their_durations() {
        let [a, b] = [3, 700].map(Duration::from_millis);
        assert_eq!(of(&[a]).plus(&of(&[b])), of(&[a, b]));
    }

    #[test]
    fn nothing_is_lost_when_many_record_at_a_time() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let histogram = &histogram;
                scope.spawn(move || {
                    (0..10_000).for_each(|_| histogram.record(Duration::from_millis(thread)));
                });
            }
        });
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 40_000);
        assert_eq!(snapshot.sum_seconds(), 60.0);
    }
}
