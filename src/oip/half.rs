//! The two 16-bit floating-point formats, to and from the ones that the language has.
//!
//! Both ways are exact where that is possible and otherwise round to the nearest, ties to even, as
//! IEEE 754 asks.

/// Returns the value of an IEEE 754 binary16.
#[must_use]
pub fn f16_to_f32(raw: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(raw));
    let sign = (bits & 0x8000) << 16;
    let exponent = (bits >> 10) & 0x1f;
    let fraction = bits & 0x3ff;
    match exponent {
        // Below the normal numbers a step is 2^-24, which binary32 has as a normal number.
        0 => {
            let magnitude = fraction as f32 / 16_777_216.0;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

/// Returns the value of the upper half of a binary32.
#[must_use]
pub fn bf16_to_f32(raw: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(raw)) << 16)
}

/// Returns the binary16 nearest to a number; infinite when it is beyond the largest.
///
/// From binary64, because a decimal that was rounded to binary32 first could be rounded wrongly a
/// second time.
#[must_use]
pub fn f64_to_f16(value: f64) -> [u8; 2] {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = value.abs();
    let bits: u16 = if magnitude.is_nan() {
        0x7e00
    } else if magnitude >= 65_520.0 {
        // Half a step above the largest rounds up, to infinity.
        0x7c00
    } else if magnitude < SMALLEST_NORMAL {
        // Whole steps of 2^-24; 1024 of them are the smallest normal number's own bits.
        nearest_even(magnitude * 16_777_216.0)
    } else {
        let exponent = ((magnitude.to_bits() >> 52) as i32) - 1023;
        // 1024 to 2048 steps; a carry out of the fraction goes into the exponent, as it should.
        let steps = nearest_even(magnitude * f64::from(10 - exponent).exp2());
        let biased = (exponent + 14) as u16;
        (biased << 10) + steps
    };
    (bits | sign).to_le_bytes()
}

/// 2^-14.
const SMALLEST_NORMAL: f64 = 6.103_515_625e-5;

/// Rounds a number of at most 2048 to a whole one, ties to even.
fn nearest_even(steps: f64) -> u16 {
    steps.round_ties_even() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binary16_survives_the_way_there_and_back() {
        for bits in 0..=u16::MAX {
            let raw = bits.to_le_bytes();
            let value = f16_to_f32(raw);
            if value.is_nan() {
                assert!(f16_to_f32(f64_to_f16(value.into())).is_nan());
            } else {
                assert_eq!(f64_to_f16(value.into()), raw, "{bits:#06x} is {value}");
            }
        }
    }

    #[test]
    fn what_lies_between_two_goes_to_the_nearer_and_ties_to_the_even_one() {
        let round = |value: f64| f16_to_f32(f64_to_f16(value));
        assert_eq!(round(2_049.0), 2048.0);
        assert_eq!(round(2_049.000_001), 2050.0);
        assert_eq!(round(2051.0), 2052.0);
        assert_eq!(round(65_519.999), 65_504.0);
        assert_eq!(round(65_520.0), f32::INFINITY);
        assert_eq!(round(-1e300), f32::NEG_INFINITY);
        // Half of the smallest step, and a little more.
        assert_eq!(round(2f64.powi(-25)), 0.0);
        assert_eq!(round(2f64.powi(-25) * 1.001), 2f32.powi(-24));
        assert_eq!(round(1.0 / 3.0), 0.333_251_95);
        assert_eq!(bf16_to_f32([0x80, 0x3f]), 1.0);
    }
}
