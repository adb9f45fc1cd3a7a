//! One element of a tensor, from JSON to the bytes that a model reads.

use super::{Number, Scanner, Trouble, singles};
use crate::oip::half;

/// How the elements of one type are read.
pub(super) trait Element {
    /// Bytes that an element takes at least.
    const SIZE: usize;

    /// Reads one and appends its bytes.
    fn read(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble>;

    /// Reads as many as it can in a faster way, at most so many, each with the comma behind it.
    /// Returns how many; where it stops nothing need be wrong.
    #[inline]
    fn run(_scanner: &mut Scanner<'_>, _data: &mut Vec<u8>, _most: usize) -> usize {
        0
    }
}

/// A truth value, or 0 or 1.
pub(super) struct Bool;
/// A whole number.
pub(super) struct Whole<T>(std::marker::PhantomData<T>);
/// A binary16.
pub(super) struct Half;
/// A binary32.
pub(super) struct Single;
/// A binary64.
pub(super) struct Double;
/// A string.
pub(super) struct Text;

// === impl Element ===

impl Element for Bool {
    const SIZE: usize = 1;

    fn read(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble> {
        let value = match scanner.ahead() {
            Some(b'0'..=b'9' | b'-') => match scanner.number()?.to_whole() {
                Some(0) => false,
                Some(1) => true,
                _ => return Err(Trouble::Unfit),
            },
            _ => scanner.bool()?,
        };
        data.push(u8::from(value));
        Ok(())
    }
}

impl Element for Half {
    const SIZE: usize = 2;

    fn read(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble> {
        let value = float(scanner, |number| number.to_f64())?;
        let bytes = half::f64_to_f16(value);
        if value.is_finite() && half::f16_to_f32(bytes).is_infinite() {
            return Err(Trouble::Unfit);
        }
        data.extend_from_slice(&bytes);
        Ok(())
    }
}

impl Element for Single {
    const SIZE: usize = 4;

    #[inline]
    fn read(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble> {
        let value = float(scanner, |number| number.to_f32())?;
        data.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn run(scanner: &mut Scanner<'_>, data: &mut Vec<u8>, most: usize) -> usize {
        singles::run(scanner, data, most)
    }
}

impl Element for Double {
    const SIZE: usize = 8;

    #[inline]
    fn read(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble> {
        let value = float(scanner, |number| number.to_f64())?;
        data.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
}

impl Element for Text {
    const SIZE: usize = 4;

    fn read(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble> {
        let text = scanner.string()?;
        let length = u32::try_from(text.len()).map_err(|_| Trouble::Unfit)?;
        data.extend_from_slice(&length.to_le_bytes());
        data.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A type of whole numbers.
pub(super) trait Integer: TryFrom<i128> {
    /// Its bytes, the lowest first.
    fn append(self, data: &mut Vec<u8>);
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Integer for $integer {
            #[inline]
            fn append(self, data: &mut Vec<u8>) {
                data.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);

impl<T: Integer> Element for Whole<T> {
    const SIZE: usize = size_of::<T>();

    #[inline]
    fn read(scanner: &mut Scanner<'_>, data: &mut Vec<u8>) -> Result<(), Trouble> {
        let whole = scanner.number()?.to_whole().ok_or(Trouble::Unfit)?;
        T::try_from(whole).map_err(|_| Trouble::Unfit)?.append(data);
        Ok(())
    }
}

/// A floating-point number in one of the formats that the language has.
pub(super) trait Float: Copy {
    const NAN: Self;
    const INFINITY: Self;
    const NEG_INFINITY: Self;

    fn is_finite(self) -> bool;
}

macro_rules! floats {
    ($($float:ident),*) => {$(
        impl Float for $float {
            const NAN: Self = $float::NAN;
            const INFINITY: Self = $float::INFINITY;
            const NEG_INFINITY: Self = $float::NEG_INFINITY;

            #[inline]
            fn is_finite(self) -> bool {
                $float::is_finite(self)
            }
        }
    )*};
}

floats!(f32, f64);

#[inline]
fn float<T: Float>(
    scanner: &mut Scanner<'_>,
    read: impl Fn(Number<'_>) -> T,
) -> Result<T, Trouble> {
    match scanner.number() {
        Ok(number) => match read(number) {
            value if value.is_finite() => Ok(value),
            _ => Err(Trouble::Unfit),
        },
        Err(trouble) => not_finite(scanner, trouble),
    }
}

/// Reads what JSON does not have, and Triton and Python write all the same.
#[cold]
fn not_finite<T: Float>(scanner: &mut Scanner<'_>, trouble: Trouble) -> Result<T, Trouble> {
    if scanner.word("NaN") {
        Ok(T::NAN)
    } else if scanner.word("Infinity") {
        Ok(T::INFINITY)
    } else if scanner.word("-Infinity") {
        Ok(T::NEG_INFINITY)
    } else {
        Err(trouble)
    }
}
