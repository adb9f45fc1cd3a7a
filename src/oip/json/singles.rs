//! Long lists of binary32, as fast as a processor takes them.
//!
//! Most lists are numbers of one form, one after the other, and nothing else. This reads those forms
//! with as few instructions as there are ways to: one look at a window of the text, from which all
//! of a number comes, its comma and its space. Whatever is unusual (an exponent, very many digits, a
//! word, a line break, the end of the list) is left to the general way, which says what is wrong if
//! something is.
//!
//! **Invariant:** a number that is read here is the one that [`Number`](super::Number) makes of it,
//! to the bit; the tests hold the two against each other.

use super::Scanner;
use super::number::{OFF, TENS, digits_of, eight_digits, powers_of_tenth, value_of};

/// How much of the text is looked at for one number.
const WINDOW: usize = 32;
/// Numbers that are put together before they are appended.
const BLOCK: usize = 64;
/// Digits, and places, with which one operation of binary32 is exact.
const EXACT: usize = 7;
static TENS_F32: [f32; 8] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
/// The binary64 nearest to powers of a tenth.
static TENTHS: [f64; WINDOW] = powers_of_tenth();
/// The numbers with one digit before the point and one behind it.
static ONE_PLACE: [f32; 128] = one_place();

/// A number, and how much of the text it takes without what follows it.
type Taken = Option<(f32, usize)>;

/// Reads numbers, at most so many and only such as are followed by a comma, and appends their bytes.
/// Returns how many there were; behind the last of them the scanner stands then.
pub(super) fn run(scanner: &mut Scanner<'_>, data: &mut Vec<u8>, most: usize) -> usize {
    // A list has a space behind every comma, or behind none.
    match run_between::<2>(scanner, data, most) {
        0 => run_between::<1>(scanner, data, most),
        count => count,
    }
}

/// Reads numbers that have a comma and, if it is to be two bytes, a space between them.
fn run_between<const BETWEEN: usize>(
    scanner: &mut Scanner<'_>,
    data: &mut Vec<u8>,
    most: usize,
) -> usize {
    let text = &scanner.text()[scanner.at()..];
    let (mut rest, mut count) = (text, 0);
    let mut block = [0; 4 * BLOCK];
    loop {
        let (slots, _) = block.as_chunks_mut::<4>();
        let wanted = (most - count).min(BLOCK);
        let mut filled = 0;
        for slot in &mut slots[..wanted] {
            let Some((number, length)) = take::<BETWEEN>(rest) else {
                break;
            };
            *slot = number.to_le_bytes();
            rest = &rest[length..];
            filled += 1;
        }
        data.extend_from_slice(&block[..4 * filled]);
        count += filled;
        if filled < BLOCK {
            scanner.advance(text.len() - rest.len());
            return count;
        }
    }
}

#[inline(always)]
fn take<const BETWEEN: usize>(rest: &[u8]) -> Taken {
    let window = rest.first_chunk::<WINDOW>()?;
    let (number, end) = number(window)?;
    // No number here is longer than leaves room for both.
    let [comma, space] = [window[end % WINDOW], window[(end + 1) % WINDOW]];
    if comma != b',' || (BETWEEN == 2 && space != b' ') {
        return None;
    }
    Some((number, (end + BETWEEN) % WINDOW))
}

#[inline(always)]
fn number(window: &[u8; WINDOW]) -> Taken {
    match small::<0>(window) {
        Ok(taken) => taken,
        Err(Other) if window[0] == b'-' => {
            let (number, end) = match small::<1>(window) {
                Ok(taken) => taken,
                Err(Other) => several_digits::<1>(window),
            }?;
            Some((-number, end))
        }
        Err(Other) => several_digits::<0>(window),
    }
}

/// A number that does not begin with one digit and a point.
struct Other;

