//! The request: predictions as their senders wrote them, and where each comes from.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::predlog::prediction_time::PredictionTime;
use crate::predlog::row::Landed;

/// Returns the body of a `POST /log` of these rows.
///
/// The predictions are put in as the text that they are in the file, so that not a digit of them
/// changes on the way. The batch names its device only if all of its rows have the same: a server
/// that knows no origins had better log the others under `unknown` than under a wrong name.
pub(super) fn of<'a>(rows: impl ExactSizeIterator<Item = &'a Landed> + Clone) -> String {
    let size: usize = rows.clone().map(|landed| landed.row.body.len() + 128).sum();
    let mut body = String::with_capacity(size + 128);
    body.push_str("{\"predictions\":[");
    for (index, landed) in rows.clone().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&landed.row.body);
    }
    let origins = rows.clone().map(
        |Landed { row, .. }| json!({"key": row.key.to_string(), "edge_device_id": *row.device}),
    );
    let newest = rows.clone().map(|landed| landed.created_at).max();
    let rest = [
        ("batch_size", json!(rows.len())),
        (
            "timestamp",
            json!(newest.and_then(PredictionTime::from_unix_millis)),
        ),
        ("edge_device_id", json!(only_device(rows.clone()))),
        ("origins", Value::Array(origins.collect())),
    ];
    body.push(']');
    for (name, value) in rest {
        body.push_str(&format!(",\"{name}\":{value}"));
    }
    body.push('}');
    body
}

fn only_device<'a>(rows: impl Iterator<Item = &'a Landed>) -> Option<&'a str> {
    let mut devices = rows.map(|landed| &landed.row.device);
    let first: &Arc<str> = devices.next()?;
    devices.all(|device| device == first).then_some(first)
}
