//! What every format of an export does.

use serde_json::{Map, Value};

/// Makes a file of predictions, a page at a time.
pub(super) trait Encode: Send {
    /// Puts predictions into the file.
    ///
    /// # Errors
    /// One is none, or cannot be written.
    fn add(&mut self, predictions: &[Map<String, Value>]) -> Result<(), EncodeError>;

    /// Ends the file.
    ///
    /// # Errors
    /// The end cannot be written.
    fn end(&mut self) -> Result<(), EncodeError>;

    /// Takes away what has been written since it was asked before; perhaps nothing.
    ///
    /// # Errors
    /// Something cannot be written.
    fn take(&mut self) -> Result<Vec<u8>, EncodeError>;
}

/// Why a file cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("a prediction cannot be read: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("cannot be written as CSV: {0}")]
    Csv(#[from] csv::Error),
    #[error("cannot be written: {0}")]
    Io(#[from] std::io::Error),
    #[cfg(feature = "parquet")]
    #[error("cannot be written as Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}
