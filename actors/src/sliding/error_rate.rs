//! From an error rate to a yes or no.
//!
//! A single threshold would flap: a service at its edge would go in and out of its load balancer
//! with every evaluation. So the gate closes above one rate and opens again only under a lower one
//! and after a hold. A closed gate ends the traffic that could prove the service well, so a window
//! that has emptied opens it too; without that it would stay closed for good.

use std::time::Duration;

use super::Tally;

/// When an error rate makes a service unready, and when it makes it ready again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRateRule {
    minimum: u64,
    close_above: f64,
    open_below: f64,
    hold: Duration,
}

/// An [`ErrorRateRule`] that was refused, with the reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid error rate rule: {0}")]
pub struct InvalidErrorRateRule(&'static str);

/// The rule and its last judgement.
///
/// ```
/// # use std::time::Duration;
/// # use impetus_actors::sliding::{ErrorRateGate, ErrorRateRule, Tally};
/// let mut gate = ErrorRateGate::new(ErrorRateRule::default());
/// let bad = Tally { successes: 4, failures: 6 };
/// assert!(!gate.evaluate(bad, Duration::from_secs(1)));
/// assert!(!gate.evaluate(Tally::default(), Duration::from_secs(30)), "held for 30 s");
/// assert!(gate.evaluate(Tally::default(), Duration::from_secs(31)));
/// ```
#[derive(Clone, Debug)]
pub struct ErrorRateGate {
    rule: ErrorRateRule,
    closed_at: Option<Duration>,
}

// === impl ErrorRateRule ===

impl ErrorRateRule {
    /// Returns a rule that closes with at least `minimum` executions and a rate above
    /// `close_above`, and opens under `open_below` once `hold` is over. Rates go from 0 to 1.
    pub fn try_new(
        minimum: u64,
        close_above: f64,
        open_below: f64,
        hold: Duration,
    ) -> Result<Self, InvalidErrorRateRule> {
        if !(0.0..=1.0).contains(&close_above) || !(0.0..=1.0).contains(&open_below) {
            return Err(InvalidErrorRateRule("rates lie between 0 and 1"));
        }
        if open_below > close_above {
            return Err(InvalidErrorRateRule(
                "the gate must open below the rate that closes it",
            ));
        }
        Ok(Self {
            minimum: minimum.max(1),
            close_above,
            open_below,
            hold,
        })
    }
}

impl Default for ErrorRateRule {
    /// Closes above 50% of at least 10 executions, opens under 25% and after 30 s.
    fn default() -> Self {
        Self {
            minimum: 10,
            close_above: 0.5,
            open_below: 0.25,
            hold: Duration::from_secs(30),
        }
    }
}

// === impl ErrorRateGate ===

impl ErrorRateGate {
    /// Returns an open gate.
    pub fn new(rule: ErrorRateRule) -> Self {
        Self {
            rule,
            closed_at: None,
        }
    }

    /// Judges what a window holds at `now` and returns whether the gate is open.
    pub fn evaluate(&mut self, tally: Tally, now: Duration) -> bool {
        let judged = tally
            .error_rate()
            .filter(|_| tally.total() >= self.rule.minimum);
        match self.closed_at {
            None if judged.is_some_and(|rate| rate > self.rule.close_above) => {
                self.closed_at = Some(now);
            }
            Some(since)
                if now.saturating_sub(since) >= self.rule.hold
                    && judged.is_none_or(|rate| rate < self.rule.open_below) =>
            {
                self.closed_at = None;
            }
            _ => {}
        }
        self.is_open()
    }

    /// Returns the last judgement without making a new one.
    pub fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_needs_enough_executions_to_close() {
        let mut gate = ErrorRateGate::new(ErrorRateRule::default());
        assert!(gate.evaluate(
            Tally {
                successes: 0,
                failures: 9
            },
            Duration::ZERO
        ));
        assert!(
            gate.evaluate(
                Tally {
                    successes: 5,
                    failures: 5
                },
                Duration::ZERO
            ),
            "not above"
        );
        assert!(!gate.evaluate(
            Tally {
                successes: 4,
                failures: 6
            },
            Duration::ZERO
        ));
    }

    #[test]
    fn a_closed_gate_opens_under_the_lower_rate_and_after_the_hold() {
        let mut gate = ErrorRateGate::new(ErrorRateRule::default());
        assert!(!gate.evaluate(
            Tally {
                successes: 0,
                failures: 10
            },
            Duration::from_secs(5)
        ));
        let good = Tally {
            successes: 90,
            failures: 10,
        };
        assert!(!gate.evaluate(good, Duration::from_secs(34)), "held");
        let middling = Tally {
            successes: 70,
            failures: 30,
        };
        assert!(
            !gate.evaluate(middling, Duration::from_secs(36)),
            "not yet under 25%"
        );
        assert!(gate.evaluate(good, Duration::from_secs(36)));
        assert!(
            gate.evaluate(middling, Duration::from_secs(37)),
            "30% does not close it again"
        );
    }

    #[test]
    fn a_rule_that_could_not_open_is_refused() {
        let hold = Duration::from_secs(1);
        assert!(ErrorRateRule::try_new(10, 0.2, 0.5, hold).is_err());
        assert!(ErrorRateRule::try_new(10, 1.5, 0.5, hold).is_err());
        assert!(ErrorRateRule::try_new(10, f64::NAN, 0.5, hold).is_err());
    }
}
