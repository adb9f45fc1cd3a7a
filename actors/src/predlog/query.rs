//! What may be asked of the log, and what comes back.
//!
//! Pages go from the newest prediction back. Many predictions share a millisecond, so a place in
//! the order is a time and the number of the row; a cursor holds both. It means nothing to its
//! holder and stays valid however much is logged meanwhile: pages that follow each other neither
//! repeat a row nor leave one out that was there when the first was read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::drift::Drift;
use super::error::ReadError;
use super::latency::Quantiles;
use super::prediction::{Label, Prediction};
use super::prediction_time::PredictionTime;

/// Which predictions to return.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The most predictions in one page, 1 to 1000; 100 when not given.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Only those of this device.
    pub edge_device_id: Option<String>,
    /// Only those that found a defect.
    pub defect_only: bool,
    /// Only those of this model, by name.
    pub model: Option<String>,
    /// Only those that were made then or later, by their own time to the millisecond.
    pub from: Option<PredictionTime>,
    /// Only those that were made before, by their own time to the millisecond.
    pub to: Option<PredictionTime>,
}

/// Some predictions, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PredictionsPage)]
pub struct Page {
    /// Each prediction as it was logged, with its device and the time of its commit.
    #[schema(value_type = Vec<LoggedPrediction>)]
    pub predictions: Vec<Map<String, Value>>,
    /// Where the next page begins, nothing at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A prediction as it is read back: the sender's own fields, those that the contract does not know included.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LoggedPrediction {
    /// What was logged.
    #[serde(flatten)]
    pub prediction: Prediction,
    /// The device whose batch it came in.
    pub edge_device_id: Label,
    /// When it was committed.
    pub logged_at: PredictionTime,
    /// Of a prediction that this server made itself: how the request came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// And the id of that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What the log holds, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = PredictionStats)]
pub struct Stats {
    /// Predictions.
    pub total: u64,
    /// Predictions that found a defect.
    pub defects: u64,
    /// Defects ÷ predictions, 0 when there are none.
    pub defect_rate: f64,
    /// How long the models took; nothing when there are no predictions.
    #[schema(required)]
    pub latency_ms: Option<Quantiles>,
    /// The same by name of the model, the 1000 largest.
    pub by_model: BTreeMap<String, ModelStats>,
    /// The number of models.
    pub models: usize,
    /// Counts by device, the 1000 largest.
    pub by_device: BTreeMap<String, GroupStats>,
    /// The number of devices.
    pub devices: usize,
    /// Counts by the hour in which the predictions were made, the newest 168 hours that have any,
    /// the newest first.
    pub by_hour: Vec<HourStats>,
    /// The time of the oldest prediction.
    #[schema(required)]
    pub first_timestamp: Option<PredictionTime>,
    /// The time of the newest prediction.
    #[schema(required)]
    pub last_timestamp: Option<PredictionTime>,
    /// What went wrong since this server started; in the log itself there are only predictions.
    pub errors: StatsErrors,
    /// Whether what models say changes, by name of the model, for those with enough predictions to
    /// tell; nothing when drift is not watched.
    #[schema(required)]
    pub drift: Option<Arc<BTreeMap<String, Drift>>>,
}

/// What went wrong since a server started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ToSchema)]
#[schema(as = PredictionErrors)]
pub struct StatsErrors {
    /// Batches that were not logged because the database failed; their senders were told.
    pub batches_failed: u64,
    /// Batches that were refused without an attempt; their senders were told.
    pub batches_refused: u64,
    /// Predictions of this server that were answered and not logged.
    pub predictions_dropped: u64,
    /// Predictions that waited too long for their sink and were given up.
    pub predictions_expired: u64,
    /// Predictions that their sink will never take.
    pub predictions_refused_by_sink: u64,
}

/// Counts of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ModelStats {
    /// Its predictions and defects.
    #[serde(flatten)]
    pub counts: GroupStats,
    /// How long it took.
    #[schema(required)]
    pub latency_ms: Option<Quantiles>,
}

/// Counts of one device, or of another part of all predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct GroupStats {
    /// Predictions.
    pub total: u64,
    /// Predictions that found a defect.
    pub defects: u64,
    /// Defects ÷ predictions.
    pub defect_rate: f64,
}

/// Counts of one hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct HourStats {
    /// When the hour began.
    pub hour: PredictionTime,
    /// What was predicted in it.
    #[serde(flatten)]
    pub counts: GroupStats,
}

/// A place between two rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cursor {
    pub(crate) taken_at: i64,
    pub(crate) seq: i64,
}

// === impl Query ===

impl Query {
    /// The size of a page when none is asked for.
    pub const DEFAULT_LIMIT: u32 = 100;
    /// The largest page.
    pub const MAX_LIMIT: u32 = 1000;

    pub(crate) fn checked_limit(&self) -> Result<u32, ReadError> {
        let limit = self.limit.unwrap_or(Self::DEFAULT_LIMIT);
        if (1..=Self::MAX_LIMIT).contains(&limit) {
            Ok(limit)
        } else {
            Err(ReadError::InvalidLimit {
                max: Self::MAX_LIMIT,
            })
        }
    }

    pub(crate) fn checked_cursor(&self) -> Result<Option<Cursor>, ReadError> {
        self.cursor.as_deref().map(Cursor::parse).transpose()
    }
}

// === impl Stats ===

impl Stats {
    /// The most models and devices that are listed by name.
    pub const MAX_GROUPS: usize = 1000;
    /// The most hours that are listed: a week of them.
    pub const MAX_HOURS: usize = 168;
    /// An hour, in milliseconds.
    pub(crate) const HOUR_MILLIS: i64 = 3_600_000;
}

// === impl GroupStats ===

impl GroupStats {
    /// Returns these counts with their rate.
    pub(crate) fn new(total: u64, defects: u64) -> Self {
        let defect_rate = match total {
            0 => 0.0,
            total => defects as f64 / total as f64,
        };
        Self {
            total,
            defects,
            defect_rate,
        }
    }
}

// === impl Cursor ===

impl Cursor {
    fn parse(text: &str) -> Result<Self, ReadError> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = is_hex
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        let bits = bits.ok_or(ReadError::InvalidCursor)?;
        Ok(Self {
            taken_at: (bits >> 64) as u64 as i64,
            seq: bits as u64 as i64,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.taken_at, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(taken_at: i64, seq: i64) {
            let cursor = Cursor { taken_at, seq };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }

        #[test]
        fn text_that_is_no_cursor_is_refused(text in ".{0,40}") {
            let looks_right = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(Cursor::parse(&text).is_ok(), looks_right);
        }
    }
}
