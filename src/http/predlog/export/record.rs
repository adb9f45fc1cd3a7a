//! A prediction as a row of a table: the fields of the contract, each in a column of its own.

use impetus_actors::predlog::PredictionTime;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::encoder::EncodeError;

/// One row. What a sender added to the contract is not in it.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    #[serde(default)]
    pub(super) id: Option<String>,
    pub(super) image_id: String,
    #[cfg_attr(
        not(feature = "parquet"),
        expect(dead_code, reason = "only Parquet has times that are no text")
    )]
    pub(super) timestamp: PredictionTime,
    pub(super) edge_device_id: String,
    pub(super) model_name: String,
    pub(super) model_version: String,
    pub(super) inference_time_ms: f64,
    pub(super) defect_detected: bool,
    detections: Vec<Value>,
    confidence_scores: Value,
    pub(super) processing_notes: Option<String>,
    #[cfg_attr(
        not(feature = "parquet"),
        expect(dead_code, reason = "only Parquet has times that are no text")
    )]
    pub(super) logged_at: PredictionTime,
}

// === impl Record ===

impl Record {
    /// The columns, in their order.
    pub(super) const COLUMNS: [&str; 14] = [
        "id",
        "image_id",
        "timestamp",
        "edge_device_id",
        "model_name",
        "model_version",
        "inference_time_ms",
        "defect_detected",
        "class",
        "confidence",
        "detections",
        "confidence_scores",
        "processing_notes",
        "logged_at",
    ];

    /// Returns the row of a prediction as the log gives it back.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn of(prediction: &Map<String, Value>) -> Result<Self, EncodeError> {
        Ok(Self::deserialize(prediction)?)
    }

    /// Returns the class that the model is surest of, the first of several, and how sure it is.
    pub(super) fn surest(&self) -> Option<(&str, f64)> {
        let found = self.detections.iter().filter_map(|detection| {
            let class = detection["class"].as_str()?;
            Some((class, detection["confidence"].as_f64()?))
        });
        found.reduce(|surest, next| if next.1 > surest.1 { next } else { surest })
    }

    /// Returns the detections as JSON.
    pub(super) fn detections(&self) -> Result<String, EncodeError> {
        Ok(serde_json::to_string(&self.detections)?)
    }

    /// Returns the confidences as JSON, if there are any.
    pub(super) fn confidence_scores(&self) -> Result<Option<String>, EncodeError> {
        Ok(match &self.confidence_scores {
            Value::Null => None,
            scores => Some(serde_json::to_string(scores)?),
        })
    }
}