/// Reads a number that has its point behind its first digit, and begins at a place in the window.
#[inline(always)]
fn small<const AT: usize>(window: &[u8; WINDOW]) -> Result<Taken, Other> {
    // The point is the higher byte.
    let digit = u16::from_le_bytes([window[AT], window[AT + 1]]).wrapping_sub(0x2e30);
    if digit > 9 {
        return Err(Other);
    }
    Ok(fraction::<AT>(window, usize::from(digit)))
}

/// Reads a number behind its first digit and its point.
#[inline(always)]
fn fraction<const AT: usize>(window: &[u8; WINDOW], digit: usize) -> Taken {
    if window[AT + 3] == b',' {
        let place = window[AT + 2].wrapping_sub(b'0');
        if place > 9 {
            return None;
        }
        let number = ONE_PLACE[(digit * 10 + usize::from(place)) & 127];
        return Some((number, AT + 3));
    }
    let word = word(window, AT + 2);
    let places = digits_of(word);
    if places == 8 {
        return many_places::<AT>(window, digit as u64 * TENS[8] + eight_digits(word));
    }
    if places == 0 {
        return None;
    }
    let digits = digit as u64 * TENS[places] + value_of(word, places);
    let number = if places < EXACT {
        digits as i32 as f32 / TENS_F32[places]
    } else {
        rounded(digits, TENTHS[places], 1)?
    };
    Some((number, AT + 2 + places))
}

/// Reads a number behind its first nine digits, the point being behind the first.
#[inline(always)]
fn many_places<const AT: usize>(window: &[u8; WINDOW], digits: u64) -> Taken {
    let word = self::word(window, AT + 10);
    let places = digits_of(word);
    if places < 8 {
        let more = if places == 0 {
            0
        } else {
            value_of(word, places)
        };
        let digits = digits * TENS[places] + more;
        let number = rounded(digits, TENTHS[8 + places], 1)?;
        return Some((number, AT + 10 + places));
    }
    let digits = digits * TENS[8] + eight_digits(word);
    let places = digits_of(self::word(window, AT + 18));
    // The digits that are left change the number by less than one in what there is of it.
    if places == 8 || digits < FEWEST_OF_CUT {
        return None;
    }
    let number = rounded(digits, TENTHS[16], OFF_BY_CUT)?;
    Some((number, AT + 18 + places))
}

/// Reads a number whose point is not behind its first digit, or that has none.
#[inline(always)]
fn several_digits<const AT: usize>(window: &[u8; WINDOW]) -> Taken {
    let word = self::word(window, AT);
    let count = digits_of(word);
    if count == 0 || count >= EXACT || (count > 1 && window[AT] == b'0') {
        return None;
    }
    let digits = value_of(word, count);
    if window[AT + count] != b'.' {
        return Some((digits as i32 as f32, AT + count));
    }
    let word = self::word(window, AT + count + 1);
    let places = digits_of(word);
    if places == 0 || places == 8 {
        return None;
    }
    let digits = digits * TENS[places] + value_of(word, places);
    let number = rounded(digits, TENTHS[places], 1)?;
    Some((number, AT + count + 1 + places))
}

/// Returns the eight bytes at a place in the window, which is one that leaves room for them.
#[inline(always)]
fn word(window: &[u8; WINDOW], at: usize) -> u64 {
    let bytes = &window[at..at + 8];
    u64::from_le_bytes(bytes.try_into().expect("eight bytes are eight"))
}

/// Digits from which on those that were cut off change a number by less than one in 2^33.
const FEWEST_OF_CUT: u64 = 1 << 33;
/// By how many steps of binary64 that changes it, with room to spare.
const OFF_BY_CUT: u64 = 1 << 21;

