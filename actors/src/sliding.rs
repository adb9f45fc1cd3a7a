//! Sliding windows over the last sixty seconds: counts of outcomes and a mean of latencies, and the
//! [gate](ErrorRateGate) that turns an error rate into a yes or no.
//!
//! Readiness judges a service by what it did lately, not since it started: a total never forgets,
//! so one bad morning would weigh on a good afternoon. A window is a ring of sixty buckets of one
//! second. Recording locks the one bucket of the current second for a few instructions, so that
//! concurrent recorders wait for nothing longer than an addition; reading visits each bucket in
//! turn and never holds two.
//!
//! **Invariant:** a window holds what was recorded in the current second and the 59 before it, no
//! more and no less. Time is passed in by the caller (the time since its clock's origin), so the
//! windows are as exact under a test clock as under a real one. A record that arrives late, when
//! its bucket already serves a newer second, is dropped rather than counted at the wrong time.

mod error_rate;

use std::array;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use error_rate::{ErrorRateGate, ErrorRateRule, InvalidErrorRateRule};

/// Length of every window, in seconds and in buckets.
pub const WINDOW_SECONDS: u64 = 60;

/// Successes and failures of the last minute.
#[derive(Debug, Default)]
pub struct SlidingCounts {
    ring: Ring<Tally>,
}

/// Outcomes counted in a window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Executions that ended well.
    pub successes: u64,
    /// Executions that failed; refusals and the client's own mistakes are no executions.
    pub failures: u64,
}

/// Mean duration of the last minute.
#[derive(Debug, Default)]
pub struct SlidingMean {
    ring: Ring<Sum>,
}

/// Durations summed in one bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    nanos: u128,
    count: u64,
}

/// Values of one second that can be added up over a window.
trait Additive: Copy + Default {
    fn add(&mut self, other: Self);
}

/// Sixty buckets, each good for one second at a time.
#[derive(Debug)]
struct Ring<T> {
    buckets: [Mutex<Bucket<T>>; WINDOW_SECONDS as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket<T> {
    /// The second since the clock's origin that this bucket counts.
    second: u64,
    value: T,
}

// === impl SlidingCounts ===

impl SlidingCounts {
    /// Counts one success at `now`.
    pub fn success(&self, now: Duration) {
        self.add(
            now,
            Tally {
                successes: 1,
                failures: 0,
            },
        );
    }

    /// Counts one failure at `now`.
    pub fn failure(&self, now: Duration) {
        self.add(
            now,
            Tally {
                successes: 0,
                failures: 1,
            },
        );
    }

    /// Counts many outcomes of the same moment at once.
    pub fn add(&self, now: Duration, outcomes: Tally) {
        self.ring.update(now, |tally| tally.add(outcomes));
    }

    /// Returns what the window that ends at `now` holds.
    pub fn tally(&self, now: Duration) -> Tally {
        self.ring.total(now)
    }
}

// === impl Tally ===

impl Tally {
    /// Returns the number of executions.
    pub fn total(&self) -> u64 {
        self.successes.saturating_add(self.failures)
    }

    /// Returns failures ÷ executions (0 to 1), or `None` when nothing was executed.
    pub fn error_rate(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.failures as f64 / total as f64)
    }
}

impl Additive for Tally {
    fn add(&mut self, other: Self) {
        self.successes = self.successes.saturating_add(other.successes);
        self.failures = self.failures.saturating_add(other.failures);
    }
}

// === impl SlidingMean ===

impl SlidingMean {
    /// Records one `duration` that ended at `now`.
    pub fn record(&self, now: Duration, duration: Duration) {
        self.ring.update(now, |sum| {
            sum.nanos += duration.as_nanos();
            sum.count += 1;
        });
    }

    /// Returns the mean of the window that ends at `now`, or `None` when it is empty.
    pub fn mean(&self, now: Duration) -> Option<Duration> {
        let sum = self.ring.total(now);
        let nanos = sum.nanos.checked_div(u128::from(sum.count))?;
        // A mean cannot exceed the longest of its durations, but `Duration` is wider than u64.
        Some(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }
}

impl Additive for Sum {
    fn add(&mut self, other: Self) {
        self.nanos += other.nanos;
        self.count += other.count;
    }
}

// === impl Ring ===

impl<T: Additive> Ring<T> {
    fn update(&self, now: Duration, change: impl FnOnce(&mut T)) {
        let second = now.as_secs();
        let mut bucket = lock(&self.buckets[(second % WINDOW_SECONDS) as usize]);
        if bucket.second < second {
            *bucket = Bucket {
                second,
                value: T::default(),
            };
        }
        if bucket.second == second {
            change(&mut bucket.value);
        }
    }

