//! CSV as RFC 4180 has it, with a line of names.
//!
//! Text stands as it was sent. What a program makes of a cell that begins with `=` is that
//! program's business: changing it here would change the data for everybody else.

use serde_json::{Map, Value};

use super::encoder::{Encode, EncodeError};
use super::record::Record;

pub(super) struct Csv {
    writer: csv::Writer<Vec<u8>>,
    has_names: bool,
}

// === impl Csv ===

impl Csv {
    pub(super) fn new() -> Self {
        Self {
            writer: csv::Writer::from_writer(Vec::new()),
            has_names: false,
        }
    }

    fn names(&mut self) -> Result<(), EncodeError> {
        if !self.has_names {
            self.has_names = true;
            self.writer.write_record(Record::COLUMNS)?;
        }
        Ok(())
    }
}

impl Encode for Csv {
    fn add(&mut self, predictions: &[Map<String, Value>]) -> Result<(), EncodeError> {
        self.names()?;
        for prediction in predictions {
            let record = Record::of(prediction)?;
            let surest = record.surest();
            let confidence = surest.map(|(_, confidence)| confidence.to_string());
            self.writer.write_record([
                record.id.as_deref().unwrap_or_default(),
                &record.image_id,
                text(&prediction["timestamp"]),
                &record.edge_device_id,
                &record.model_name,
                &record.model_version,
                &record.inference_time_ms.to_string(),
                if record.defect_detected {
                    "true"
                } else {
                    "false"
                },
                surest.map_or("", |(class, _)| class),
                &confidence.unwrap_or_default(),
                &record.detections()?,
                &record.confidence_scores()?.unwrap_or_default(),
                record.processing_notes.as_deref().unwrap_or_default(),
                text(&prediction["logged_at"]),
            ])?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), EncodeError> {
        self.names()
    }

    fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        self.writer.flush()?;
        let next = csv::Writer::from_writer(Vec::new());
        let written = std::mem::replace(&mut self.writer, next);
        written
            .into_inner()
            .map_err(|error| EncodeError::Io(error.into_error()))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