/// Returns the binary32 nearest to digits times a power of ten, if that is sure although the product
/// may be off by some steps of binary64: if it is not that near to the middle between two binary32,
/// which has the highest of the 29 bits that those do not have.
#[inline(always)]
fn rounded(digits: u64, power: f64, off: u64) -> Option<f32> {
    let off = off + OFF;
    // Fewer than 19 digits are a positive whole number however they are looked at.
    let product = digits as i64 as f64 * power;
    let beyond = product.to_bits() << 35;
    if beyond.wrapping_sub(((1 << 28) - off) << 35) <= (2 * off) << 35 {
        return None;
    }
    Some(product as f32)
}

const fn one_place() -> [f32; 128] {
    let mut numbers = [0.0; 128];
    let mut index = 0;
    while index < 100 {
        numbers[index] = index as f32 / 10.0;
        index += 1;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a list both ways, and returns how many of its numbers were usual.
    fn check(numbers: &[String], between: &str) -> usize {
        let text = numbers.join(between) + between + &"]".repeat(WINDOW);
        let mut scanner = Scanner::new(text.as_bytes());
        let mut data = Vec::new();
        let count = run(&mut scanner, &mut data, numbers.len());
        assert_eq!(data.len(), 4 * count);
        for (raw, number) in data.as_chunks::<4>().0.iter().zip(numbers) {
            let expected: f32 = number.parse().unwrap();
            assert_eq!(
                f32::from_le_bytes(*raw).to_bits(),
                expected.to_bits(),
                "{number}"
            );
        }
        let read: usize = numbers[..count]
            .iter()
            .map(|n| n.len() + between.len())
            .sum();
        assert_eq!(scanner.at(), read);
        count
    }

    #[test]
    fn numbers_of_the_usual_forms_are_read_and_the_first_other_one_ends_the_run() {
        let usual = [
            "0.5",
            "-0.5",
            "0",
            "-0",
            "7",
            "255",
            "-128",
            "999999",
            "0.25",
            "3.1415927",
            "12.5",
            "-123.4567",
            "0.30000001192092896",
            "-0.0012345678901234567",
            "0.000001",
            "9.9",
        ];
        let numbers: Vec<String> = usual.map(str::to_owned).to_vec();
        assert_eq!(check(&numbers, ","), usual.len());
        assert_eq!(check(&numbers, ", "), usual.len());
        for unusual in [
            "1e5",
            "NaN",
            "01",
            "-",
            "1.",
            ".5",
            "00",
            "0.5e1",
            "1234567890",
            "null",
            "\"1\"",
            "0.:",
            "0.5:",
            "/.5",
            "0./,",
            "16777217",
            "0.00000000000012345678",
            "]",
            "[1",
            "1.000000178813934326171875",
        ] {
            let text = format!("0.5,{unusual},0.5,{}", "]".repeat(WINDOW));
            let mut scanner = Scanner::new(text.as_bytes());
            assert_eq!(run(&mut scanner, &mut Vec::new(), 9), 1, "{unusual}");
            assert_eq!(scanner.at(), 4, "{unusual}");
        }
    }

    #[test]
    fn no_more_are_read_than_are_wanted() {
        let text = "1,".repeat(500);
        for most in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 300] {
            let mut scanner = Scanner::new(text.as_bytes());
            assert_eq!(run(&mut scanner, &mut Vec::new(), most), most);
            assert_eq!(scanner.at(), 2 * most);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_run_is_what_the_library_says(
            bits in prop::collection::vec(any::<u32>(), 1..20), wide in any::<bool>()
        ) {
            // Numbers about as large as those that models take, written without an exponent.
            let numbers: Vec<String> = bits
                .iter()
                .map(|bits| f32::from_bits((bits & 0x87ff_ffff) | 0x3800_0000))
                .map(|n| if wide { f64::from(n).to_string() } else { n.to_string() })
                .collect();
            check(&numbers, ", ");
        }

        #[test]
        fn every_run_of_decimals_is_what_the_library_says(
            numbers in prop::collection::vec("-?(0|[1-9][0-9]{0,7})(\\.[0-9]{1,24})?", 1..20)
        ) {
            check(&numbers, ",");
        }
    }
}
