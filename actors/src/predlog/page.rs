//! Predictions as they are read back, whichever database keeps them.

use serde_json::{Map, Value, json};

use super::error::ReadError;
use super::prediction_time::PredictionTime;

/// One row of a page: number, device, time, time of the commit, JSON.
pub(crate) type PageRow = (i64, String, i64, i64, String);

/// Returns a prediction with every field of the contract, whatever its sender left out.
pub(crate) fn logged(
    (seq, device, taken_at, created_at, body): PageRow,
) -> Result<Map<String, Value>, ReadError> {
    let mut prediction: Map<String, Value> = serde_json::from_str(&body)
        .map_err(|error| ReadError::unavailable(format_args!("row {seq} is damaged: {error}")))?;
    for field in ["confidence_scores", "processing_notes"] {
        prediction.entry(field).or_insert(Value::Null);
    }
    for field in ["id", "image_id", "model_name", "model_version"] {
        if let Some(name @ Value::Number(_)) = prediction.get_mut(field) {
            *name = Value::String(name.to_string());
        }
    }
    for detection in detections(&mut prediction) {
        detection.entry("bbox").or_insert(Value::Null);
        detection.entry("uncertain").or_insert(json!(false));
    }
    let written = prediction.get("timestamp").and_then(Value::as_str);
    let taken = written.and_then(|text| PredictionTime::parse(text).ok());
    let taken = taken.or_else(|| PredictionTime::from_unix_millis(taken_at));
    prediction.insert("timestamp".into(), json!(taken));
    prediction.insert("edge_device_id".into(), Value::String(device));
    prediction.insert(
        "logged_at".into(),
        json!(PredictionTime::from_unix_millis(created_at)),
    );
    Ok(prediction)
}

fn detections(
    prediction: &mut Map<String, Value>,
) -> impl Iterator<Item = &mut Map<String, Value>> {
    let list = prediction
        .get_mut("detections")
        .and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}
