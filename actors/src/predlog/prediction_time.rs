//! Points in time as predictions carry them.
//!
//! Edge devices write RFC 3339, but many write it without an offset (Python's `isoformat()` of a
//! naive time); such a time is read as UTC, because a device that says no zone has none to say.
//! What goes out is always UTC with a `Z`.

use std::fmt;
use std::time::SystemTime;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use utoipa::ToSchema;

/// A point in time of the years 0000 to 9999, to the nanosecond, in UTC.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct PredictionTime(OffsetDateTime);

/// Text that is no [`PredictionTime`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is no RFC 3339 time")]
pub struct InvalidPredictionTime {
    text: String,
}

// === impl PredictionTime ===

impl PredictionTime {
    /// Reads RFC 3339, or the same without an offset, which is taken as UTC.
    pub fn parse(text: &str) -> Result<Self, InvalidPredictionTime> {
        let invalid = || InvalidPredictionTime {
            text: text.chars().take(40).collect(),
        };
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
            .map_err(|_| invalid())?;
        // An offset at the edge of the calendar may name an instant beyond it.
        let utc = time.checked_to_offset(UtcOffset::UTC).ok_or_else(invalid)?;
        if (0..=9999).contains(&utc.year()) {
            Ok(Self(utc))
        } else {
            Err(invalid())
        }
    }

    /// Returns the instant `millis` milliseconds after 1970 began; `None` outside the calendar.
    pub fn from_unix_millis(millis: i64) -> Option<Self> {
        let time =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?;
        (0..=9999).contains(&time.year()).then_some(Self(time))
    }

    /// Returns whole milliseconds since 1970 began, rounded towards the past.
    pub fn unix_millis(self) -> i64 {
        i64::try_from(self.unix_nanos().div_euclid(1_000_000))
            .expect("ten thousand years of milliseconds fit into 64 bits")
    }

    /// Returns the time in a form that names of files may have: `20250101T120000Z`.
    pub(crate) fn file_stamp(self) -> String {
        let (date, time) = (self.0.date(), self.0.time());
        format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
    }

    /// Returns whole microseconds since 1970.
    pub fn unix_micros(self) -> i64 {
        // The calendar's ten thousand years fit.
        self.unix_nanos().div_euclid(1_000) as i64
    }

    /// Returns nanoseconds since 1970 began.
    pub(crate) fn unix_nanos(self) -> i128 {
        self.0.unix_timestamp_nanos()
    }
}

impl From<SystemTime> for PredictionTime {
    fn from(time: SystemTime) -> Self {
        Self(OffsetDateTime::from(time))
    }
}

impl fmt::Display for PredictionTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.format(&Rfc3339).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl Serialize for PredictionTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PredictionTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeText;

        impl Visitor<'_> for TimeText {
            type Value = PredictionTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PredictionTime, E> {
                PredictionTime::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TimeText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_an_offset_name_the_same_instant() {
        let expected = "2025-01-01T12:00:00.123456Z";
        for text in [
            expected,
            "2025-01-01T12:00:00.123456",
            "2025-01-01 12:00:00.123456",
            "2025-01-01T14:00:00.123456+02:00",
        ] {
            let parsed = PredictionTime::parse(text).expect("accepted");
            assert_eq!(parsed.to_string(), expected, "{text}");
            assert_eq!(parsed.unix_millis(), 1_735_732_800_123);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-01-01",
            "2025-13-01T00:00:00Z",
            "1735732800",
            "12:00Z",
        ] {
            assert!(PredictionTime::parse(text).is_err(), "{text}");
        }
        assert!(
            PredictionTime::parse("0000-01-01T00:00:00+01:00").is_err(),
            "before the calendar"
        );
    }

    #[test]
    fn instants_before_1970_round_towards_the_past() {
        let time = PredictionTime::parse("1969-12-31T23:59:59.9995Z").expect("accepted");
        assert_eq!(time.unix_millis(), -1);
    }
}
