//! What one prediction becomes in the table.

use std::sync::Arc;

use super::key::PredictionKey;
use super::latency::LatencyBucket;
use super::prediction::{Label, Prediction};

/// One row to be written: the columns that are searched or counted, and the prediction itself as
/// JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub(crate) key: PredictionKey,
    /// Whether the key is made of a name that the sender gave.
    pub(crate) named: bool,
    pub(crate) device: Arc<str>,
    pub(crate) model_name: Arc<str>,
    pub(crate) model_version: Arc<str>,
    /// The prediction's own time, in milliseconds since 1970.
    pub(crate) taken_at: i64,
    pub(crate) defect_detected: bool,
    pub(crate) latency: LatencyBucket,
    /// The class that the model is surest of, if it found any.
    pub(crate) class: Option<Arc<str>>,
    /// How sure, in twentieths: 0 to 19.
    pub(crate) confidence: Option<i64>,
    pub(crate) body: Arc<str>,
}

/// A row as it lies in the file, on its way to a sink.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Landed {
    /// Its number: later rows have larger ones.
    pub(crate) seq: i64,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) created_at: i64,
    pub(crate) row: Row,
}

// === impl Row ===

impl Row {
    /// Into so many parts confidences are sorted.
    pub(crate) const CONFIDENCES: i64 = 20;

    /// Returns the row of the prediction at `index` in a batch of `device`, whose JSON is `body`.
    pub(crate) fn new(device: &Label, index: usize, prediction: &Prediction, body: &str) -> Self {
        let key = PredictionKey::of(device, prediction, index);
        Self::with_key(key, device, prediction, body)
    }

    /// The same for a prediction whose key was made elsewhere.
    pub(crate) fn with_key(
        key: PredictionKey,
        device: &Label,
        prediction: &Prediction,
        body: &str,
    ) -> Self {
        let surest = prediction.surest();
        Self {
            key,
            named: prediction.id.is_some(),
            device: device.shared(),
            model_name: prediction.model_name.shared(),
            model_version: prediction.model_version.shared(),
            taken_at: prediction.timestamp.unix_millis(),
            defect_detected: prediction.defect_detected,
            latency: LatencyBucket::of(prediction.inference_time_ms.get()),
            class: surest.map(|found| found.class.shared()),
            confidence: surest.map(|found| twentieth(found.confidence.get())),
            body: Arc::from(body),
        }
    }

    /// Returns about how much memory the row holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.model_name.len() + self.model_version.len()
    }
}

/// Returns in which part of 0 to 1 a confidence lies; what lies outside counts to the nearest.
pub(crate) fn twentieth(confidence: f64) -> i64 {
    let part = (confidence * Row::CONFIDENCES as f64).floor() as i64;
    part.clamp(0, Row::CONFIDENCES - 1)
}
