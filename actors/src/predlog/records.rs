//! Whoever keeps the predictions, asked for them.

use std::sync::Arc;

use super::error::ReadError;
use super::postgres::PostgresReader;
use super::query::{Page, Query, Stats};
use super::reader::Reader;

/// Where predictions are read.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    /// In the file in which they land.
    File(Arc<Reader>),
    /// In PostgreSQL, to which they go from the file.
    Postgres(Arc<PostgresReader>),
    /// With another server, which is to be asked itself.
    Elsewhere(Arc<str>),
}

// === impl Records ===

impl Records {
    /// Returns one page of predictions, the newest first.
    pub(crate) async fn predictions(&self, query: &Query) -> Result<Page, ReadError> {
        match self {
            Self::File(reader) => reader.predictions(query).await,
            Self::Postgres(reader) => reader.predictions(query).await,
            Self::Elsewhere(url) => Err(ReadError::Elsewhere {
                url: Arc::clone(url),
            }),
        }
    }

    /// Returns what has been counted.
    pub(crate) async fn stats(&self) -> Result<Stats, ReadError> {
        match self {
            Self::File(reader) => reader.stats().await,
            Self::Postgres(reader) => reader.stats().await,
            Self::Elsewhere(url) => Err(ReadError::Elsewhere {
                url: Arc::clone(url),
            }),
        }
    }
}