    fn total(&self, now: Duration) -> T {
        let newest = now.as_secs();
        let mut total = T::default();
        for bucket in &self.buckets {
            let bucket = *lock(bucket);
            if bucket.second <= newest && newest - bucket.second < WINDOW_SECONDS {
                total.add(bucket.value);
            }
        }
        total
    }
}

impl<T: Additive> Default for Ring<T> {
    fn default() -> Self {
        Self {
            buckets: array::from_fn(|_| Mutex::default()),
        }
    }
}

/// Locks a bucket; nothing that can panic runs inside, so a poisoned one is still whole.
fn lock<T>(bucket: &Mutex<T>) -> MutexGuard<'_, T> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    struct Outcome {
        at: Duration,
        failed: bool,
        took: Duration,
    }

    /// Outcomes in the order of their time, with pauses from nothing to beyond the window.
    fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
        let step = prop_oneof![4 => 0u64..900, 2 => 900u64..5_000, 1 => 5_000u64..200_000];
        prop::collection::vec((step, any::<bool>(), 0u64..10_000_000), 0..200).prop_map(|steps| {
            let mut at = Duration::ZERO;
            steps
                .into_iter()
                .map(|(pause, failed, took)| {
                    at += Duration::from_millis(pause);
                    Outcome {
                        at,
                        failed,
                        took: Duration::from_nanos(took),
                    }
                })
                .collect()
        })
    }

    /// The definition: everything whose second is among the last sixty.
    fn in_window(outcomes: &[Outcome], now: Duration) -> Vec<Outcome> {
        let newest = now.as_secs();
        let lies_in = |second: u64| second <= newest && second + WINDOW_SECONDS > newest;
        outcomes
            .iter()
            .copied()
            .filter(|outcome| lies_in(outcome.at.as_secs()))
            .collect()
    }

    proptest! {
        /// The ring agrees with a model that keeps every outcome, at every step and later on.
        #[test]
        fn windows_agree_with_a_naive_model(outcomes in outcomes(), later in 0u64..150) {
            let counts = SlidingCounts::default();
            let mean = SlidingMean::default();
            for (index, outcome) in outcomes.iter().enumerate() {
                if outcome.failed { counts.failure(outcome.at) } else { counts.success(outcome.at) }
                mean.record(outcome.at, outcome.took);
                check(&counts, &mean, &outcomes[..=index], outcome.at)?;
            }
            let end = outcomes.last().map_or(Duration::ZERO, |outcome| outcome.at);
            check(&counts, &mean, &outcomes, end + Duration::from_secs(later))?;
        }
    }

    fn check(
        counts: &SlidingCounts,
        mean: &SlidingMean,
        recorded: &[Outcome],
        now: Duration,
    ) -> Result<(), TestCaseError> {
        let window = in_window(recorded, now);
        let failures = window.iter().filter(|outcome| outcome.failed).count() as u64;
        let expected = Tally {
            successes: window.len() as u64 - failures,
            failures,
        };
        prop_assert_eq!(counts.tally(now), expected);
        let nanos: u128 = window.iter().map(|outcome| outcome.took.as_nanos()).sum();
        let expected = nanos.checked_div(window.len() as u128);
        prop_assert_eq!(mean.mean(now).map(|mean| mean.as_nanos()), expected);
        Ok(())
    }

    /// A recorder that was delayed for more than a window must not count at the wrong time.
    #[test]
    fn a_record_whose_bucket_moved_on_is_dropped() {
        let counts = SlidingCounts::default();
        counts.success(Duration::from_secs(100));
        counts.failure(Duration::from_secs(40));
        let tally = counts.tally(Duration::from_secs(100));
        assert_eq!(
            tally,
            Tally {
                successes: 1,
                failures: 0
            }
        );
    }

    #[test]
    fn concurrent_recorders_lose_nothing() {
        let counts = SlidingCounts::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for step in 0..1_000u64 {
                        counts.success(Duration::from_millis(step));
                    }
                });
            }
        });
        assert_eq!(counts.tally(Duration::from_secs(1)).successes, 4_000);
    }
}
