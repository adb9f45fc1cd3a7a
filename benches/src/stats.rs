//! Medians with their range, and percentiles.

use anyhow::Context;
use serde::Serialize;

/// The middle of some measurements, and how far they go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) p99: f64,
    pub(crate) count: usize,
}

// === impl Spread ===

impl Spread {
    /// Returns the spread of some figures.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> anyhow::Result<Self> {
        let sorted = sorted(figures);
        let at = |percent| percentile(&sorted, percent).context("nothing was measured");
        Ok(Self {
            median: at(50.0)?,
            min: at(0.0)?,
            max: at(100.0)?,
            p99: at(99.0)?,
            count: sorted.len(),
        })
    }

    /// Returns `median (min–max)`, each with that many digits behind the point.
    pub(crate) fn text(&self, digits: usize) -> String {
        let Self {
            median, min, max, ..
        } = self;
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }
}

/// Returns the figures in ascending order.
pub(crate) fn sorted(figures: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Returns the nearest-rank percentile of sorted figures; for an even number of figures the median
/// is the mean of the two in the middle.
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let count = sorted.len();
    if percent == 50.0 && count >= 2 && count.is_multiple_of(2) {
        return Some((sorted[count / 2 - 1] + sorted[count / 2]) / 2.0);
    }
    let rank = (percent / 100.0 * count as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert!(Spread::of([]).is_err());
    }

    #[test]
    fn the_ninety_ninth_percentile_of_a_hundred_is_the_last_but_one() {
        let figures = sorted((1..=100).map(f64::from));
        assert_eq!(percentile(&figures, 99.0), Some(99.0));
        assert_eq!(percentile(&figures, 100.0), Some(100.0));
        assert_eq!(percentile(&[7.0], 99.0), Some(7.0));
    }
}
