//! Tensors whose elements are written out one by one, each datatype in a field of its own.

use impetus_engine::DType;
use impetus_engine::tensor::encode_strings;

use super::proto::InferTensorContents;
use crate::oip::{Refusal, datatype};

/// Returns the block of bytes that the contents of an input are.
///
/// # Errors
/// The elements are in another field than the datatype's, or do not fit the type.
pub(super) fn bytes(
    input: &str,
    dtype: DType,
    contents: InferTensorContents,
) -> Result<Vec<u8>, Refusal> {
    check_field(input, dtype, &contents)?;
    let narrow = Narrow { input, dtype };
    match dtype {
        DType::Bool => Ok(contents
            .bool_contents
            .iter()
            .map(|b| u8::from(*b))
            .collect()),
        DType::I8 => narrow.all(contents.int_contents, |v| {
            i8::try_from(v).map(i8::to_le_bytes)
        }),
        DType::I16 => narrow.all(contents.int_contents, |v| {
            i16::try_from(v).map(i16::to_le_bytes)
        }),
        DType::U8 => narrow.all(contents.uint_contents, |v| {
            u8::try_from(v).map(u8::to_le_bytes)
        }),
        DType::U16 => narrow.all(contents.uint_contents, |v| {
            u16::try_from(v).map(u16::to_le_bytes)
        }),
        DType::I32 => Ok(block(contents.int_contents, i32::to_le_bytes)),
        DType::I64 => Ok(block(contents.int64_contents, i64::to_le_bytes)),
        DType::U32 => Ok(block(contents.uint_contents, u32::to_le_bytes)),
        DType::U64 => Ok(block(contents.uint64_contents, u64::to_le_bytes)),
        DType::F32 => Ok(block(contents.fp32_contents, f32::to_le_bytes)),
        DType::F64 => Ok(block(contents.fp64_contents, f64::to_le_bytes)),
        DType::Bytes | DType::F16 | DType::BF16 => {
            let strings = contents.bytes_contents.iter().map(AsRef::as_ref);
            encode_strings(strings).map_err(|error| Refusal::malformed(input, &error))
        }
    }
}

/// Checks that the elements are in the field that the datatype's belong into.
fn check_field(input: &str, dtype: DType, contents: &InferTensorContents) -> Result<(), Refusal> {
    let Some(belongs) = field(dtype) else {
        let dtype = datatype::name(dtype);
        return Err(Refusal::invalid(format!(
            "input {input:?} is {dtype}, which has no contents; send it in raw_input_contents"
        )));
    };
    let given = fields(contents).into_iter();
    let mut others = given.filter(|(field, length)| *length > 0 && *field != belongs);
    if let Some((other, _)) = others.next() {
        let dtype = datatype::name(dtype);
        return Err(Refusal::invalid(format!(
            "input {input:?} is {dtype} and has {other}; its elements belong into {belongs}"
        )));
    }
    Ok(())
}

/// Tells whether there is any element.
pub(super) fn are_given(contents: &InferTensorContents) -> bool {
    fields(contents).iter().any(|(_, length)| *length > 0)
}

fn fields(contents: &InferTensorContents) -> [(&'static str, usize); 8] {
    [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ]
}

/// Returns the field that a datatype's elements belong into, if it has one.
fn field(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "bool_contents",
        DType::I8 | DType::I16 | DType::I32 => "int_contents",
        DType::I64 => "int64_contents",
        DType::U8 | DType::U16 | DType::U32 => "uint_contents",
        DType::U64 => "uint64_contents",
        DType::F32 => "fp32_contents",
        DType::F64 => "fp64_contents",
        DType::Bytes => "bytes_contents",
        DType::F16 | DType::BF16 => return None,
    })
}

fn block<T, const N: usize>(values: Vec<T>, raw: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.into_iter().flat_map(raw).collect()
}

/// Elements that are wider on the wire than in the tensor.
struct Narrow<'a> {
    input: &'a str,
    dtype: DType,
}

// === impl Narrow ===

impl Narrow<'_> {
    fn all<T: Copy + std::fmt::Display, E, const N: usize>(
        &self,
        values: Vec<T>,
        raw: impl Fn(T) -> Result<[u8; N], E>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut block = Vec::with_capacity(values.len() * N);
        for (index, value) in values.into_iter().enumerate() {
            let raw = raw(value).map_err(|_| {
                let (input, dtype) = (self.input, datatype::name(self.dtype));
                Refusal::invalid(format!(
                    "input {input:?}: element {index} is {value}, which is no {dtype}"
                ))
            })?;
            block.extend_from_slice(&raw);
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use impetus_engine::tensor::split_strings;

    use super::*;

    fn ints(values: &[i32]) -> InferTensorContents {
        InferTensorContents {
            int_contents: values.to_vec(),
            ..InferTensorContents::default()
        }
    }

    #[test]
    fn every_datatype_is_read_from_its_own_field() {
        for dtype in DType::ALL {
            let contents = InferTensorContents {
                bool_contents: vec![true; usize::from(field(dtype) == Some("bool_contents"))],
                int_contents: vec![-2; usize::from(field(dtype) == Some("int_contents"))],
                int64_contents: vec![-3; usize::from(field(dtype) == Some("int64_contents"))],
                uint_contents: vec![4; usize::from(field(dtype) == Some("uint_contents"))],
                uint64_contents: vec![5; usize::from(field(dtype) == Some("uint64_contents"))],
                fp32_contents: vec![0.5; usize::from(field(dtype) == Some("fp32_contents"))],
                fp64_contents: vec![0.25; usize::from(field(dtype) == Some("fp64_contents"))],
                bytes_contents: Vec::new(),
            };
            let block = bytes("x", dtype, contents);
            match dtype {
                DType::F16 | DType::BF16 => {
                    assert!(block.unwrap_err().message().contains("raw_input_contents"));
                }
                DType::Bytes => assert!(block.unwrap().is_empty()),
                _ => assert_eq!(Some(block.unwrap().len()), dtype.size(), "{dtype}"),
            }
        }
    }

    #[test]
    fn narrow_elements_keep_their_value_or_are_refused() {
        assert_eq!(
            bytes("x", DType::I8, ints(&[-128, 127])).unwrap(),
            [0x80, 0x7f]
        );
        let error = bytes("x", DType::I8, ints(&[0, 128])).unwrap_err();
        assert_eq!(
            error.message(),
            "input \"x\": element 1 is 128, which is no INT8"
        );
        assert_eq!(bytes("x", DType::I16, ints(&[-2])).unwrap(), [0xfe, 0xff]);
    }

    #[test]
    fn elements_in_the_field_of_another_datatype_are_refused() {
        let error = bytes("x", DType::F32, ints(&[1])).unwrap_err();
        assert_eq!(
            error.message(),
            "input \"x\" is FP32 and has int_contents; its elements belong into fp32_contents"
        );
        assert!(are_given(&ints(&[1])) && !are_given(&ints(&[])));
    }

    #[test]
    fn strings_of_any_bytes_are_read() {
        let contents = InferTensorContents {
            bytes_contents: vec![vec![0xff, 0].into(), Vec::new().into()],
            ..InferTensorContents::default()
        };
        let block = bytes("x", DType::Bytes, contents).unwrap();
        assert!(split_strings(&block).eq([[0xff, 0].as_slice(), b""]));
    }
}
