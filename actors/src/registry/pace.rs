//! How often something may be done: a bucket that fills evenly.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// A bound on calls in a minute.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    a_minute: f64,
    left: f64,
    at: Duration,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(a_minute: u32) -> Self {
        let a_minute = f64::from(a_minute.max(1));
        Self {
            a_minute,
            left: a_minute,
            at: Duration::ZERO,
        }
    }

    /// Tells whether a call may be made now.
    pub(super) fn allows(&mut self, now: Duration) -> bool {
        let since = now.saturating_sub(self.at).as_secs_f64() / MINUTE.as_secs_f64();
        self.left = (self.left + since * self.a_minute).min(self.a_minute);
        self.at = now;
        self.left >= 1.0
    }

    /// Counts calls that were made. What is one call too many is made up for before the next one.
    pub(super) fn spent(&mut self, calls: u64) {
        self.left -= calls as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(pace: &mut Pace, at: u64) -> bool {
        let allowed = pace.allows(Duration::from_secs(at));
        if allowed {
            pace.spent(1);
        }
        allowed
    }

    #[test]
    fn a_minutes_calls_may_be_made_at_once_and_then_evenly() {
        let mut pace = Pace::new(60);
        assert_eq!((0..100).filter(|_| call(&mut pace, 0)).count(), 60);
        assert!(call(&mut pace, 1));
        assert!(!call(&mut pace, 1));
    }

    #[test]
    fn what_took_more_calls_than_there_were_is_made_up_for() {
        let mut pace = Pace::new(10);
        assert!(call(&mut pace, 0));
        pace.spent(19);
        assert!(!call(&mut pace, 59));
        assert!(call(&mut pace, 67));
        assert!(!call(&mut pace, 67));
    }
}
