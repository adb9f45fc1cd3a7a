//! A warning that is not repeated with every request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Lets through one warning in a while.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// When the next one may come, in milliseconds of the clock.
    next: AtomicU64,
}

// === impl Pause ===

impl Pause {
    const WHILE: Duration = Duration::from_secs(10);

    /// Tells whether a warning may be given at `now`. Of several that ask at once one may.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        millis(now) >= next
            && self
                .next
                .compare_exchange(
                    next,
                    millis(now + Self::WHILE),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_warnings_one_in_a_while_is_given() {
        let pause = Pause::default();
        let seconds = [0, 0, 5, 9, 10, 11, 25];
        let given = seconds.map(|second| pause.is_over(Duration::from_secs(second)));
        assert_eq!(given, [true, false, false, false, true, false, true]);
    }
}
