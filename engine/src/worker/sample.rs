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
//! says nothing about the model, so it is no error: there is just no sample, unless somebody has
//! [stated](stated) one.

mod fill;
mod stated;

use crate::error::EngineError;
use crate::runtime::Model;
use crate::tensor::{DType, Tensor, TensorSpec, TensorView, byte_len, elements};

pub(super) use stated::inputs_of;

/// Inputs beyond this many bytes are not made up unasked.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Inputs beyond this many bytes are not made up at all.
const MAX_STATED_BYTES: usize = 1024 * 1024 * 1024;

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
        Self::of(model, inputs).map_err(|error| error.to_string())
    }

    /// Runs a model on these inputs and keeps what comes of it.
    pub(super) fn of(model: &mut dyn Model, inputs: Vec<Tensor>) -> Result<Self, EngineError> {
        let expected = outputs(model, &inputs)?;
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
    let data = fill::random(spec.dtype, count).map_err(|error| error.to_string())?;
    Tensor::try_new(&spec.name, spec.dtype, shape, data).map_err(|error| error.to_string())
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
