//! How requests for one model wait and become batches: what holds, with every gap filled.
//!
//! **Delay.** Without one nothing is held back: a worker that has room takes what waits, and while
//! all of them are busy batches fill by themselves. With one, a batch goes when it is full, when it
//! has a preferred size, or when the oldest request in it has waited that long. A policy that is
//! *adaptive* also sends it to a worker that has nothing else to do: waiting for company would cost
//! time there and save none.
//!
//! **Priorities.** An urgent request leads a batch before one that is not, but only so many times in
//! a row while others wait. The bound counts batches and not time: under a flood of urgent requests
//! all the others would be old soon, and a bound of age would let them pass all at once.

use std::time::{Duration, Instant};

use super::description::{Description, TimeoutAction, WhenFull};
use super::{Priority, Request, ServingLimits};

/// How many batches urgent requests lead in a row while others wait, where nobody says otherwise:
/// the others have a ninth of the batches at least.
const HIGH_IN_A_ROW: u32 = 8;

/// How requests for one model wait and become batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Most rows in one batch; a request that has more goes alone.
    pub max_rows: usize,
    /// How long the oldest request of a batch may wait for others.
    pub delay: Duration,
    /// Whether a worker that has nothing to do gets what waits at once, whatever the delay.
    pub adaptive: bool,
    /// Sizes in rows with which a batch goes at once, the smallest first.
    pub preferred: Vec<usize>,
    /// How many requests may wait.
    pub queue: usize,
    /// What becomes of a request that finds the queue full.
    pub when_full: WhenFull,
    /// How long a request may wait for a worker; `None` for as long as its caller does.
    pub timeout: Option<Duration>,
    /// What becomes of a request that has waited that long.
    pub timeout_action: TimeoutAction,
    /// Whether a request may ask for less time than that.
    pub allow_timeout_override: bool,
    /// How urgent a request is that does not say so.
    pub priority: Priority,
    /// How many batches in a row urgent requests may lead while others wait; 0 for any number.
    pub high_in_a_row: u32,
}

/// What holds for models whose descriptions do not say otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchDefaults {
    /// How long the oldest request of a batch may wait for others.
    pub delay: Duration,
    /// How long a request may wait for a worker; nothing for as long as its caller does.
    pub timeout: Duration,
    /// What becomes of a request that finds the queue full.
    pub when_full: WhenFull,
}

/// On which terms a request waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// When it began to wait.
    pub(super) since: Instant,
    pub(super) priority: Priority,
    /// When a worker is to have taken it.
    pub(super) take_by: Option<Instant>,
}

// === impl BatchPolicy ===

impl BatchPolicy {
    /// Returns what holds for a model that is served within these limits, its own.
    pub(super) fn of(description: &Description, limits: &ServingLimits) -> Self {
        let (own, defaults) = (&description.batching, &limits.batching);
        let max_rows = limits.max_batch;
        let timeout = own.timeout.unwrap_or(defaults.timeout);
        let mut preferred = own.preferred.clone();
        preferred.retain(|rows| *rows <= max_rows);
        preferred.sort_unstable();
        preferred.dedup();
        Self {
            max_rows,
            delay: own.delay.unwrap_or(defaults.delay),
            adaptive: own.adaptive.unwrap_or(own.delay.is_none()),
            preferred,
            queue: limits.queue,
            when_full: own.when_full.unwrap_or(defaults.when_full),
            timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
            timeout_action: own.timeout_action.unwrap_or_default(),
            allow_timeout_override: own.allow_timeout_override.unwrap_or(true),
            priority: own.priority.unwrap_or_default(),
            high_in_a_row: own.high_in_a_row.unwrap_or(HIGH_IN_A_ROW),
        }
    }

    /// Returns what holds where requests never share a batch.
    pub(super) fn without_batches(mut self) -> Self {
        self.max_rows = 1;
        self.preferred.clear();
        self
    }

    /// Returns the terms on which a request waits from `now` on. It may ask for less time than the
    /// model gives, and never gets more.
    pub(super) fn terms(&self, request: &Request, now: Instant) -> Terms {
        let own = request
            .queue_timeout
            .filter(|_| self.allow_timeout_override);
        let timeout = match (own, self.timeout) {
            (Some(own), Some(timeout)) => Some(own.min(timeout)),
            (own, timeout) => own.or(timeout),
        };
        Terms {
            since: now,
            priority: request.priority.unwrap_or(self.priority),
            // One that lies beyond all clocks is none.
            take_by: timeout.and_then(|timeout| now.checked_add(timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::Protocol;
    use crate::serving::testing::limits;

    fn policy(text: &str) -> BatchPolicy {
        let limits = ServingLimits {
            max_batch: 8,
            batching: BatchDefaults {
                delay: Duration::from_millis(5),
                ..BatchDefaults::default()
            },
            ..limits()
        };
        BatchPolicy::of(&toml::from_str(text).unwrap(), &limits)
    }

    #[test]
    fn a_delay_of_the_servers_is_adaptive_and_one_that_the_model_states_is_meant() {
        let policy_of_none = policy("");
        assert!(policy_of_none.adaptive);
        assert_eq!(policy_of_none.delay, Duration::from_millis(5));
        assert!(!policy("batching.delay = \"1ms\"").adaptive);
        assert!(policy("batching = { delay = \"1ms\", adaptive = true }").adaptive);
    }

    #[test]
    fn preferred_sizes_are_in_order_and_none_exceeds_the_largest_batch() {
        let preferred = policy("batching.preferred = [8, 2, 16, 2]").preferred;
        assert_eq!(preferred, [2, 8]);
    }

    #[test]
    fn a_request_may_ask_for_less_time_and_gets_no_more() {
        let now = Instant::now();
        let take_by = |policy: BatchPolicy, own: Option<Duration>| {
            let mut request = Request::new(Vec::new(), now, Protocol::V2Rest);
            request.queue_timeout = own;
            policy.terms(&request, now).take_by
        };
        let millis = |policy: BatchPolicy, own: Option<u64>| {
            let at = take_by(policy, own.map(Duration::from_millis));
            at.map(|at| (at - now).as_millis())
        };
        let stated = || policy("batching.timeout = \"100ms\"");
        assert_eq!(millis(stated(), None), Some(100));
        assert_eq!(millis(stated(), Some(30)), Some(30));
        assert_eq!(millis(stated(), Some(300)), Some(100));
        assert_eq!(millis(policy(""), None), None);
        assert_eq!(millis(policy(""), Some(30)), Some(30));
        let fixed = "batching = { timeout = \"100ms\", allow_timeout_override = false }";
        assert_eq!(millis(policy(fixed), Some(30)), Some(100));
        let beyond_all_clocks = Some(Duration::MAX);
        assert_eq!(take_by(policy(""), beyond_all_clocks), None);
    }

    #[test]
    fn a_request_is_as_urgent_as_it_says_and_otherwise_as_the_model_does() {
        let now = Instant::now();
        let mut request = Request::new(Vec::new(), now, Protocol::V2Rest);
        let high = policy("batching.priority = \"high\"");
        assert_eq!(high.terms(&request, now).priority, Priority::High);
        request.priority = Some(Priority::Normal);
        assert_eq!(high.terms(&request, now).priority, Priority::Normal);
        assert_eq!(policy("").terms(&request, now).priority, Priority::Normal);
    }
}
