//! Statistics out of the tables of counts, whichever database keeps them.

use std::collections::{BTreeMap, HashMap};

use super::latency::{LatencyBucket, Quantiles};
use super::prediction_time::PredictionTime;
use super::query::{GroupStats, HourStats, ModelStats, Stats, StatsErrors};

/// The rows of the tables of counts, as they are read: a group, its predictions, its defects.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Model, number of the bucket, predictions.
    pub(crate) latencies: Vec<(String, i64, i64)>,
    pub(crate) models: Vec<(String, i64, i64)>,
    pub(crate) devices: Vec<(String, i64, i64)>,
    /// Hours since 1970, the newest first.
    pub(crate) hours: Vec<(i64, i64, i64)>,
    /// The times of the oldest and the newest prediction, in milliseconds since 1970.
    pub(crate) span: (Option<i64>, Option<i64>),
}

// === impl Stats ===

impl From<Counts> for Stats {
    fn from(counts: Counts) -> Self {
        let Counts {
            latencies,
            models,
            devices,
            hours,
            span: (first, last),
        } = counts;
        let all = models.iter().fold((0, 0), |(total, defects), group| {
            (
                total + group.1.unsigned_abs(),
                defects + group.2.unsigned_abs(),
            )
        });
        let all = GroupStats::new(all.0, all.1);
        let mut by_model: HashMap<&str, Vec<(LatencyBucket, u64)>> = HashMap::new();
        for (model, bucket, total) in &latencies {
            let bucket = LatencyBucket::from_number(*bucket);
            let buckets = by_model.entry(model).or_default();
            buckets.push((bucket, total.unsigned_abs()));
        }
        let latency_ms = Quantiles::of(by_model.values().flatten().copied());
        let (model_count, device_count) = (models.len(), devices.len());
        let models = largest(models).map(|(model, counts)| {
            let buckets = by_model.get(model.as_str()).cloned().unwrap_or_default();
            let latency_ms = Quantiles::of(buckets);
            (model, ModelStats { counts, latency_ms })
        });
        Self {
            total: all.total,
            defects: all.defects,
            defect_rate: all.defect_rate,
            latency_ms,
            by_model: models.collect(),
            models: model_count,
            by_device: largest(devices).collect::<BTreeMap<_, _>>(),
            devices: device_count,
            by_hour: hours.into_iter().filter_map(hour).collect(),
            errors: StatsErrors::default(),
            first_timestamp: first.and_then(PredictionTime::from_unix_millis),
            last_timestamp: last.and_then(PredictionTime::from_unix_millis),
            // Published by whoever compares.
            drift: None,
        }
    }
}

fn hour((hour, total, defects): (i64, i64, i64)) -> Option<HourStats> {
    let millis = hour.saturating_mul(Stats::HOUR_MILLIS);
    Some(HourStats {
        hour: PredictionTime::from_unix_millis(millis)?,
        counts: GroupStats::new(total.unsigned_abs(), defects.unsigned_abs()),
    })
}

/// Returns the largest groups, those of the same size in the order of their names.
fn largest(mut groups: Vec<(String, i64, i64)>) -> impl Iterator<Item = (String, GroupStats)> {
    if groups.len() > Stats::MAX_GROUPS {
        groups.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        groups.truncate(Stats::MAX_GROUPS);
    }
    let counted = |(name, total, defects): (String, i64, i64)| {
        let counts = GroupStats::new(total.unsigned_abs(), defects.unsigned_abs());
        (name, counts)
    };
    groups.into_iter().map(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_groups_are_listed_by_name_and_all_are_counted() {
        let groups = |name: &str| {
            let group = |size: i64| (format!("{name} {size}"), size, 0);
            (0..1_500).map(group).collect::<Vec<_>>()
        };
        let stats = Stats::from(Counts {
            models: groups("model"),
            devices: groups("device"),
            ..Counts::default()
        });
        assert_eq!((stats.models, stats.devices), (1_500, 1_500));
        assert_eq!(
            (stats.by_model.len(), stats.by_device.len()),
            (1_000, 1_000)
        );
        assert!(stats.by_device.contains_key("device 500"));
        assert!(!stats.by_device.contains_key("device 499"));
        assert_eq!(stats.total, (0..1_500).sum::<u64>());
    }
}
