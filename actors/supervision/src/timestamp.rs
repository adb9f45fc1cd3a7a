//! Wall-clock instants as they appear on the wire.
//!
//! Ages and deadlines never come from here: they use the monotonic side of the [`Clock`](crate::Clock). A timestamp
//! only tells a reader when something happened.

use std::fmt;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const RFC3339_MILLIS: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A moment in UTC, written as RFC 3339 with milliseconds and a `Z`.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use impetus_supervision::Timestamp;
///
/// let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_732_800_250);
/// assert_eq!(Timestamp::from(moment).to_string(), "2025-01-01T12:00:00.250Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
pub struct Timestamp(SystemTime);

// === impl Timestamp ===

impl Timestamp {
    /// Returns the moment as the standard library's type.
    ///
    /// ```
    /// use std::time::SystemTime;
    ///
    /// use impetus_supervision::Timestamp;
    ///
    /// let epoch = Timestamp::from(SystemTime::UNIX_EPOCH);
    /// assert_eq!(epoch.to_system_time(), SystemTime::UNIX_EPOCH);
    /// ```
    pub fn to_system_time(self) -> SystemTime {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        Self(moment)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from(self.0)
            .format(RFC3339_MILLIS)
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
