//! Restart intensity: how often a child may be restarted before its supervisor stops believing in it.
//!
//! The count slides: it is the number of restarts within the last `within`, not within fixed buckets, so a burst
//! across a bucket's edge is seen. After Erlang/OTP's `intensity` and `period`, but counted per child.

use std::collections::VecDeque;
use std::time::Duration;

/// At most so many restarts within so long.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::Intensity;
///
/// let default = Intensity::default();
/// assert_eq!((default.restarts(), default.within()), (5, Duration::from_secs(30)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    restarts: u32,
    within: Duration,
}

/// A restart intensity that cannot work.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::{Intensity, InvalidIntensity};
///
/// assert_eq!(Intensity::try_new(3, Duration::ZERO), Err(InvalidIntensity));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the period of a restart intensity must be longer than zero")]
pub struct InvalidIntensity;

/// The restarts that still count. Pure: time comes in with each call.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    intensity: Intensity,
    charged: VecDeque<Duration>,
}

// === impl Intensity ===

impl Intensity {
    /// Returns an intensity of `restarts` (0 = none at all) within `within`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::Intensity;
    ///
    /// let patient = Intensity::try_new(20, Duration::from_secs(600))?;
    /// assert_eq!(patient.restarts(), 20);
    /// # Ok::<(), impetus_supervision::InvalidIntensity>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidIntensity`] when `within` is zero: nothing would ever be counted.
    pub fn try_new(restarts: u32, within: Duration) -> Result<Self, InvalidIntensity> {
        if within.is_zero() {
            return Err(InvalidIntensity);
        }
        Ok(Self { restarts, within })
    }

    /// Returns how many restarts are allowed within the period.
    ///
    /// ```
    /// assert_eq!(impetus_supervision::Intensity::default().restarts(), 5);
    /// ```
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Returns the period.
    ///
    /// ```
    /// assert_eq!(impetus_supervision::Intensity::default().within().as_secs(), 30);
    /// ```
    pub fn within(&self) -> Duration {
        self.within
    }
}

impl Default for Intensity {
    /// 5 restarts in 30 s.
    fn default() -> Self {
        Self {
            restarts: 5,
            within: Duration::from_secs(30),
        }
    }
}

// === impl Window ===

impl Window {
    pub(crate) fn new(intensity: Intensity) -> Self {
        Self {
            intensity,
            charged: VecDeque::new(),
        }
    }

    /// Charges one restart at `now` and returns true if it is still within the intensity.
    pub(crate) fn charge(&mut self, now: Duration) -> bool {
        let still_counts = |at: &Duration| now.saturating_sub(*at) < self.intensity.within;
        while self.charged.front().is_some_and(|at| !still_counts(at)) {
            self.charged.pop_front();
        }
        if self.charged.len() >= self.intensity.restarts as usize {
            return false;
        }
        self.charged.push_back(now);
        true
    }

    pub(crate) fn reset(&mut self) {
        self.charged.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_period_ever_holds_more_accepted_restarts_than_allowed(
            allowed in 0_u32..6,
            period in 1_u64..50,
            steps in prop::collection::vec(0_u64..20, 1..200),
        ) {
            let within = Duration::from_millis(period);
            let mut window = Window::new(Intensity::try_new(allowed, within).unwrap());
            let mut accepted = Vec::new();
            let mut now = 0;
            for step in steps {
                now += step;
                let recent = accepted.iter().filter(|at| now - **at < period).count();
                let granted = window.charge(Duration::from_millis(now));
                // Neither one too many nor one too few.
                prop_assert_eq!(granted, recent < allowed as usize);
                if granted {
                    accepted.push(now);
                }
            }
        }
    }
}
