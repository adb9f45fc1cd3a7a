//! What can go wrong with the prediction log.
//!
//! Nothing here is a reason for the writer to end: a database that cannot be used is a state, told
//! to each caller with a reason and a time to come back. Every caller may come back with the same
//! batch, because the key of a prediction makes a second row impossible.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Why a batch was not acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LogError {
    /// The database cannot be written now.
    #[error("the prediction log is unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: Arc<str>,
        /// When it will have been tried again.
        retry_after: Duration,
    },
    /// More is waiting to be committed than may wait.
    #[error("too many predictions are waiting to be logged")]
    Overloaded {
        /// When there may be room.
        retry_after: Duration,
    },
    /// The batch was not committed in time; it may still be.
    #[error("not committed within {within:?}")]
    TimedOut {
        /// How long the caller was ready to wait.
        within: Duration,
    },
    /// The writer was replaced while it had the batch, twice.
    #[error("the writer was replaced while it had the batch")]
    Interrupted,
    /// The server is stopping.
    #[error("the prediction log is closed")]
    Closed,
}

/// Why a reading of the log failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// The cursor is none that was given out.
    #[error("`cursor` is not one that this log gave out")]
    InvalidCursor,
    /// The limit is out of its range.
    #[error("`limit` must lie between 1 and {max}")]
    InvalidLimit {
        /// The largest limit.
        max: u32,
    },
    /// Predictions go to another server, which is to be asked.
    #[error("predictions are kept by {url}; ask there")]
    Elsewhere {
        /// Its address.
        url: Arc<str>,
    },
    /// The database cannot be read now, or not in time.
    #[error("the prediction log cannot be read: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// What the database said, and whether its connection is worth keeping.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct StoreError {
    pub(crate) reason: String,
    pub(crate) connection_is_sound: bool,
    /// Whether the file is one that SQLite cannot make sense of.
    pub(crate) file_is_damaged: bool,
    /// Whether there is no room for more, and nothing else is wrong.
    pub(crate) lacks_room: bool,
}

// === impl LogError ===

impl LogError {
    /// Returns whether the same batch may be sent again; it always may, for nothing here is the
    /// sender's fault.
    pub fn is_retryable(&self) -> bool {
        true
    }

    /// Returns how long to wait before sending again.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Unavailable { retry_after, .. } | Self::Overloaded { retry_after } => {
                *retry_after
            }
            Self::TimedOut { .. } | Self::Interrupted | Self::Closed => Duration::from_secs(1),
        }
    }
}

// === impl ReadError ===

impl ReadError {
    /// Returns whether the caller asked for something that cannot be answered.
    pub fn is_client_fault(&self) -> bool {
        matches!(self, Self::InvalidCursor | Self::InvalidLimit { .. })
    }

    /// Returns whether the same question may be answered later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(reason: impl ToString) -> Self {
        Self::Unavailable {
            reason: reason.to_string(),
        }
    }
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        Self::unavailable(describe(&error))
    }
}

// === impl StoreError ===

impl StoreError {
    /// An error after which the connection must not be used again.
    pub(crate) fn lost(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            connection_is_sound: false,
            file_is_damaged: false,
            lacks_room: false,
        }
    }

    /// An error of the database while `doing` something.
    pub(crate) fn database(doing: &str, error: &sqlx::Error) -> Self {
        let code = primary_code(error);
        Self {
            reason: format!("{doing}: {}", describe(error)),
            connection_is_sound: code.is_some_and(leaves_connection_sound),
            file_is_damaged: code.is_some_and(means_damage),
            lacks_room: code == Some(FULL),
        }
    }
}

/// Says what the database said, without the driver's wrapping.
fn describe(error: &sqlx::Error) -> Cow<'static, str> {
    match error.as_database_error() {
        Some(error) => Cow::Owned(error.message().to_owned()),
        None => Cow::Owned(error.to_string()),
    }
}

/// Returns SQLite's primary result code, the low byte of its extended one.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

/// SQLite's code for a disk without room.
const FULL: i32 = 13;

/// Tells whether the file itself is what is wrong.
fn means_damage(primary: i32) -> bool {
    const CORRUPT: i32 = 11;
    const NOT_A_DATABASE: i32 = 26;
    matches!(primary, CORRUPT | NOT_A_DATABASE)
}

/// Tells a database that is busy or full from one whose file or connection is in doubt. Source:
/// <https://www.sqlite.org/rescode.html>.
fn leaves_connection_sound(primary: i32) -> bool {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    matches!(primary, BUSY | LOCKED | FULL)
}
