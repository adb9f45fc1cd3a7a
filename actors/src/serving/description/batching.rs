//! What a description says about how requests of its model wait, and become batches.
//!
//! Every key is optional; [`BatchPolicy`](crate::serving::BatchPolicy) is what holds when the
//! server's configuration has filled the gaps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units;
use crate::serving::Priority;

/// Most rows that a batch may be asked to have.
const MOST_ROWS: usize = 4096;
/// Most requests that a queue may be asked to hold.
const MOST_WAITING: usize = 1_000_000;
/// The longest that a batch may be asked to wait for its members.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// The longest that a request may be asked to wait for a worker.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How requests for one model wait and become batches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batching {
    /// Most rows in one batch, instead of `models.max_batch`; 1 for no batches.
    pub max_rows: Option<usize>,
    /// How long the oldest request of a batch may wait for others, instead of `models.batch_delay`.
    #[serde(default, with = "units::wait")]
    pub delay: Option<Duration>,
    /// Whether a worker that has nothing to do gets what waits at once, whatever the delay. It does
    /// unless the description states a delay.
    pub adaptive: Option<bool>,
    /// Sizes in rows with which a batch goes at once.
    #[serde(default)]
    pub preferred: Vec<usize>,
    /// How many requests may wait, instead of `models.queue`.
    pub queue: Option<usize>,
    /// What becomes of a request that finds the queue full, instead of `models.when_full`.
    pub when_full: Option<WhenFull>,
    /// How long a request may wait for a worker, instead of `models.queue_timeout`; nothing for any
    /// time.
    #[serde(default, with = "units::wait")]
    pub timeout: Option<Duration>,
    /// What becomes of a request that has waited that long.
    pub timeout_action: Option<TimeoutAction>,
    /// Whether a request may ask for less time than that. It may.
    pub allow_timeout_override: Option<bool>,
    /// How urgent a request is that does not say so.
    pub priority: Option<Priority>,
    /// How many batches in a row urgent requests may lead while others wait; 0 for any number.
    pub high_in_a_row: Option<u32>,
}

/// What becomes of a request that finds the queue full. The words are Triton's for the first and
/// those of queues everywhere for the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is refused, so that those who came first keep their places.
    #[default]
    Reject,
    /// The one that has waited longest among the least urgent makes room for it: its caller is the
    /// likeliest to have given up.
    DropOldest,
}

/// What becomes of a request that has waited for a worker as long as it may. The words are Triton's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutAction {
    /// It is refused.
    #[default]
    Reject,
    /// It is taken when nothing else waits, for as long as its caller does.
    Delay,
}

// === impl Batching ===

impl Batching {
    /// Returns what is wrong with its keys, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let within = |number: Option<usize>, most| number.is_none_or(|n| (1..=most).contains(&n));
        if !within(self.max_rows, MOST_ROWS) {
            return Some(format!("batching.max_rows must be 1 to {MOST_ROWS}"));
        }
        let most = self.max_rows.unwrap_or(MOST_ROWS);
        if !self.preferred.iter().all(|rows| (1..=most).contains(rows)) {
            return Some(format!(
                "batching.preferred must be sizes of 1 to {most} rows"
            ));
        }
        if !within(self.queue, MOST_WAITING) {
            return Some(format!("batching.queue must be 1 to {MOST_WAITING}"));
        }
        if self.delay.is_some_and(|delay| delay > LONGEST_DELAY) {
            return Some("batching.delay must be at most 1m".to_owned());
        }
        if self.timeout.is_some_and(|wait| wait > LONGEST_TIMEOUT) {
            return Some("batching.timeout must be at most 1day".to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::description::Description;

    fn parse(text: &str) -> Description {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_key_of_a_batch_is_read() {
        let description = parse(
            r#"
            [batching]
            max_rows = 16
            delay = "2ms"
            adaptive = true
            preferred = [4, 8]
            queue = 100
            when_full = "drop_oldest"
            timeout = "250ms"
            timeout_action = "delay"
            allow_timeout_override = false
            priority = "high"
            high_in_a_row = 3
            "#,
        );
        let expected = Batching {
            max_rows: Some(16),
            delay: Some(Duration::from_millis(2)),
            adaptive: Some(true),
            preferred: vec![4, 8],
            queue: Some(100),
            when_full: Some(WhenFull::DropOldest),
            timeout: Some(Duration::from_millis(250)),
            timeout_action: Some(TimeoutAction::Delay),
            allow_timeout_override: Some(false),
            priority: Some(Priority::High),
            high_in_a_row: Some(3),
        };
        assert_eq!(description.batching, expected);
        assert_eq!(description.problem(), None);
        let text = toml::to_string(&description).unwrap();
        assert_eq!(parse(&text), description);
    }

    #[test]
    fn a_size_that_no_batch_can_have_is_a_problem_that_names_its_key() {
        let problem = |text: &str| parse(&format!("[batching]\n{text}")).problem();
        assert_eq!(problem("delay = \"0s\"\ntimeout = \"0s\""), None);
        assert!(problem("max_rows = 0").unwrap().contains("max_rows"));
        let too_large = problem("max_rows = 4\npreferred = [2, 8]").unwrap();
        assert!(too_large.contains("preferred"), "{too_large}");
        assert!(problem("queue = 0").unwrap().contains("queue"));
        assert!(problem("delay = \"2m\"").unwrap().contains("delay"));
        assert!(problem("timeout = \"2days\"").unwrap().contains("timeout"));
    }
}
