//! Parquet, compressed with zstd, in the types that a column has.
//!
//! A group of rows is written at once and read at once, so it is bounded in rows and in bytes. What
//! grows with the file is its table of groups, some kilobytes for each.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::{Map, Value};

use super::encoder::{Encode, EncodeError};
use super::record::Record;

const SCHEMA: &str = "
    message predictions {
        OPTIONAL BYTE_ARRAY id (STRING);
        REQUIRED BYTE_ARRAY image_id (STRING);
        REQUIRED INT64 timestamp (TIMESTAMP(MICROS, true));
        REQUIRED BYTE_ARRAY edge_device_id (STRING);
        REQUIRED BYTE_ARRAY model_name (STRING);
        REQUIRED BYTE_ARRAY model_version (STRING);
        REQUIRED DOUBLE inference_time_ms;
        REQUIRED BOOLEAN defect_detected;
        OPTIONAL BYTE_ARRAY class (STRING);
        OPTIONAL DOUBLE confidence;
        REQUIRED BYTE_ARRAY detections (STRING);
        OPTIONAL BYTE_ARRAY confidence_scores (STRING);
        OPTIONAL BYTE_ARRAY processing_notes (STRING);
        REQUIRED INT64 logged_at (TIMESTAMP(MICROS, true));
    }
";

pub(super) struct Parquet {
    writer: SerializedFileWriter<Written>,
    written: Written,
    group: Vec<Row>,
    group_bytes: usize,
}

/// A row and its two texts of JSON.
struct Row {
    record: Record,
    detections: String,
    confidence_scores: Option<String>,
}

/// Bytes that have been written and not taken away.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

/// The columns of a group, written one after the other.
struct Columns<'a>(SerializedRowGroupWriter<'a, Written>);

// === impl Parquet ===

impl Parquet {
    /// The most rows of a group.
    const GROUP_ROWS: usize = 16_384;
    /// The bytes of JSON after which a group is written.
    const GROUP_BYTES: usize = 8 << 20;

    pub(super) fn new() -> Result<Self, EncodeError> {
        let written = Written::default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("impetus ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        Ok(Self {
            writer: SerializedFileWriter::new(written.clone(), schema, Arc::new(properties))?,
            written,
            group: Vec::new(),
            group_bytes: 0,
        })
    }

    fn write_group(&mut self) -> Result<(), EncodeError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        let mut columns = Columns(self.writer.next_row_group()?);
        columns.texts(rows.iter().map(|row| row.record.id.as_deref()))?;
        columns.text(rows.iter().map(|row| &*row.record.image_id))?;
        let taken = rows.iter().map(|row| row.record.timestamp.unix_micros());
        columns.required::<Int64Type>(taken)?;
        columns.text(rows.iter().map(|row| &*row.record.edge_device_id))?;
        columns.text(rows.iter().map(|row| &*row.record.model_name))?;
        columns.text(rows.iter().map(|row| &*row.record.model_version))?;
        columns.required::<DoubleType>(rows.iter().map(|row| row.record.inference_time_ms))?;
        columns.required::<BoolType>(rows.iter().map(|row| row.record.defect_detected))?;
        let surest = || rows.iter().map(|row| row.record.surest());
        columns.texts(surest().map(|found| found.map(|(class, _)| class)))?;
        columns.optional::<DoubleType>(surest().map(|found| found.map(|(_, sure)| sure)))?;
        columns.text(rows.iter().map(|row| &*row.detections))?;
        columns.texts(rows.iter().map(|row| row.confidence_scores.as_deref()))?;
        columns.texts(
            rows.iter()
                .map(|row| row.record.processing_notes.as_deref()),
        )?;
        let logged = rows.iter().map(|row| row.record.logged_at.unix_micros());
        columns.required::<Int64Type>(logged)?;
        columns.0.close()?;
        Ok(())
    }
}

impl Encode for Parquet {
    fn add(&mut self, predictions: &[Map<String, Value>]) -> Result<(), EncodeError> {
        for prediction in predictions {
            let record = Record::of(prediction)?;
            let row = Row {
                detections: record.detections()?,
                confidence_scores: record.confidence_scores()?,
                record,
            };
            let notes = row.record.processing_notes.as_deref();
            self.group_bytes += row.detections.len()
                + row.confidence_scores.as_deref().map_or(0, str::len)
                + notes.map_or(0, str::len);
            self.group.push(row);
            if self.group.len() >= Self::GROUP_ROWS || self.group_bytes >= Self::GROUP_BYTES {
                self.write_group()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), EncodeError> {
        self.write_group()?;
        self.writer.finish()?;
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, EncodeError> {
        self.writer.flush()?;
        Ok(self.written.take())
    }
}

// === impl Written ===

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Columns ===

impl Columns<'_> {
    fn text<'a>(&mut self, values: impl Iterator<Item = &'a str>) -> Result<(), EncodeError> {
        self.required::<ByteArrayType>(values.map(ByteArray::from))
    }

    fn texts<'a>(
        &mut self,
        values: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<(), EncodeError> {
        self.optional::<ByteArrayType>(values.map(|value| value.map(ByteArray::from)))
    }

    fn required<T: DataType>(
        &mut self,
        values: impl Iterator<Item = T::T>,
    ) -> Result<(), EncodeError> {
        let values: Vec<T::T> = values.collect();
        self.write::<T>(&values, None)
    }

    fn optional<T: DataType>(
        &mut self,
        values: impl Iterator<Item = Option<T::T>>,
    ) -> Result<(), EncodeError> {
        let mut levels = Vec::new();
        let values = values.inspect(|value| levels.push(i16::from(value.is_some())));
        let values: Vec<T::T> = values.flatten().collect();
        self.write::<T>(&values, Some(&levels))
    }

    /// Writes the next column: its values, and for each row whether it has one.
    fn write<T: DataType>(
        &mut self,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) -> Result<(), EncodeError> {
        let column = self.0.next_column()?;
        let mut column = column.expect("the schema has a column for each that is written");
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
        Ok(())
    }
}
