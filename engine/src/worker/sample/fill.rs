//! Elements out of nothing, or out of a file.
//!
//! What is random is so by a fixed seed: a sample is the same each time it is made, on every
//! machine, which is what lets its outputs be compared and a failure be repeated.

use std::fs;
use std::path::Path;

use crate::tensor::{DType, TensorError, encode_strings};

const SEED: u64 = 0x1317_e705;

/// Small numbers: fractions of 1 for floating point, 0 and 1 where they may be indices.
pub(super) fn random(dtype: DType, count: usize) -> Result<Vec<u8>, TensorError> {
    let bits = (0..count as u64).map(|index| mix(SEED.wrapping_add(index)));
    Ok(match dtype {
        DType::Bool | DType::U8 | DType::I8 => integers(bits, 1),
        DType::U16 | DType::I16 => integers(bits, 2),
        DType::U32 | DType::I32 => integers(bits, 4),
        DType::U64 | DType::I64 => integers(bits, 8),
        DType::F16 => pick(bits, [0x0000, 0x3400, 0x3800, 0x3c00]),
        DType::BF16 => pick(bits, [0x0000, 0x3e80, 0x3f00, 0x3f80]),
        DType::F32 => bits
            .flat_map(|bits| ((bits >> 40) as f32 / (1u64 << 24) as f32).to_le_bytes())
            .collect(),
        DType::F64 => bits
            .flat_map(|bits| ((bits >> 11) as f64 / (1u64 << 53) as f64).to_le_bytes())
            .collect(),
        DType::Bytes => encode_strings(std::iter::repeat_n(b"sample".as_slice(), count))?,
    })
}

/// Zeros; strings without a byte, which are a length of zero.
pub(super) fn zeros(dtype: DType, count: usize) -> Vec<u8> {
    vec![0; count.saturating_mul(dtype.size().unwrap_or(size_of::<u32>()))]
}

/// The same number in every element, which has to be one of the type's.
pub(super) fn repeated(dtype: DType, count: usize, value: f64) -> Result<Vec<u8>, String> {
    let element = element(dtype, value)
        .ok_or_else(|| format!("{value} is no number that {dtype} can hold"))?;
    Ok(element.repeat(count))
}

/// The bytes of a file, laid end to end so many times; `expected` is what comes of that, where it
/// is known.
pub(super) fn file(path: &Path, times: usize, expected: Option<usize>) -> Result<Vec<u8>, String> {
    let failed = |error| format!("{} cannot be read: {error}", path.display());
    let bytes = fs::metadata(path).map_err(failed)?.len();
    let all = usize::try_from(bytes)
        .ok()
        .and_then(|bytes| bytes.checked_mul(times));
    match (all, expected) {
        (Some(all), Some(expected)) if all != expected => {
            return Err(format!(
                "{} holds {bytes} bytes, type and shape ask for {}",
                path.display(),
                expected / times.max(1)
            ));
        }
        (Some(all), _) if all <= super::MAX_STATED_BYTES => {}
        _ => return Err(format!("{} is too large for a sample", path.display())),
    }
    let one = fs::read(path).map_err(failed)?;
    Ok(if times == 1 { one } else { one.repeat(times) })
}

fn element(dtype: DType, value: f64) -> Option<Vec<u8>> {
    let whole = || (value.fract() == 0.0).then_some(value as i128);
    Some(match dtype {
        DType::Bool => vec![u8::try_from(whole()?).ok().filter(|bit| *bit <= 1)?],
        DType::U8 => u8::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::U16 => u16::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::U32 => u32::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::U64 => u64::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::I8 => i8::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::I16 => i16::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::I32 => i32::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::I64 => i64::try_from(whole()?).ok()?.to_le_bytes().to_vec(),
        DType::F16 => half(value)?.to_le_bytes().to_vec(),
        DType::BF16 => brain(value)?.to_le_bytes().to_vec(),
        DType::F32 => single(value)?.to_le_bytes().to_vec(),
        DType::F64 => value.to_le_bytes().to_vec(),
        DType::Bytes => return None,
    })
}

