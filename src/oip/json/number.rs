//! Numbers, from their decimal digits to the formats that models take.
//!
//! Digits are taken eight at a time, as one word: a mask tells how many of the eight bytes are
//! digits, and three multiplications make a number of them. That leaves a whole number of up to 19
//! digits and a power of ten.
//!
//! A binary32 is made from those by one multiplication in binary64, whose result is off by a few of
//! its own steps. It decides the binary32 unless it lies that close to the middle between
//! two of them; only there, and outside the range of normal numbers, the digits are handed to the
//! standard library, which is exact and slower. So the result is always the one that
//! `str::parse` gives. A binary64 is exact by one operation where both of its operands are (fewer
//! than 2^53, a power of ten up to 22), and the library's business elsewhere.

use super::{Scanner, Trouble};

/// A number as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    text: &'a [u8],
    negative: bool,
    /// Its digits as a whole number, if `complete`.
    digits: u64,
    /// The power of ten that `digits` is to be multiplied with.
    exponent: i32,
    /// Whether `digits` holds all of them.
    complete: bool,
    /// Whether it is written without a point and without an exponent.
    whole: bool,
}

/// Digits that always fit into 64 bits.
const MOST_DIGITS: usize = 19;

/// Powers of ten that bring the digits of a binary32 to its value.
const SMALLEST_POWER: i32 = -64;
const LARGEST_POWER: i32 = 38;
const POWERS_LEN: usize = (LARGEST_POWER - SMALLEST_POWER + 1) as usize;

/// How many steps of binary64 the product of digits and power may be off: half a step for either
/// factor and for the product, each at most doubled by the step at the result, and room to spare.
pub(super) const OFF: u64 = 8;

/// Eight times the digit `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits and powers of ten that binary64 has exactly.
const EXACT_DIGITS: u64 = 1 << 53;
const EXACT_POWER: i32 = 22;

static POWERS: [f64; POWERS_LEN] = powers();
pub(super) static TENS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

// === impl Scanner ===

impl<'a> Scanner<'a> {
    /// Reads a number.
    ///
    /// # Errors
    /// There is none, or none as JSON writes them.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>, Trouble> {
        let (text, begin) = (self.text(), self.at());
        let mut at = begin;
        let negative = text.get(at) == Some(&b'-');
        at += usize::from(negative);
        let (mut digits, mut count) = take_digits(text, at, 0);
        if count == 0 {
            return Err(self.other_kind("a number"));
        }
        if count > 1 && text[at] == b'0' {
            return Err(Trouble::Expected("a number without a leading zero"));
        }
        at += count;
        let (mut exponent, mut whole) = (0, true);
        if text.get(at) == Some(&b'.') {
            let (all, places) = take_digits(text, at + 1, digits);
            if places == 0 {
                return Err(Trouble::Expected("a digit after the point"));
            }
            digits = all;
            count += places;
            at += 1 + places;
            // More places than that are not complete, and so not used.
            exponent = -(places.min(1 << 20) as i32);
            whole = false;
        }
        if let Some(b'e' | b'E') = text.get(at) {
            let (power, length) = take_exponent(&text[at..])?;
            exponent += power;
            at += length;
            whole = false;
        }
        self.advance(at - begin);
        let text = &text[begin..at];
        Ok(Number {
            text,
            negative,
            digits,
            exponent,
            complete: count <= MOST_DIGITS || significant(text, count) <= MOST_DIGITS,
            whole,
        })
    }
}

// === impl Number ===

