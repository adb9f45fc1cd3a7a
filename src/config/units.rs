//! Quantities as people write them.
//!
//! A bare number in a configuration file makes its reader guess: seconds or
//! milliseconds, bytes or megabytes? [`Period`] and [`Bytes`] therefore carry
//! their unit in the text, and refuse a number without one where it would be
//! ambiguous. Both print in a form that they read back to the same value.
//!
//! A period is at most [`Period::LONGEST`]: longer ones would overflow the
//! clocks that deadlines are added to, and are always a slip of the pen.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time, written `"250ms"`, `"30s"` or `"1h 30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

/// A number of bytes, written `"64MiB"`, `"1.5GiB"`, `"64MB"` (decimal) or as a plain count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

/// A text that is no [`Period`] or no [`Bytes`], and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUnit(String);

// === impl Period ===

impl Period {
    /// The longest period that is accepted: 366 days.
    pub const LONGEST: Self = Self(Duration::from_secs(366 * 24 * 60 * 60));

    /// Returns a period of so many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Returns a period of so many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Returns the period as the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let duration =
            humantime::parse_duration(text).map_err(|error| InvalidUnit(error.to_string()))?;
        if duration > Self::LONGEST.0 {
            return Err(InvalidUnit("longer than 366 days".to_owned()));
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Deref for Period {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Period;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"250ms\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "period" })
    }
}

// === impl Bytes ===

impl Bytes {
    /// Returns so many times 1,024 bytes.
    pub const fn kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// Returns so many times 1,048,576 bytes.
    pub const fn mib(mib: u64) -> Self {
        Self(mib * 1024 * 1024)
    }

    /// Returns the number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the number of bytes as an in-memory size, the largest there is where it does not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Bytes {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let size: ByteSize = text.parse().map_err(InvalidUnit)?;
        Ok(Self(size.as_u64()))
    }
}

impl fmt::Display for Bytes {
    /// Writes the largest unit that divides the count, because the size's own
    /// library rounds to one decimal and the text must read back exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let exact = UNITS
            .iter()
            .find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift);
        match exact {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrCount;
        impl Visitor<'_> for TextOrCount {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, count: u64) -> Result<Bytes, E> {
                Ok(Bytes(count))
            }
            fn visit_i64<E: Error>(self, count: i64) -> Result<Bytes, E> {
                u64::try_from(count)
                    .map(Bytes)
                    .map_err(|_| E::custom("a size is not negative"))
            }
        }
        deserializer.deserialize_any(TextOrCount)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "format": "size" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_period_without_a_unit_is_refused() {
        let error = "75".parse::<Period>().unwrap_err();
        assert!(error.to_string().contains("unit"), "{error}");
    }

    #[test]
    fn a_period_that_would_overflow_a_clock_is_refused() {
        assert!("1000years".parse::<Period>().is_err());
        assert!("366days".parse::<Period>().is_ok());
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let cases = [
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("64MB", 64_000_000),
            ("1048576", 1 << 20),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["64MX", "", "-1", "MiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_to_the_same_size(count in any::<u64>(), unit in 0_u32..5) {
            let bytes = Bytes(count >> (unit * 10) << (unit * 10));
            prop_assert_eq!(bytes.to_string().parse::<Bytes>(), Ok(bytes));
        }

        #[test]
        fn what_is_printed_reads_back_to_the_same_period(millis in 0_u64..31_000_000_000) {
            let period = Period::millis(millis);
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
        }
    }
}
