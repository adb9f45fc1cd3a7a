//! Whoever keeps the predictions, asked for them.

use std::sync::Arc;

use super::address::without_password;
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
    /// With another server, which is to be asked itself; its address as it may be shown.
    Elsewhere(Arc<str>),
}

// === impl Records ===

impl Records {
    /// Returns where predictions are that go to the server of that address.
    pub(crate) fn elsewhere(url: &str) -> Self {
        Self::Elsewhere(without_password(url).into())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_sent_elsewhere_is_not_told_the_password() {
        let records = Records::elsewhere("http://user:s3cret@log:8001");
        let page = records.predictions(&Query::default()).await.map(drop);
        for error in [page, records.stats().await.map(drop)] {
            let error = error.expect_err("it is elsewhere").to_string();
            assert_eq!(error, "predictions are kept by http://log:8001; ask there");
        }
    }
}
