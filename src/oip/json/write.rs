//! Tensors and strings as JSON.
//!
//! Floating-point numbers are written with the fewest digits that are read back as the same number,
//! in the way of serde_json.

use std::fmt::Display;
use std::io::Write;

use impetus_engine::tensor::split_strings;
use impetus_engine::{DType, Tensor};

use crate::oip::{Kind, Refusal, half};

/// Text that one number takes about, with its comma.
const ABOUT: usize = 12;

/// Appends a tensor's elements as a flat list.
///
/// # Errors
/// It holds what JSON cannot: bytes that are no UTF-8, or a type that the protocol has in binary
/// only.
pub fn write_data(tensor: &Tensor, text: &mut Vec<u8>) -> Result<(), Refusal> {
    text.push(b'[');
    elements(tensor, tensor.data(), text)?;
    text.push(b']');
    Ok(())
}

/// Appends a tensor's elements as lists in lists, as its shape has them; the only element of one
/// without dimensions as it is.
///
/// # Errors
/// As [`write_data`].
pub fn write_nested(tensor: &Tensor, text: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut rest = tensor.data();
    nested(tensor, tensor.shape(), &mut rest, text)
}

/// Appends one row of a tensor, as lists in lists: `rest` is what is left of its data from that row
/// on, and then what is left behind it.
///
/// # Errors
/// As [`write_data`].
pub fn write_row(tensor: &Tensor, rest: &mut &[u8], text: &mut Vec<u8>) -> Result<(), Refusal> {
    let shape = tensor.shape().get(1..).unwrap_or_default();
    nested(tensor, shape, rest, text)
}

/// Appends a string with its quotes.
pub fn write_string(string: &str, text: &mut Vec<u8>) {
    serde_json::to_writer(text, string).expect("memory takes every string");
}

fn nested(
    tensor: &Tensor,
    shape: &[usize],
    rest: &mut &[u8],
    text: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let (extent, inner) = match shape {
        [] => return elements(tensor, take(tensor, rest, 1), text),
        [extent] => {
            text.push(b'[');
            elements(tensor, take(tensor, rest, *extent), text)?;
            text.push(b']');
            return Ok(());
        }
        [extent, inner @ ..] => (*extent, inner),
    };
    text.push(b'[');
    for index in 0..extent {
        if index > 0 {
            text.push(b',');
        }
        nested(tensor, inner, rest, text)?;
    }
    text.push(b']');
    Ok(())
}

/// Takes the bytes of so many elements off the front.
fn take<'a>(tensor: &Tensor, rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let bytes = match tensor.dtype().size() {
        Some(size) => count * size,
        None => {
            let strings = split_strings(rest).take(count);
            strings.map(|string| size_of::<u32>() + string.len()).sum()
        }
    };
    let (taken, left) = rest.split_at(bytes.min(rest.len()));
    *rest = left;
    taken
}

/// Appends elements with commas between them.
fn elements(tensor: &Tensor, data: &[u8], text: &mut Vec<u8>) -> Result<(), Refusal> {
    match tensor.dtype() {
        DType::Bool => list(data, text, |raw: [u8; 1], text| {
            text.extend_from_slice(if raw == [0] { b"false" } else { b"true" });
        }),
        DType::U8 => list(data, text, |raw, text| whole(u8::from_le_bytes(raw), text)),
        DType::U16 => list(data, text, |raw, text| whole(u16::from_le_bytes(raw), text)),
        DType::U32 => list(data, text, |raw, text| whole(u32::from_le_bytes(raw), text)),
        DType::U64 => list(data, text, |raw, text| whole(u64::from_le_bytes(raw), text)),
        DType::I8 => list(data, text, |raw, text| whole(i8::from_le_bytes(raw), text)),
        DType::I16 => list(data, text, |raw, text| whole(i16::from_le_bytes(raw), text)),
        DType::I32 => list(data, text, |raw, text| whole(i32::from_le_bytes(raw), text)),
        DType::I64 => list(data, text, |raw, text| whole(i64::from_le_bytes(raw), text)),
        DType::F16 => list(data, text, |raw, text| float(half::f16_to_f32(raw), text)),
        DType::F32 => list(data, text, |raw, text| float(f32::from_le_bytes(raw), text)),
        DType::F64 => list(data, text, |raw, text| float(f64::from_le_bytes(raw), text)),
        DType::Bytes => strings(tensor, data, text)?,
        DType::BF16 => return Err(in_binary_only(tensor, "BF16 has no form in JSON")),
    }
    Ok(())
}

fn list<const N: usize>(data: &[u8], text: &mut Vec<u8>, write: impl Fn([u8; N], &mut Vec<u8>)) {
    let (elements, _) = data.as_chunks::<N>();
    text.reserve(elements.len() * ABOUT + 2);
    for (index, raw) in elements.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write(*raw, text);
    }
}

fn strings(tensor: &Tensor, data: &[u8], text: &mut Vec<u8>) -> Result<(), Refusal> {
    for (index, string) in split_strings(data).enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let string = std::str::from_utf8(string)
            .map_err(|_| in_binary_only(tensor, "one of its strings is no UTF-8"))?;
        write_string(string, text);
    }
    Ok(())
}

fn whole(number: impl Display, text: &mut Vec<u8>) {
    write!(text, "{number}").expect("memory takes every number");
}

/// What a number that JSON does not have is called.
trait Named: zmij::Float + Copy {
    fn name(self) -> Option<&'static str>;
}

macro_rules! named {
    ($($float:ident),*) => {$(
        impl Named for $float {
            #[inline]
            fn name(self) -> Option<&'static str> {
                if self.is_finite() {
                    None
                } else if self.is_nan() {
                    Some("NaN")
                } else if self > 0.0 {
                    Some("Infinity")
                } else {
                    Some("-Infinity")
                }
            }
        }
    )*};
}

named!(f32, f64);

#[inline]
fn float<T: Named>(number: T, text: &mut Vec<u8>) {
    match number.name() {
        None => text.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes()),
        Some(name) => text.extend_from_slice(name.as_bytes()),
    }
}

fn in_binary_only(tensor: &Tensor, why: &str) -> Refusal {
    let message = format!(
        "output {:?} cannot be sent as JSON: {why}; ask for it in binary (binary_data)",
        tensor.name()
    );
    Refusal::new(Kind::Unsupported, message)
}
