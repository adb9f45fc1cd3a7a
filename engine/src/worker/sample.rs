//! The warm-up sample: synthetic inputs, and the outputs they gave the first time.
//!
//! The inputs depend on nothing but the model's own specification, free dimensions being 1, so a
//! repetition has to give the same outputs. Floating point is compared with a tolerance, because
//! the order of additions among threads is free; everything else exactly.
//!
//! A model may be random by design. That shows when the very first repetition differs and the two
//! after it differ from each other as well; such a model is run but no longer compared. Once a
//! repetition has matched, any difference is a fault.
//!
//! Numbers that happen to be invalid inputs (an index out of range) make the sample fail. That
//! says nothing about the model, so it is no error: there is just no sample.

use crate::error::EngineError;
use crate::runtime::Model;
use crate::tensor::{DType, Tensor, TensorSpec, TensorView, byte_len, elements, encode_strings};

/// Inputs beyond this many bytes are not made up.
const MAX_BYTES: usize = 64 * 1024 * 1024;

const SEED: u64 = 0x1317_e705;
const RELATIVE_TOLERANCE: f64 = 1e-3;
const ABSOLUTE_TOLERANCE: f64 = 1e-5;

/// Inputs and the outputs they are to give.
pub(super) struct Sample {
    inputs: Vec<Tensor>,
    expected: Vec<Tensor>,
    trust: Trust,
}

/// What the comparison is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The sample was never repeated.
    Unknown,
    /// A repetition has matched.
    Deterministic,
    /// Repetitions differ among themselves.
    Random,
}

/// The outcome of a repetition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// The outputs were those of the first time.
    Same,
    /// The model ran, and its outputs cannot be compared.
    NotComparable,
}

// === impl Sample ===

impl Sample {
    /// Runs a model on made-up inputs; returns the sample or why there is none.
    pub(super) fn take(model: &mut dyn Model) -> Result<Self, String> {
        let inputs = model
            .inputs()
            .iter()
            .map(synthetic)
            .collect::<Result<Vec<Tensor>, String>>()?;
        let expected = outputs(model, &inputs).map_err(|error| error.to_string())?;
        Ok(Self {
            inputs,
            expected,
            trust: Trust::Unknown,
        })
    }

    /// Runs the sample again; returns what differed if that is a fault.
    pub(super) fn check(&mut self, model: &mut dyn Model) -> Result<Checked, String> {
        let got = outputs(model, &self.inputs).map_err(|error| error.to_string())?;
        if self.trust == Trust::Random {
            return Ok(Checked::NotComparable);
        }
        let Err(difference) = compare(&self.expected, &got) else {
            self.trust = Trust::Deterministic;
            return Ok(Checked::Same);
        };
        if self.trust == Trust::Unknown {
            let again = outputs(model, &self.inputs).map_err(|error| error.to_string())?;
            if compare(&got, &again).is_err() {
                self.trust = Trust::Random;
                return Ok(Checked::NotComparable);
            }
        }
        Err(difference)
    }
}

fn outputs(model: &mut dyn Model, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
    let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
    let mut outputs = Vec::new();
    model.run(&views, &mut |delivered| {
        outputs = delivered.iter().map(TensorView::to_tensor).collect();
        Ok(())
    })?;
    Ok(outputs)
}

fn synthetic(spec: &TensorSpec) -> Result<Tensor, String> {
    let shape = spec.smallest_shape();
    let count = elements(&shape).map_err(|error| error.to_string())?;
    let bytes = byte_len(spec.dtype, &shape).map_err(|error| error.to_string())?;
    if bytes.unwrap_or(count) > MAX_BYTES {
        return Err(format!("input {} is too large to be made up", spec.name));
    }
    let data = synthetic_data(spec.dtype, count).map_err(|error| error.to_string())?;
    Tensor::try_new(&spec.name, spec.dtype, shape, data).map_err(|error| error.to_string())
}

/// Small numbers: fractions of 1 for floating point, 0 and 1 where they may be indices.
fn synthetic_data(dtype: DType, count: usize) -> Result<Vec<u8>, crate::tensor::TensorError> {
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

fn compare(expected: &[Tensor], got: &[Tensor]) -> Result<(), String> {
    if expected.len() != got.len() {
        return Err(format!("{} outputs, had {}", got.len(), expected.len()));
    }
    for (expected, got) in expected.iter().zip(got) {
        let name = expected.name();
        if (expected.dtype(), expected.shape()) != (got.dtype(), got.shape()) {
            return Err(format!("output {name} is of another type or shape"));
        }
        let same = expected.data() == got.data() || floats_agree(expected, got);
        if !same {
            return Err(format!("output {name} has other values than at first"));
        }
    }
    Ok(())
}

fn floats_agree(expected: &Tensor, got: &Tensor) -> bool {
    match (floats(expected), floats(got)) {
        (Some(expected), Some(got)) => expected.zip(got).all(|(a, b)| {
            let tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * a.abs();
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance
        }),
        _ => false,
    }
}

/// Returns the values of a tensor of single or double precision.
///
/// Half precision is compared bit by bit: a tolerance of its own would be that of its last bit.
fn floats(tensor: &Tensor) -> Option<Box<dyn Iterator<Item = f64> + '_>> {
    match tensor.dtype() {
        DType::F32 => {
            let (raw, _) = tensor.data().as_chunks::<4>();
            Some(Box::new(
                raw.iter().map(|raw| f64::from(f32::from_le_bytes(*raw))),
            ))
        }
        DType::F64 => {
            let (raw, _) = tensor.data().as_chunks::<8>();
            Some(Box::new(raw.iter().map(|raw| f64::from_le_bytes(*raw))))
        }
        _ => None,
    }
}
