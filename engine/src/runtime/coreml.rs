//! Core ML, Apple's own runtime, through the crate coreml-rs.
//!
//! Everything that can be decided without Core ML stands here, behind [`Surface`], which is what that
//! crate offers and no more: a loaded model describes itself in words, is given one input after the
//! other, and computes. `native` implements it on macOS; the tests by a fake, on any system.
//!
//! The crate is narrow, and what it cannot do is refused when the model is loaded, by name, because
//! at a run it would end the process: inputs are arrays of `Float32`, `Float16` or `Int32` with fixed
//! extents, outputs are arrays of `Float32`. A model whose inputs and outputs all have 1 in front
//! takes any number of rows here: each is a run of its own.

mod describe;
#[cfg(all(feature = "coreml", target_os = "macos"))]
mod native;
#[cfg(test)]
mod tests;

use std::path::Path;

use half::f16;

use super::{Deliver, Execution, Model, Provider};
use crate::error::{EngineError, shortened};
use crate::tensor::{DType, Dim, TensorSpec, TensorView, elements};
use describe::feature;

#[cfg(all(feature = "coreml", target_os = "macos"))]
pub(super) use native::{info, load};

/// What coreml-rs offers of one loaded model.
pub(super) trait Surface {
    /// Returns what the model says of its inputs, a text for each.
    fn inputs(&self) -> Result<Vec<String>, String>;

    /// Returns what the model says of its outputs, a text for each.
    fn outputs(&self) -> Result<Vec<String>, String>;

    /// Sets an input of the next run.
    fn add_input(&mut self, name: &str, array: Array) -> Result<(), String>;

    /// Computes; returns every output by its name.
    fn predict(&mut self) -> Result<Vec<(String, Vec<f32>)>, String>;
}

/// An input in the form in which Core ML takes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    /// The extent of every dimension.
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers,
}

/// Numbers, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    I32(Vec<i32>),
}

/// A model that Core ML has loaded.
pub(super) struct CoreMlModel<S> {
    surface: S,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// Whether each row is a run of its own.
    by_rows: bool,
}

// === impl CoreMlModel ===

impl<S: Surface> CoreMlModel<S> {
    /// Takes a loaded model, unless it asks for what cannot be given.
    pub(super) fn try_new(path: &Path, surface: S) -> Result<Self, EngineError> {
        let refused = |reason: String| EngineError::ModelUnsupported {
            path: path.to_owned(),
            reason: shortened(reason),
        };
        let read = |what: &str, said: Result<Vec<String>, String>, takes: &[DType]| {
            let mut specs = Vec::new();
            for text in said? {
                let spec = feature(&text).map_err(|why| format!("{what} {why}"))?;
                if !takes.contains(&spec.dtype) {
                    let name = &spec.name;
                    return Err(format!(
                        "{what} {name} is {}, which coreml-rs cannot pass on",
                        spec.dtype
                    ));
                }
                specs.push(spec);
            }
            // Core ML keeps them in no order.
            specs.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(specs)
        };
        let takes = [DType::F32, DType::F16, DType::I32];
        let mut inputs = read("input", surface.inputs(), &takes).map_err(refused)?;
        let mut outputs = read("output", surface.outputs(), &[DType::F32]).map_err(refused)?;
        let one_in_front = |spec: &TensorSpec| spec.shape.first() == Some(&Dim::Fixed(1));
        let by_rows = !inputs.is_empty() && inputs.iter().chain(&outputs).all(one_in_front);
        if by_rows {
            for spec in inputs.iter_mut().chain(&mut outputs) {
                spec.shape[0] = Dim::Free(None);
            }
        }
        Ok(Self {
            surface,
            inputs,
            outputs,
            by_rows,
        })
    }

    /// Runs one row and appends its outputs, in the model's order.
    fn run_row(
        &mut self,
        inputs: &[TensorView<'_>],
        row: usize,
        results: &mut [Vec<u8>],
    ) -> Result<(), EngineError> {
        for input in inputs {
            let array = array(input, self.by_rows.then_some(row))?;
            self.surface
                .add_input(input.name(), array)
                .map_err(|error| {
                    EngineError::run_failed(format!("input {}: {error}", input.name()))
                })?;
        }
        let mut given = self.surface.predict().map_err(EngineError::run_failed)?;
        for (spec, result) in self.outputs.iter().zip(results) {
            let position = given.iter().position(|(name, _)| *name == spec.name);
            let Some(position) = position else {
                let missing = format!("output {} is missing", spec.name);
                return Err(EngineError::run_failed(missing));
            };
            let (_, numbers) = given.swap_remove(position);
            let expected = elements(&spec.smallest_shape()).unwrap_or(0);
            if numbers.len() != expected {
                return Err(EngineError::run_failed(format!(
                    "output {} has {} numbers, and its shape says {expected}",
                    spec.name,
                    numbers.len()
                )));
            }
            result.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        Ok(())
    }
}

impl<S: Surface> Model for CoreMlModel<S> {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn execution(&self) -> Execution {
        Execution::by(Provider::CoreMl)
    }

    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        deliver: &mut Deliver<'_>,
    ) -> Result<(), EngineError> {
        let rows = match self.by_rows {
            true => rows(inputs)?,
            false => 1,
        };
        let mut results = vec![Vec::new(); self.outputs.len()];
        for row in 0..rows {
            self.run_row(inputs, row, &mut results)?;
        }
        let shapes: Vec<Vec<usize>> = self
            .outputs
            .iter()
            .map(|spec| {
                let mut shape = spec.smallest_shape();
                if self.by_rows {
                    shape[0] = rows;
                }
                shape
            })
            .collect();
        let views = self
            .outputs
            .iter()
            .zip(&shapes)
            .zip(&results)
            .map(|((spec, shape), data)| TensorView::try_new(&spec.name, spec.dtype, shape, data))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| EngineError::run_failed(error.to_string()))?;
        deliver(&views)
    }
}

/// Returns how many rows the inputs have, which is the same for all.
fn rows(inputs: &[TensorView<'_>]) -> Result<usize, EngineError> {
    let of = |input: &TensorView<'_>| input.shape().first().copied().unwrap_or(1);
    let rows = inputs.first().map_or(1, of);
    match inputs.iter().find(|input| of(input) != rows) {
        None => Ok(rows),
        Some(other) => Err(EngineError::WrongShape {
            input: other.name().to_owned(),
            expected: format!("{rows} rows, as the other inputs have"),
            got: format!("{:?}", other.shape()),
        }),
    }
}

/// Returns an input, or one row of it, in the form in which Core ML takes it.
fn array(input: &TensorView<'_>, row: Option<usize>) -> Result<Array, EngineError> {
    let mut shape = input.shape().to_vec();
    let mut data = input.data();
    if let (Some(row), Some(rows)) = (row, shape.first().copied()) {
        let bytes = data.len() / rows.max(1);
        data = &data[row * bytes..(row + 1) * bytes];
        shape[0] = 1;
    }
    let numbers = match input.dtype() {
        DType::F32 => Numbers::F32(numbers(data, f32::from_le_bytes)),
        DType::F16 => Numbers::F16(numbers(data, f16::from_le_bytes)),
        DType::I32 => Numbers::I32(numbers(data, i32::from_le_bytes)),
        other => {
            return Err(EngineError::run_failed(format!(
                "input {} is {other}, which coreml-rs cannot pass on",
                input.name()
            )));
        }
    };
    Ok(Array { shape, numbers })
}

fn numbers<T, const N: usize>(data: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = data.as_chunks::<N>();
    chunks.iter().map(|chunk| read(*chunk)).collect()
}
