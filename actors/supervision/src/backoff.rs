//! Restart backoff: exponential, jittered, forgotten after a stable time.
//!
//! The first restart is immediate, because most failures are one-off and a user is waiting; from the second on the
//! delay doubles from `min` to `max`. Jitter keeps actors that failed together from coming back together; it is
//! computed from a seed, the actor's name and the attempt, so that a run with the same seed waits the same times.

use std::time::Duration;

use crate::ActorId;

/// How long to wait before a restart.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::Backoff;
///
/// let delays = [1, 2, 3, 4, 50].map(|restart| Backoff::default().delay(restart));
/// assert_eq!(delays, [0, 100, 200, 400, 30_000].map(Duration::from_millis));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    jitter: f64,
    reset_after: Duration,
}

/// A backoff that cannot work.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::{Backoff, InvalidBackoff};
///
/// let second = Duration::from_secs(1);
/// let backwards = Backoff::try_new(2 * second, second, 0.2, 60 * second);
/// assert_eq!(backwards, Err(InvalidBackoff::MinAboveMax));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// The shortest delay is longer than the longest.
    #[error("the shortest delay of a backoff must not be longer than the longest")]
    MinAboveMax,
    /// The jitter is not a share.
    #[error("the jitter of a backoff must lie between 0 and 1")]
    Jitter,
}

/// Where one child stands in its backoff. Pure: time comes in with each call.
#[derive(Clone, Debug)]
pub(crate) struct Delays {
    backoff: Backoff,
    seed: u64,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Returns a backoff from `min` to `max`, each delay changed by up to ± `jitter` of itself, that starts over
    /// after an incarnation has lived for `reset_after`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::Backoff;
    ///
    /// let second = Duration::from_secs(1);
    /// let slow = Backoff::try_new(second, 300 * second, 0.5, 600 * second)?;
    /// assert_eq!(slow.delay(3), 2 * second);
    /// # Ok::<(), impetus_supervision::InvalidBackoff>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidBackoff`] when `min` is above `max` or `jitter` is outside 0..=1.
    pub fn try_new(
        min: Duration,
        max: Duration,
        jitter: f64,
        reset_after: Duration,
    ) -> Result<Self, InvalidBackoff> {
        if min > max {
            return Err(InvalidBackoff::MinAboveMax);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(InvalidBackoff::Jitter);
        }
        Ok(Self {
            min,
            max,
            jitter,
            reset_after,
        })
    }

    /// Returns the same backoff between other bounds; `None` leaves one as it is.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::Backoff;
    ///
    /// let hasty = Backoff::default().between(None, Some(Duration::from_millis(200)))?;
    /// assert_eq!(hasty.delay(9), Duration::from_millis(200));
    /// # Ok::<(), impetus_supervision::InvalidBackoff>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidBackoff::MinAboveMax`] when the bounds that result contradict each other.
    pub fn between(
        self,
        min: Option<Duration>,
        max: Option<Duration>,
    ) -> Result<Self, InvalidBackoff> {
        let (min, max) = (min.unwrap_or(self.min), max.unwrap_or(self.max));
        Self::try_new(min, max, self.jitter, self.reset_after)
    }

    /// Returns the delay before restart number `restart` in a row (1 = the first, which is immediate), without jitter.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::Backoff;
    ///
    /// assert_eq!(Backoff::default().delay(1), Duration::ZERO);
    /// ```
    pub fn delay(&self, restart: u32) -> Duration {
        let Some(doublings) = restart.checked_sub(2) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

impl Default for Backoff {
    /// 100 ms to 30 s, ± 20%, forgotten after 60 s.
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            jitter: 0.2,
            reset_after: Duration::from_secs(60),
        }
    }
}

// === impl Delays ===

impl Delays {
    pub(crate) fn new(backoff: Backoff, seed: u64, id: &ActorId) -> Self {
        let named = id
            .as_str()
            .bytes()
            .fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
        Self {
            backoff,
            seed: named,
            failures: 0,
        }
    }

    /// Returns how long to wait after an incarnation that lived for `lived` has ended.
    pub(crate) fn next(&mut self, lived: Duration) -> Duration {
        if lived >= self.backoff.reset_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let plain = self.backoff.delay(self.failures);
        // 53 bits make every value in [0, 1) exact.
        let unit = (mix(self.seed ^ u64::from(self.failures)) >> 11) as f64 / (1_u64 << 53) as f64;
        let factor = 1.0 + self.backoff.jitter * (2.0 * unit - 1.0);
        // Only a delay of centuries cannot be expressed; unjittered it is just as good.
        Duration::try_from_secs_f64(plain.as_secs_f64() * factor).unwrap_or(plain)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The output step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delays(min: u64, max: u64, jitter: f64, seed: u64) -> Delays {
        let millis = Duration::from_millis;
        let backoff = Backoff::try_new(millis(min), millis(max), jitter, millis(1000)).unwrap();
        Delays::new(backoff, seed, &ActorId::from("a"))
    }

    proptest! {
        #[test]
        fn a_delay_keeps_within_its_jitter_of_the_plain_one(
            min in 0_u64..1000,
            spread in 0_u64..100_000,
            jitter in 0.0_f64..=1.0,
            seed: u64,
            restarts in 1_u32..80,
        ) {
            let mut delays = delays(min, min + spread, jitter, seed);
            for restart in 1..=restarts {
                let plain = delays.backoff.delay(restart).as_secs_f64();
                let delay = delays.next(Duration::ZERO).as_secs_f64();
                prop_assert!(delay >= plain * (1.0 - jitter) - 1e-6);
                prop_assert!(delay <= plain * (1.0 + jitter) + 1e-6);
            }
        }

        #[test]
        fn plain_delays_start_at_zero_never_shrink_and_reach_the_longest(
            min in 1_u64..1000,
            spread in 0_u64..100_000,
        ) {
            let backoff = delays(min, min + spread, 0.0, 0).backoff;
            prop_assert_eq!(backoff.delay(1), Duration::ZERO);
            prop_assert_eq!(backoff.delay(2), Duration::from_millis(min));
            for restart in 1..80 {
                prop_assert!(backoff.delay(restart) <= backoff.delay(restart + 1));
            }
            prop_assert_eq!(backoff.delay(80), Duration::from_millis(min + spread));
        }
    }

    #[test]
    fn the_same_seed_waits_the_same_times_and_another_waits_others() {
        let sequence = |seed| {
            let mut delays = delays(100, 10_000, 0.2, seed);
            (0..8)
                .map(|_| delays.next(Duration::ZERO))
                .collect::<Vec<_>>()
        };

        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
    }

    #[test]
    fn a_stable_time_starts_the_backoff_over() {
        let mut delays = delays(100, 10_000, 0.0, 0);
        delays.next(Duration::ZERO);
        assert_eq!(
            delays.next(Duration::from_millis(999)),
            Duration::from_millis(100)
        );

        assert_eq!(delays.next(Duration::from_millis(1000)), Duration::ZERO);
    }
}