impl Number<'_> {
    /// Returns the number as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.text).expect("a number is ascii")
    }

    /// Returns the binary32 nearest to it; infinite when it is beyond the largest.
    #[inline]
    #[must_use]
    pub fn to_f32(&self) -> f32 {
        self.fast_f32().unwrap_or_else(|| self.parsed())
    }

    /// Returns the binary64 nearest to it; infinite when it is beyond the largest.
    #[inline]
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        self.fast_f64().unwrap_or_else(|| self.parsed())
    }

    /// Returns it as a whole number; `None` when it is none, or larger than any that models take.
    #[inline]
    #[must_use]
    pub fn to_whole(&self) -> Option<i128> {
        if self.whole && self.complete {
            let magnitude = i128::from(self.digits);
            return Some(if self.negative { -magnitude } else { magnitude });
        }
        self.unusual_whole()
    }

    #[inline]
    fn fast_f32(&self) -> Option<f32> {
        let power = usize::try_from(self.exponent - SMALLEST_POWER).ok()?;
        let power = *POWERS.get(power)?;
        if !self.complete {
            return None;
        }
        let value = self.digits as f64 * power;
        // The middle between two binary32 has the highest of the 29 bits that they do not have.
        let beyond = value.to_bits() & ((1 << 29) - 1);
        let near_the_middle = beyond.wrapping_sub((1 << 28) - OFF) <= 2 * OFF;
        let is_normal = value >= f64::from(f32::MIN_POSITIVE) * 2.0 && value <= 3e38;
        if near_the_middle || !(is_normal || self.digits == 0) {
            return None;
        }
        let value = value as f32;
        Some(if self.negative { -value } else { value })
    }

    #[inline]
    fn fast_f64(&self) -> Option<f64> {
        if !self.complete || self.digits > EXACT_DIGITS || self.exponent.abs() > EXACT_POWER {
            return None;
        }
        let power = POWERS[(self.exponent.abs() - SMALLEST_POWER) as usize];
        let digits = self.digits as f64;
        let value = if self.exponent < 0 {
            digits / power
        } else {
            digits * power
        };
        Some(if self.negative { -value } else { value })
    }

    #[cold]
    fn parsed<T: std::str::FromStr>(&self) -> T {
        let number = self.as_str().parse().ok();
        number.expect("the language reads every number that JSON has")
    }

    /// A whole number that is written with a point, an exponent or very many digits.
    #[cold]
    fn unusual_whole(&self) -> Option<i128> {
        if self.whole {
            return self.as_str().parse().ok();
        }
        if !self.complete {
            return None;
        }
        let ten = 10i128.checked_pow(self.exponent.unsigned_abs());
        let digits = i128::from(self.digits);
        let magnitude = match (digits, ten) {
            (0, _) => 0,
            (_, None) => return None,
            (digits, Some(ten)) if self.exponent < 0 => {
                if digits % ten != 0 {
                    return None;
                }
                digits / ten
            }
            (digits, Some(ten)) => digits.checked_mul(ten)?,
        };
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

/// Takes all digits from a place on, behind those that there are already; returns how many it took.
/// What does not fit is cut off at the top.
#[inline]
fn take_digits(text: &[u8], begin: usize, before: u64) -> (u64, usize) {
    let (mut digits, mut count) = (before, 0);
    loop {
        let word = word_at(text, begin + count);
        let taken = digits_of(word);
        count += taken;
        let more = match taken {
            0 => return (digits, count),
            8 => eight_digits(word),
            _ => value_of(word, taken),
        };
        digits = digits.wrapping_mul(TENS[taken]).wrapping_add(more);
        if taken < 8 {
            return (digits, count);
        }
    }
}

/// Returns the eight bytes at a place, zeros behind the end.
#[inline]
fn word_at(text: &[u8], at: usize) -> u64 {
    if let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        return u64::from_le_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    let rest = text.get(at..).unwrap_or_default();
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(bytes)
}

/// Returns how many of the first bytes of a word are digits.
///
/// A digit less `0` is at most 9, so that adding 118 leaves its highest bit alone; any other byte
/// has that bit then, or had it before. What is carried out of a byte that had it goes upwards, to
/// bytes behind the one that counts.
#[inline(always)]
pub(super) fn digits_of(word: u64) -> usize {
    let less = word ^ ZEROS;
    let others = (less.wrapping_add(0x7676_7676_7676_7676) | less) & 0x8080_8080_8080_8080;
    (others.trailing_zeros() / 8) as usize
}

/// Returns the number that the first `count` bytes of a word write, 1 to 7 digits.
#[inline(always)]
pub(super) fn value_of(word: u64, count: usize) -> u64 {
    // What is no digit goes out at the top, and zeros come in at the bottom, which is in front.
    combined((word ^ ZEROS) << ((64 - 8 * count as u32) & 63))
}

/// Returns the number that the bytes of a word write, all of them digits.
#[inline(always)]
pub(super) fn eight_digits(word: u64) -> u64 {
    combined(word ^ ZEROS)
}

/// Puts the eight digits that a word's bytes are together: neighbours to pairs, pairs to fours, fours
/// to eight, each by one multiplication that adds the one, a power of ten times, to the other.
#[inline(always)]
fn combined(ones: u64) -> u64 {
    let pairs = (ones.wrapping_mul((10 << 8) + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul((100 << 16) + 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul((10_000 << 32) + 1) >> 32
}

/// Reads `e`, a sign and digits; returns the power and how many bytes they took.
fn take_exponent(text: &[u8]) -> Result<(i32, usize), Trouble> {
    let negative = text.get(1) == Some(&b'-');
    let sign = usize::from(matches!(text.get(1), Some(b'+' | b'-')));
    let digits = text.get(1 + sign..).unwrap_or_default().iter();
    let mut power = 0i32;
    let mut count = 0;
    for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
        // Beyond all that any format holds, and not beyond what can be added to it.
        power = (power * 10 + i32::from(digit - b'0')).min(1 << 24);
        count += 1;
    }
    if count == 0 {
        return Err(Trouble::Expected("a digit in the exponent"));
    }
    Ok((if negative { -power } else { power }, 1 + sign + count))
}

/// Returns how many of a number's digits are left without the zeros in front.
#[cold]
fn significant(text: &[u8], count: usize) -> usize {
    let in_front = text.iter().take_while(|byte| b"-0.".contains(byte));
    count - in_front.filter(|byte| **byte == b'0').count()
}

/// Returns 1, a tenth and so on, each the binary64 nearest to it or next to that.
pub(super) const fn powers_of_tenth<const N: usize>() -> [f64; N] {
    let mut powers = [1.0; N];
    let mut index = 0;
    while index < N {
        powers[index] = power_of_ten(-(index as i32));
        index += 1;
    }
    powers
}

/// Returns 10^-64 to 10^38, each the binary64 nearest to it.
const fn powers() -> [f64; POWERS_LEN] {
    let mut powers = [0.0; POWERS_LEN];
    let mut index = 0;
    while index < powers.len() {
        powers[index] = power_of_ten(index as i32 + SMALLEST_POWER);
        index += 1;
    }
    powers
}

/// Powers up to 10^22 are exact, and products of two of those off by half a step. Quotients of them
/// are off by no more than one and a half, which [`OFF`] has room for.
const fn power_of_ten(power: i32) -> f64 {
    let (mut value, mut left) = (1.0, power.abs());
    while left > 0 {
        let step = if left > EXACT_POWER {
            EXACT_POWER
        } else {
            left
        };
        let (mut factor, mut times) = (1.0, 0);
        while times < step {
            factor *= 10.0;
            times += 1;
        }
        value *= factor;
        left -= step;
    }
    if power < 0 { 1.0 / value } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number<'_> {
        let mut scanner = Scanner::new(text.as_bytes());
        let number = scanner.number().unwrap();
        assert_eq!(scanner.at(), text.len(), "{text}");
        number
    }

    /// Holds both formats against the standard library, to the bit.
    fn check(text: &str) {
        let number = number(text);
        let narrow: f32 = text.parse().unwrap();
        assert_eq!(number.to_f32().to_bits(), narrow.to_bits(), "{text}");
        let wide: f64 = text.parse().unwrap();
        assert_eq!(number.to_f64().to_bits(), wide.to_bits(), "{text}");
    }

    #[test]
    fn numbers_at_the_edges_are_what_the_library_says() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0e5",
            "1",
            "-1",
            "9",
            "10",
            "12345678",
            "123456789",
            "0.1",
            "0.5",
            "1e10",
            "1e-10",
            "1E+5",
            "3.4028235e38",
            "3.4028236e38",
            "3.5e38",
            "1e39",
            "1.17549435e-38",
            "1.1754942e-38",
            "1e-45",
            "7e-46",
            "1e-60",
            "1e-400",
            "1e400",
            "16777217",
            "16777217.000000001",
            "33554435",
            "9007199254740993",
            "9007199254740992",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999",
            "0.00000000000000000000000000012345678901234567",
            "1.00000017881393432617187499",
            "1.000000178813934326171875",
            "1.00000017881393432617187501",
            "0.30000001192092896",
            "2.2250738585072014e-308",
            "4.9e-324",
            "1.7976931348623157e308",
            "1e99999999999",
            "0e99999999999",
            "1e-99999999999",
        ] {
            check(text);
        }
        check(&format!("0.{}1", "0".repeat(500)));
        check(&format!("1{}", "0".repeat(300)));
        check(&format!("{}.{}e-300", "7".repeat(320), "3".repeat(40)));
    }

    #[test]
    fn what_json_does_not_write_is_no_number() {
        for text in [
            "", "-", "01", "-01", "00", "1.", "1.e5", ".5", "+1", "1e", "1e+", "x", "NaN",
        ] {
            assert!(Scanner::new(text.as_bytes()).number().is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        for (text, value) in [
            ("0", Some(0)),
            ("-128", Some(-128)),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("-9223372036854775808", Some(i128::from(i64::MIN))),
            ("5.0", Some(5)),
            ("-1.5e1", Some(-15)),
            ("0.0e-99", Some(0)),
            ("1.5", None),
            ("1e-3", None),
            ("1e99", None),
            ("99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(number(text).to_whole(), value, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn every_binary32_and_its_neighbourhood_is_what_the_library_says(bits in any::<u32>(), more in 0u8..30) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            check(&format!("{value:e}"));
            // As Python writes it, and with any number of digits.
            check(&format!("{:e}", f64::from(value)));
            check(&format!("{:.*e}", usize::from(more), f64::from(value)));
            // The middle to the next one, and a hair beside it.
            let next = f32::from_bits(bits.wrapping_add(1));
            if next.is_finite() {
                let middle = f64::midpoint(f64::from(value), f64::from(next));
                check(&format!("{middle:e}"));
                check(&format!("{:e}", f64::from_bits(middle.to_bits() + 1)));
                check(&format!("{middle:.60e}"));
            }
        }

        #[test]
        fn every_binary64_is_what_the_library_says(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            check(&format!("{value:e}"));
        }

        #[test]
        fn digits_of_any_number_with_a_point_anywhere_are_what_the_library_says(
            text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?"
        ) {
            check(&text);
        }
    }
}
