//! Latencies by buckets that are wide where precision would be pretence.
//!
//! A quantile over ten million rows must not read ten million rows, so what is kept is how many
//! predictions fell into each bucket. Bucket `n` ends at `1.04^n` milliseconds, which makes every
//! quantile right to within 2% from a microsecond to a day with a few hundred buckets; it is the
//! log-bucketing of DDSketch (Masson, Rim, Lee, <https://arxiv.org/abs/1908.10693>), and counts of
//! buckets can be added to and taken away from in any order.

use serde::Serialize;
use utoipa::ToSchema;

/// The number of a bucket; larger ones hold longer times.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct LatencyBucket(i32);

/// Quantiles of the time that models took, in milliseconds, right to within 2%.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Quantiles {
    /// Half of the predictions took no longer.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// Nineteen in twenty.
    pub p95: f64,
    /// 99 in 100.
    pub p99: f64,
}

// === impl LatencyBucket ===

impl LatencyBucket {
    /// Each bucket ends so many times later than the one before.
    const GROWTH: f64 = 1.04;
    /// Ends at about a nanosecond; nothing, and less than nothing, is in it as well.
    const FIRST: i32 = -350;
    /// Ends at about three years.
    const LAST: i32 = 650;

    /// Returns the bucket of a time in milliseconds.
    pub(crate) fn of(millis: f64) -> Self {
        if millis <= 0.0 {
            return Self(Self::FIRST);
        }
        // A float becomes the nearest integer that there is.
        let number = (millis.ln() / Self::GROWTH.ln()).ceil() as i32;
        Self(number.clamp(Self::FIRST, Self::LAST))
    }

    /// Returns the bucket of this number, as it was stored.
    pub(crate) fn from_number(number: i64) -> Self {
        let number = number.clamp(Self::FIRST.into(), Self::LAST.into());
        Self(i32::try_from(number).unwrap_or(Self::LAST))
    }

    /// Returns its number, as it is stored.
    pub(crate) fn number(self) -> i64 {
        self.0.into()
    }

    /// Returns the middle of the bucket in milliseconds, with the same relative error to both ends.
    fn middle(self) -> f64 {
        if self.0 == Self::FIRST {
            return 0.0;
        }
        2.0 * Self::GROWTH.powi(self.0) / (Self::GROWTH + 1.0)
    }
}

// === impl Quantiles ===

impl Quantiles {
    /// Returns the quantiles of so many predictions in each bucket; `None` of none. The buckets may
    /// come in any order and more than once.
    pub(crate) fn of(counts: impl IntoIterator<Item = (LatencyBucket, u64)>) -> Option<Self> {
        let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        counts.sort_unstable_by_key(|(bucket, _)| *bucket);
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let at = |part: f64| {
            // The rank of the nearest-rank method.
            let rank = ((part * total as f64).ceil() as u64).max(1);
            let mut below = 0;
            let found = counts.iter().find(|(_, count)| {
                below += count;
                below >= rank
            });
            // Rounded: what is within 2% has no use for fifteen digits.
            found.map(|(bucket, _)| (bucket.middle() * 1e4).round() / 1e4)
        };
        Some(Self {
            p50: at(0.5)?,
            p90: at(0.9)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(Quantiles::of([]), None);
        assert_eq!(Quantiles::of([(LatencyBucket::of(3.0), 0)]), None);
    }

    #[test]
    fn times_that_cannot_be_are_counted_as_none() {
        for millis in [0.0, -1.0, -f64::MAX] {
            assert_eq!(LatencyBucket::of(millis).middle(), 0.0);
        }
        assert_eq!(LatencyBucket::of(f64::MAX).number(), 650);
    }

    proptest! {
        /// Against the rank in the sorted list, over the range that matters.
        #[test]
        fn a_quantile_is_right_to_within_two_percent(
            mut times in prop::collection::vec(0.001_f64..1e7, 1..300),
        ) {
            let buckets = times.iter().map(|time| (LatencyBucket::of(*time), 1));
            let found = Quantiles::of(buckets).expect("there are some");
            times.sort_by(f64::total_cmp);
            for (part, found) in [(0.5, found.p50), (0.9, found.p90), (0.95, found.p95), (0.99, found.p99)] {
                let rank = ((part * times.len() as f64).ceil() as usize).max(1);
                let exact = times[rank - 1];
                let off = (found - exact).abs();
                prop_assert!(off <= exact * 0.02 + 1e-4, "{part}: {found} for {exact}");
            }
        }

        #[test]
        fn a_bucket_survives_being_stored(millis in 0.0_f64..1e12) {
            let bucket = LatencyBucket::of(millis);
            prop_assert_eq!(LatencyBucket::from_number(bucket.number()), bucket);
        }
    }
}
