//! When memory counts as used up.
//!
//! One threshold would flap: a server at 95% that is taken out of its load balancer falls to 94%,
//! comes back, and goes out again. So there are two, and between them the last judgement stands.

/// The two thresholds, in percent of the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryRule {
    exhausted_from: f64,
    available_under: f64,
}

/// A [`MemoryRule`] that was refused, with the reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid memory rule: {0}")]
pub struct InvalidMemoryRule(&'static str);

/// The rule and its last judgement.
#[derive(Clone, Debug)]
pub struct MemoryGate {
    rule: MemoryRule,
    available: bool,
}

// === impl MemoryRule ===

impl MemoryRule {
    /// Returns a rule by which memory is used up from `exhausted_from` percent and available again
    /// under `available_under` percent.
    pub fn try_new(exhausted_from: f64, available_under: f64) -> Result<Self, InvalidMemoryRule> {
        let is_percentage = |value: f64| value > 0.0 && value <= 100.0;
        if !is_percentage(exhausted_from) || !is_percentage(available_under) {
            return Err(InvalidMemoryRule(
                "thresholds lie above 0 and up to 100 percent",
            ));
        }
        if available_under > exhausted_from {
            return Err(InvalidMemoryRule(
                "memory must be available below where it is used up",
            ));
        }
        Ok(Self {
            exhausted_from,
            available_under,
        })
    }
}

impl Default for MemoryRule {
    /// Used up from 95%, available again under 90%.
    fn default() -> Self {
        Self {
            exhausted_from: 95.0,
            available_under: 90.0,
        }
    }
}

// === impl MemoryGate ===

impl MemoryGate {
    /// Returns a gate by which memory is available until a reading says otherwise.
    pub fn new(rule: MemoryRule) -> Self {
        Self {
            rule,
            available: true,
        }
    }

    /// Judges a reading in percent and returns whether memory is available.
    pub fn evaluate(&mut self, percent: f64) -> bool {
        if percent >= self.rule.exhausted_from {
            self.available = false;
        } else if percent < self.rule.available_under {
            self.available = true;
        }
        self.available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's numbers: false from 95%, true again under 90%, unchanged in between.
    #[test]
    fn memory_is_used_up_from_one_threshold_and_available_under_the_other() {
        let mut gate = MemoryGate::new(MemoryRule::default());
        let readings = [94.9, 95.0, 92.0, 90.0, 89.9, 94.9];
        let judgements: Vec<_> = readings
            .iter()
            .map(|&percent| gate.evaluate(percent))
            .collect();
        assert_eq!(judgements, [true, false, false, false, true, true]);
    }

    #[test]
    fn thresholds_out_of_order_or_range_are_refused() {
        assert!(MemoryRule::try_new(90.0, 95.0).is_err());
        assert!(MemoryRule::try_new(101.0, 95.0).is_err());
        assert!(MemoryRule::try_new(95.0, 0.0).is_err());
        assert!(MemoryRule::try_new(f64::NAN, 90.0).is_err());
    }
}