fn single(value: f64) -> Option<f32> {
    let single = value as f32;
    (single.is_finite() || !value.is_finite()).then_some(single)
}

/// Rounds to the nearest bfloat16, ties to even.
fn brain(value: f64) -> Option<u16> {
    let bits = single(value)?.to_bits();
    if value.is_nan() {
        return Some(0x7fc0);
    }
    let rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    let overflown = rounded & 0x7fff == 0x7f80 && value.is_finite();
    u16::try_from(rounded).ok().filter(|_| !overflown)
}

/// Rounds to the nearest binary16, ties to even.
fn half(value: f64) -> Option<u16> {
    /// The least magnitude that has an exponent of its own.
    const NORMAL: f64 = 1.0 / 16384.0;
    /// From here on the nearest is infinity.
    const OVERFLOW: f64 = 65520.0;
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let size = value.abs();
    if value.is_nan() {
        return Some(0x7e00);
    }
    if size.is_infinite() {
        return Some(sign | 0x7c00);
    }
    if size >= OVERFLOW {
        return None;
    }
    if size < NORMAL {
        let steps = (size * f64::from(1u32 << 24)).round_ties_even();
        return Some(sign | steps as u16);
    }
    let exponent = (size.to_bits() >> 52) as i32 - 1023;
    let steps = (size * 2f64.powi(10 - exponent)).round_ties_even() as u16;
    // A mantissa that was rounded up to the next power of two carries into the exponent.
    Some(sign + (((exponent + 15) as u16) << 10) + (steps - 1024))
}

fn integers(bits: impl Iterator<Item = u64>, size: usize) -> Vec<u8> {
    bits.flat_map(|bits| (bits & 1).to_le_bytes().into_iter().take(size))
        .collect()
}

/// Halves of 0, ¼, ½ and 1.
fn pick(bits: impl Iterator<Item = u64>, values: [u16; 4]) -> Vec<u8> {
    bits.flat_map(|bits| values[(bits & 3) as usize].to_le_bytes())
        .collect()
}

/// The finalizer of SplitMix64: neighbouring numbers give unrelated ones.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_rounded_to_the_nearest_half() {
        for (value, bits) in [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (0.1, 0x2e66),
            (65504.0, 0x7bff),
            (2047.75, 0x6800),
            (1.0 / 16384.0, 0x0400),
            (1.0 / 16777216.0, 0x0001),
            (f64::INFINITY, 0x7c00),
        ] {
            assert_eq!(half(value), Some(bits), "{value}");
        }
        assert_eq!(half(65520.0), None);
    }

    #[test]
    fn a_number_is_rounded_to_the_nearest_bfloat16() {
        assert_eq!(brain(1.0), Some(0x3f80));
        assert_eq!(brain(-0.1), Some(0xbdcd));
        assert_eq!(brain(f64::NEG_INFINITY), Some(0xff80));
        assert_eq!(brain(f64::from(f32::MAX)), None);
    }

    #[test]
    fn a_number_that_the_type_cannot_hold_is_refused() {
        assert_eq!(repeated(DType::U8, 2, 255.0).unwrap(), [255, 255]);
        assert_eq!(repeated(DType::I16, 1, -2.0).unwrap(), [0xfe, 0xff]);
        assert_eq!(repeated(DType::Bool, 1, 1.0).unwrap(), [1]);
        for (dtype, value) in [
            (DType::U8, 256.0),
            (DType::U8, -1.0),
            (DType::I64, 0.5),
            (DType::Bool, 2.0),
            (DType::F32, 1e300),
            (DType::I32, f64::NAN),
            (DType::Bytes, 0.0),
        ] {
            let refused = repeated(dtype, 1, value).unwrap_err();
            assert!(refused.contains(dtype.name()), "{refused}");
        }
    }
}
