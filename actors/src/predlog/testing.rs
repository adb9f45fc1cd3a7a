//! What the unit tests of this room share.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::batch::LogBatch;
use super::config::PredictionLogConfig;
use super::disk::ThreadBudget;
use super::error::StoreError;
use super::row::Row;
use super::store::Store;

/// Returns a configuration for a fresh folder. A connection that was dropped closes in its own
/// time, so a test waits long for a lock unless the lock is what it is about.
pub(crate) fn config() -> (TempDir, PredictionLogConfig) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = PredictionLogConfig::in_folder(folder.path().join("data"));
    config.lock_wait = Duration::from_secs(10);
    (folder, config)
}

/// Opens a store that may commit for ever.
pub(crate) async fn open(config: &PredictionLogConfig) -> Result<Store, StoreError> {
    let threads = ThreadBudget::new(config.stuck_threads);
    let mut store = Store::open(config, &threads, Box::new(|| true)).await?;
    store.had_room()?;
    Ok(store)
}

/// Returns a prediction of `image` at `time`, a defect or not.
pub(crate) fn prediction(image: &str, time: &str, defect: bool) -> Value {
    json!({
        "image_id": image, "timestamp": time, "model_version": "1", "model_name": "surface",
        "inference_time_ms": 4.25, "detections": [], "defect_detected": defect,
    })
}

/// Returns the rows of a batch of `device`.
pub(crate) fn rows(device: &str, predictions: &[Value]) -> Arc<[Row]> {
    let batch = json!({"predictions": predictions, "edge_device_id": device});
    LogBatch::parse(batch.to_string().as_bytes())
        .expect("a good batch")
        .into_rows()
        .into()
}
