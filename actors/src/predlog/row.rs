//! What one prediction becomes in the table.

use std::sync::Arc;

use super::key::PredictionKey;
use super::prediction::{Label, Prediction};

/// One row to be written: the columns that are searched, and the prediction itself as JSON.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) key: PredictionKey,
    pub(crate) device: Arc<str>,
    pub(crate) model_name: Arc<str>,
    pub(crate) model_version: Arc<str>,
    /// The prediction's own time, in milliseconds since 1970.
    pub(crate) taken_at: i64,
    pub(crate) defect_detected: bool,
    pub(crate) body: Arc<str>,
}

impl Row {
    /// Returns the row of the prediction at `index` in a batch of `device`, whose JSON is `body`.
    pub(crate) fn new(device: &Label, index: usize, prediction: &Prediction, body: &str) -> Self {
        Self {
            key: PredictionKey::of(device, prediction, index),
            device: device.shared(),
            model_name: prediction.model_name.shared(),
            model_version: prediction.model_version.shared(),
            taken_at: prediction.timestamp.unix_millis(),
            defect_detected: prediction.defect_detected,
            body: Arc::from(body),
        }
    }

    /// Returns about how much memory the row holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.model_name.len() + self.model_version.len()
    }
}
