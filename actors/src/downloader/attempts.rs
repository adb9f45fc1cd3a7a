//! When a download that has failed is tried again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use impetus_supervision::Backoff;

/// The failures of every model since it was last fetched.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    failures: Mutex<BTreeMap<String, Failure>>,
}

#[derive(Debug)]
struct Failure {
    /// The version that was to be fetched; `None` for whichever it is.
    key: Option<String>,
    in_a_row: u32,
    /// When it may be tried again; never by itself where it was cancelled.
    not_before: Option<Duration>,
    reason: String,
    /// Whether somebody has asked for it since.
    asked: bool,
}

// === impl Attempts ===

impl Attempts {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failures: Mutex::default(),
        }
    }

    /// Tells whether a version may be fetched now.
    pub(super) fn is_due(&self, name: &str, key: &str, now: Duration) -> bool {
        self.failures().get(name).is_none_or(|failure| {
            failure.asked
                || failure.key.as_ref().is_some_and(|failed| failed != key)
                || failure
                    .not_before
                    .is_some_and(|not_before| now >= not_before)
        })
    }

    /// Tells whether somebody has asked for a model since it failed.
    pub(super) fn is_asked(&self, name: &str) -> bool {
        self.failures()
            .get(name)
            .is_some_and(|failure| failure.asked)
    }

    pub(super) fn succeeded(&self, name: &str) {
        self.failures().remove(name);
    }

    pub(super) fn failed(&self, name: &str, key: &str, reason: &str, now: Duration) {
        let mut failures = self.failures();
        let before = failures
            .get(name)
            .filter(|failure| failure.key.as_deref() == Some(key));
        let in_a_row = before.map_or(0, |failure| failure.in_a_row) + 1;
        // The first restart of an actor is immediate; this has just failed.
        let pause = self.backoff.delay(in_a_row + 1);
        failures.insert(
            name.to_owned(),
            Failure {
                key: Some(key.to_owned()),
                in_a_row,
                not_before: Some(now + pause),
                reason: reason.to_owned(),
                asked: false,
            },
        );
    }

    /// Has a version wait until somebody asks for it.
    pub(super) fn hold(&self, name: &str, key: Option<&str>, reason: &str) {
        self.failures().insert(
            name.to_owned(),
            Failure {
                key: key.map(str::to_owned),
                in_a_row: 0,
                not_before: None,
                reason: reason.to_owned(),
                asked: false,
            },
        );
    }

    /// Notes that somebody asks for a model: it is tried at once.
    pub(super) fn ask(&self, name: &str) {
        if let Some(failure) = self.failures().get_mut(name) {
            failure.asked = true;
        }
    }

    /// Returns the models that could not be fetched, and why.
    pub(super) fn failing(&self) -> Vec<(String, String)> {
        let failures = self.failures();
        let failing = failures.iter().filter(|(_, failure)| failure.in_a_row > 0);
        failing
            .map(|(name, failure)| (name.clone(), failure.reason.clone()))
            .collect()
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn attempts() -> Attempts {
        let hour = secs(3600);
        Attempts::new(Backoff::try_new(secs(1), secs(4), 0.0, hour).unwrap())
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_another_version_does_not_wait() {
        let attempts = attempts();
        let mut now = secs(100);
        for pause in [1, 2, 4, 4, 4] {
            assert!(attempts.is_due("m", "3", now));
            attempts.failed("m", "3", "no", now);
            assert!(!attempts.is_due("m", "3", now + secs(pause) - Duration::from_millis(1)));
            assert!(attempts.is_due("m", "4", now));
            now += secs(pause);
        }
        assert_eq!(attempts.failing(), [("m".to_owned(), "no".to_owned())]);
        attempts.succeeded("m");
        assert!(attempts.failing().is_empty());
    }

    #[test]
    fn what_was_cancelled_waits_until_it_is_asked_for() {
        let attempts = attempts();
        attempts.hold("m", Some("3"), "cancelled");
        assert!(!attempts.is_due("m", "3", secs(1_000_000)));
        assert!(attempts.failing().is_empty());
        attempts.ask("m");
        assert!(attempts.is_due("m", "3", secs(0)));
    }
}
