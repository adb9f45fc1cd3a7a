//! String tensors: every element a little-endian `u32` length and that many bytes.
//!
//! This is the Open Inference Protocol's own layout, so a batch of strings is stacked like a batch
//! of numbers, by laying the blocks end to end. The bytes need be no UTF-8 and may hold zeros.

use std::ops::Range;

use super::TensorError;

const LENGTH_BYTES: usize = size_of::<u32>();

/// Returns the block that holds the given strings.
///
/// Fails if one of them is longer than a `u32` can say.
pub fn encode_strings<'a>(
    strings: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, TensorError> {
    let mut block = Vec::new();
    for string in strings {
        let length = u32::try_from(string.len()).map_err(|_| {
            TensorError::MalformedStrings(format!("an element of {} bytes", string.len()))
        })?;
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(string);
    }
    Ok(block)
}

/// Returns the strings of a block, which ends with the first malformed one.
///
/// The data of a [`Tensor`](super::Tensor) has been checked and holds no malformed element.
pub fn split_strings(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let (string, tail) = split_first(rest)?;
        rest = tail;
        Some(string)
    })
}

/// Checks that a block holds exactly `elements` strings and nothing after them.
pub(super) fn check(block: &[u8], elements: usize) -> Result<(), TensorError> {
    let mut rest = block;
    for index in 0..elements {
        let Some((_, tail)) = split_first(rest) else {
            return Err(TensorError::MalformedStrings(format!(
                "the data ends inside element {index} of {elements}"
            )));
        };
        rest = tail;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(TensorError::MalformedStrings(format!(
            "{} bytes are left after {elements} elements",
            rest.len()
        )))
    }
}

/// Returns where the strings of that range of indices lie in a block that holds so many.
pub(super) fn place(block: &[u8], strings: Range<usize>) -> Range<usize> {
    let before = |count: usize| {
        let lengths = split_strings(block).take(count).map(<[u8]>::len);
        lengths.map(|length| LENGTH_BYTES + length).sum()
    };
    before(strings.start)..before(strings.end)
}

fn split_first(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = block.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::super::{DType, Tensor};
    use super::*;

    #[test]
    fn strings_of_any_bytes_survive_the_round_trip() {
        let strings: [&[u8]; 4] = [b"", b"a\0b", &[0xff, 0xfe], "größe".as_bytes()];
        let block = encode_strings(strings).unwrap();
        let tensor = Tensor::try_new("s", DType::Bytes, vec![2, 2], block).unwrap();
        assert!(split_strings(tensor.data()).eq(strings));
    }

    #[test]
    fn a_block_that_ends_inside_an_element_is_refused() {
        let mut block = encode_strings([b"whole".as_slice(), b"cut"]).unwrap();
        block.pop();
        let error = Tensor::try_new("s", DType::Bytes, vec![2], block).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed strings: the data ends inside element 1 of 2"
        );
    }

    #[test]
    fn a_block_with_more_strings_than_the_shape_is_refused() {
        let block = encode_strings([b"one".as_slice(), b"two"]).unwrap();
        let error = Tensor::try_new("s", DType::Bytes, vec![1], block).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed strings: 7 bytes are left after 1 elements"
        );
    }
}
