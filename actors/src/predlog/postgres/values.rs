//! Times and days as PostgreSQL carries them.
//!
//! The driver's own types for these stop at years that predictions may have, or want a crate more,
//! so this is the wire format itself: microseconds, or days, since 2000.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type};
use time::{Date, Month};

/// A point in time in milliseconds since 1970, a `timestamptz`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Instant(pub(super) i64);

/// A day of UTC, counted since 1970; a `date`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Day(i32);

/// JSON as it was written, a `json`.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonText<'a>(pub(super) &'a str);

// === impl Instant ===

impl Instant {
    /// 2000 in milliseconds since 1970.
    const EPOCH: i64 = 946_684_800_000;
}

impl Type<Postgres> for Instant {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }

    fn compatible(other: &PgTypeInfo) -> bool {
        other.oid() == Some(Oid(1184))
    }
}

impl PgHasArrayType for Instant {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Instant {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.saturating_sub(Self::EPOCH).saturating_mul(1_000);
        Encode::<Postgres>::encode(micros, buf)
    }
}

impl<'r> Decode<'r, Postgres> for Instant {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros: i64 = Decode::<Postgres>::decode(value)?;
        Ok(Self(micros.div_euclid(1_000).saturating_add(Self::EPOCH)))
    }
}

// === impl Day ===

impl Day {
    const MILLIS: i64 = 86_400_000;
    /// 2000 in days since 1970.
    const EPOCH: i32 = 10_957;
    /// The Julian day of 1970's first.
    const JULIAN: i32 = 2_440_588;

    /// Returns the day of a point in time in milliseconds since 1970.
    pub(super) fn of(millis: i64) -> Self {
        let day = millis.div_euclid(Self::MILLIS);
        Self(i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX }))
    }

    /// Returns the day so many days later.
    pub(super) fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Returns when it begins.
    pub(super) fn begins(self) -> Instant {
        Instant(i64::from(self.0) * Self::MILLIS)
    }

    /// Returns when it is over.
    pub(super) fn ends(self) -> Instant {
        Instant((i64::from(self.0) + 1) * Self::MILLIS)
    }

    /// Returns year, month and day in digits with `between` between them; `None` outside the years 1
    /// to 9999, for which PostgreSQL has another notation.
    pub(super) fn digits(self, between: &str) -> Option<String> {
        let date = Date::from_julian_day(self.0.checked_add(Self::JULIAN)?).ok()?;
        let (year, month, day) = date.to_calendar_date();
        let month = u8::from(month);
        (1..=9999)
            .contains(&year)
            .then(|| format!("{year:04}{between}{month:02}{between}{day:02}"))
    }

    /// Returns the day of eight digits.
    pub(super) fn from_digits(digits: &str) -> Option<Self> {
        if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, month) = (digits[..4].parse().ok()?, digits[4..6].parse::<u8>().ok()?);
        let month = Month::try_from(month).ok()?;
        let date = Date::from_calendar_date(year, month, digits[6..].parse().ok()?).ok()?;
        Some(Self(date.to_julian_day() - Self::JULIAN))
    }
}

impl Type<Postgres> for Day {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1082))
    }

    fn compatible(other: &PgTypeInfo) -> bool {
        other.oid() == Some(Oid(1082))
    }
}

impl PgHasArrayType for Day {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1182))
    }
}

impl Encode<'_, Postgres> for Day {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0.saturating_sub(Self::EPOCH), buf)
    }
}

impl<'r> Decode<'r, Postgres> for Day {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let days: i32 = Decode::<Postgres>::decode(value)?;
        Ok(Self(days.saturating_add(Self::EPOCH)))
    }
}

// === impl JsonText ===

impl Type<Postgres> for JsonText<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl PgHasArrayType for JsonText<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(199))
    }
}

impl Encode<'_, Postgres> for JsonText<'_> {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_by_its_digits() {
        for digits in ["00010101", "19691231", "19700101", "20240229", "99991231"] {
            let day = Day::from_digits(digits).expect("a day");
            assert_eq!(day.digits("").as_deref(), Some(digits));
            assert_eq!(Day::of(day.begins().0), day);
            assert_eq!(Day::of(day.ends().0 - 1), day);
        }
        for digits in ["", "20250230", "2025010", "2025-1-1", "other", "+2025010"] {
            assert_eq!(Day::from_digits(digits), None, "{digits}");
        }
    }

    #[test]
    fn days_that_partitions_cannot_have_have_no_digits() {
        for day in [i32::MIN, -719_529, i32::MAX] {
            assert_eq!(Day(day).digits(""), None, "{day}");
        }
    }
}
