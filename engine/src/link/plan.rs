//! Where the inputs of one run go: how long they are, and how they lie side by side.

use super::{Limits, StackedInput};
use crate::error::EngineError;
use crate::platform;
use crate::protocol::{Place, WireTensor, frame};
use crate::tensor::{DType, byte_len};

/// The inputs of one run, laid out but not yet placed.
pub(super) struct Plan<'a> {
    inputs: &'a [StackedInput<'a>],
    lengths: Vec<usize>,
    offsets: Vec<usize>,
    total: usize,
}

// === impl Plan ===

impl<'a> Plan<'a> {
    /// Returns the layout, or why these bytes cannot be the inputs of any run.
    pub(super) fn of(inputs: &'a [StackedInput<'a>], limits: &Limits) -> Result<Self, EngineError> {
        let lengths = inputs
            .iter()
            .map(checked_len)
            .collect::<Result<Vec<usize>, EngineError>>()?;
        let cap = if platform::SHARED_MEMORY {
            limits.input_cap
        } else {
            limits.input_cap.min(limits.inline_max)
        };
        let (offsets, total) = frame::layout(lengths.iter().copied())
            .filter(|(_, total)| *total <= cap)
            .ok_or_else(|| EngineError::InputTooLarge {
                bytes: lengths
                    .iter()
                    .fold(0, |sum: u64, len| sum.saturating_add(*len as u64)),
                cap: cap as u64,
            })?;
        Ok(Self {
            inputs,
            lengths,
            offsets,
            total,
        })
    }

    /// Returns the bytes that the inputs take together, gaps included.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Returns the inputs as the worker is to find them.
    pub(super) fn tensors(&self, place: Place) -> Vec<WireTensor> {
        let places = self.offsets.iter().zip(&self.lengths);
        self.inputs
            .iter()
            .zip(places)
            .map(|(input, (offset, len))| WireTensor {
                name: input.name.to_owned(),
                dtype: input.dtype,
                shape: input.shape.to_vec(),
                place,
                offset: *offset,
                len: *len,
            })
            .collect()
    }

    /// Returns the parts of each input, to be laid end to end at its aligned beginning.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &'a [&'a [u8]]> {
        self.inputs.iter().map(|input| input.parts)
    }

    /// Returns every part with the offset it belongs at.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, &'a [u8])> {
        self.inputs
            .iter()
            .zip(&self.offsets)
            .flat_map(|(input, offset)| {
                input.parts.iter().scan(*offset, |at, part| {
                    let begin = *at;
                    *at += part.len();
                    Some((begin, *part))
                })
            })
    }
}

fn checked_len(input: &StackedInput<'_>) -> Result<usize, EngineError> {
    let got = input
        .parts
        .iter()
        .try_fold(0usize, |sum, part| sum.checked_add(part.len()))
        .ok_or_else(|| EngineError::malformed(input.name, "its parts exceed an address"))?;
    let expected = byte_len(input.dtype, input.shape)
        .map_err(|error| EngineError::malformed(input.name, error))?;
    match expected {
        Some(expected) if expected != got => Err(EngineError::malformed(
            input.name,
            format!(
                "{} of shape {:?} takes {expected} bytes, got {got}",
                input.dtype, input.shape
            ),
        )),
        Some(_) => Ok(got),
        // Strings are walked once, where they are decoded.
        None => {
            debug_assert_eq!(input.dtype, DType::Bytes);
            Ok(got)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_laid_end_to_end_and_inputs_at_aligned_offsets() {
        let (a, b, c) = ([1u8; 10], [2u8; 60], [3u8; 4]);
        let inputs = [
            StackedInput {
                name: "x",
                dtype: DType::U8,
                shape: &[7, 10],
                parts: &[&a, &b],
            },
            StackedInput {
                name: "y",
                dtype: DType::F32,
                shape: &[],
                parts: &[&c],
            },
        ];
        let plan = Plan::of(&inputs, &Limits::default()).unwrap();
        assert_eq!(plan.total(), 132);
        let parts: Vec<(usize, usize)> = plan.parts().map(|(at, part)| (at, part.len())).collect();
        assert_eq!(parts, [(0, 10), (10, 60), (128, 4)]);
    }

    #[test]
    fn parts_that_do_not_add_up_are_refused_before_anything_is_sent() {
        let inputs = [StackedInput {
            name: "x",
            dtype: DType::F32,
            shape: &[2, 3],
            parts: &[&[0; 12], &[0; 11]],
        }];
        let error = Plan::of(&inputs, &Limits::default()).err().unwrap();
        assert_eq!(
            error.to_string(),
            "input x is malformed: f32 of shape [2, 3] takes 24 bytes, got 23"
        );
    }

    #[test]
    fn inputs_beyond_the_cap_are_refused() {
        let limits = Limits {
            input_cap: 100,
            ..Limits::default()
        };
        let inputs = [StackedInput {
            name: "x",
            dtype: DType::U8,
            shape: &[101],
            parts: &[&[0; 101]],
        }];
        assert_eq!(
            Plan::of(&inputs, &limits).err(),
            Some(EngineError::InputTooLarge {
                bytes: 101,
                cap: 100
            })
        );
    }
}
