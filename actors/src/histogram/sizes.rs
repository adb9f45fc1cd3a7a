//! Counts by size: rows of batches, in powers of two.

use std::sync::atomic::{AtomicU64, Ordering};

/// The largest bound is 2 to the power of this: more rows than a batch may have.
const LARGEST: u32 = 12;
/// One for each power of two, and one for what is larger.
const BUCKETS: usize = LARGEST as usize + 2;

/// Counts sizes.
#[derive(Debug, Default)]
pub struct SizeHistogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What had been recorded when somebody looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeSnapshot {
    buckets: [u64; BUCKETS],
    sum: u64,
}

// === impl SizeHistogram ===

impl SizeHistogram {
    /// Counts something of this size.
    pub fn record(&self, size: u64) {
        // The number of bits of one less is the smallest power that is not exceeded.
        let power = u64::BITS - size.saturating_sub(1).leading_zeros();
        let bucket = power.min(LARGEST + 1) as usize;
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(size, Ordering::Relaxed);
    }

    /// Returns what has been recorded.
    #[must_use]
    pub fn snapshot(&self) -> SizeSnapshot {
        SizeSnapshot {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

// === impl SizeSnapshot ===

impl SizeSnapshot {
    /// Returns how many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the sum of all sizes.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns each upper bound, and how many were not larger.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut so_far = 0;
        let bounds = (0..=LARGEST).map(|power| f64::from(1_u32 << power));
        bounds.zip(self.buckets).map(move |(bound, count)| {
            so_far += count;
            (bound, so_far)
        })
    }

    /// Returns what two histograms have counted together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket] + other.buckets[bucket]),
            sum: self.sum.wrapping_add(other.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_counted_up_to_the_first_power_of_two_that_it_does_not_exceed() {
        let histogram = SizeHistogram::default();
        for size in [1, 2, 3, 4, 5, 8, 4096, 4097] {
            histogram.record(size);
        }
        let snapshot = histogram.snapshot();
        let at = |bound: f64| {
            let mut cumulative = snapshot.cumulative();
            cumulative
                .find(|(b, _)| *b == bound)
                .map(|(_, count)| count)
        };
        assert_eq!(at(1.0), Some(1));
        assert_eq!(at(2.0), Some(2));
        assert_eq!(at(4.0), Some(4));
        assert_eq!(at(8.0), Some(6));
        assert_eq!(at(2048.0), Some(6));
        assert_eq!(at(4096.0), Some(7), "the last bound");
        assert_eq!((snapshot.count(), snapshot.sum()), (8, 8216));
        let twice = snapshot.plus(&snapshot);
        assert_eq!((twice.count(), twice.sum()), (16, 16_432));
    }
}
