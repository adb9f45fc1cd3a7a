//! What is kept no longer.
//!
//! Rows leave from the oldest on, by the time of their commit and not by their own: a device whose
//! clock says 1970 must not lose what it logged a minute ago. They leave in pieces, so that no
//! batch waits long for a removal, and their share of the counts leaves with them.

use std::time::Duration;

use super::config::{DriftSettings, PredictionLogConfig};
use super::store::Removal;

/// Rows of one piece: some tens of milliseconds of work.
const PIECE: u32 = 2_000;

/// Length of the slots that drift is counted by, in milliseconds.
pub(super) const SLOT_MILLIS: i64 = 600_000;

/// Returns which rows are to be removed next, when `used` bytes hold rows at `now` milliseconds
/// since 1970.
pub(crate) fn due(config: &PredictionLogConfig, used: u64, now: i64) -> Option<Removal> {
    let (keep_for, keep_bytes) = match &config.sink {
        // What waits for its sink is not the log that is kept.
        Some(sink) => (sink.max_age, None),
        None => (config.retention.keep_for, config.retention.keep_bytes),
    };
    let by_size = keep_bytes.is_some_and(|bytes| used > bytes);
    let created_before = keep_for.map(|keep_for| now.saturating_sub(millis(keep_for)));
    (by_size || created_before.is_some()).then_some(Removal {
        created_before: created_before.filter(|_| !by_size),
        limit: PIECE,
    })
}

// === impl DriftSettings ===

impl DriftSettings {
    /// Returns the first slot that is still of use at `now` milliseconds since 1970.
    pub(crate) fn oldest_slot(&self, now: i64) -> i64 {
        let span = millis(self.window).saturating_add(millis(self.reference));
        now.saturating_sub(span).div_euclid(SLOT_MILLIS) - 1
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predlog::config::{ImpetusSettings, Retention, SinkSettings, SinkTarget};

    fn config(change: impl FnOnce(&mut PredictionLogConfig)) -> PredictionLogConfig {
        let mut config = PredictionLogConfig::in_folder("/data");
        change(&mut config);
        config
    }

    #[test]
    fn all_is_kept_unless_something_is_said() {
        assert!(due(&config(|_| {}), u64::MAX, i64::MAX).is_none());
    }

    #[test]
    fn age_removes_what_is_older_and_size_whatever_is_oldest() {
        let config = config(|config| {
            config.retention = Retention {
                keep_for: Some(Duration::from_secs(10)),
                keep_bytes: Some(1_000),
            };
        });
        let by_age = due(&config, 1_000, 25_000).expect("an age is said");
        assert_eq!(by_age.created_before, Some(15_000));
        let by_size = due(&config, 1_001, 25_000).expect("it is too large");
        assert_eq!(by_size.created_before, None);
    }

    #[test]
    fn what_waits_for_a_sink_is_removed_by_nothing_but_its_own_age() {
        let mut config = config(|config| {
            config.retention = Retention {
                keep_for: Some(Duration::from_secs(1)),
                keep_bytes: Some(1),
            };
            config.sink = Some(SinkSettings {
                target: SinkTarget::Impetus(ImpetusSettings {
                    url: "http://127.0.0.1:1".into(),
                    ca_file: None,
                    batch: 32,
                    batch_timeout: Duration::from_secs(10),
                }),
                within: Duration::from_secs(30),
                retries: 3,
                retry_after: Duration::from_secs(1),
                cool_down: Duration::from_secs(5),
                max_backlog: 1,
                max_age: None,
            });
        });
        assert!(due(&config, u64::MAX, i64::MAX).is_none());
        let sink = config.sink.as_mut().expect("it was just set");
        sink.max_age = Some(Duration::from_secs(5));
        let removal = due(&config, u64::MAX, 25_000).expect("an age is said");
        assert_eq!(removal.created_before, Some(20_000));
    }
}
