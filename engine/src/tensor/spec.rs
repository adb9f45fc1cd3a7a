//! What a model says about its inputs and outputs, and the check of inputs against it.
//!
//! The check stands before the runtime sees anything: it names the input, what the model expects
//! and what it got, in words a client can act on, and its verdict is always the client's fault.
//! What only the graph itself can know (two free dimensions that must agree, indices in range) is
//! left to the runtime.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DType, TensorView};
use crate::error::{EngineError, shortened};

/// The extent of one dimension as a model states it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dim {
    /// Always this extent.
    Fixed(usize),
    /// Any extent, with the model's name for it if it has one.
    Free(Option<String>),
}

/// Name, element type and shape of one input or output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorSpec {
    /// The name by which requests refer to it.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The dimensions, outermost first; empty for a scalar.
    pub shape: Vec<Dim>,
}

/// Checks that `inputs` are exactly those of `specs`, each once and each of its type and shape.
///
/// The order does not matter.
pub fn check_inputs(specs: &[TensorSpec], inputs: &[TensorView<'_>]) -> Result<(), EngineError> {
    for (index, input) in inputs.iter().enumerate() {
        let name = input.name();
        let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
            return Err(EngineError::InputUnknown { name: name.into() });
        };
        if inputs[..index].iter().any(|earlier| earlier.name() == name) {
            return Err(EngineError::InputRepeated { name: name.into() });
        }
        spec.check(input.dtype(), input.shape())?;
    }
    match specs
        .iter()
        .find(|spec| inputs.iter().all(|input| input.name() != spec.name))
    {
        Some(missing) => Err(EngineError::InputMissing {
            name: missing.name.clone(),
        }),
        None => Ok(()),
    }
}

// === impl Dim ===

impl Dim {
    /// Returns whether the dimension takes any extent.
    pub fn is_free(&self) -> bool {
        matches!(self, Self::Free(_))
    }

    fn admits(&self, extent: usize) -> bool {
        match self {
            Self::Fixed(fixed) => *fixed == extent,
            Self::Free(_) => true,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(extent) => write!(f, "{extent}"),
            Self::Free(Some(name)) => f.write_str(name),
            Self::Free(None) => f.write_str("?"),
        }
    }
}

// === impl TensorSpec ===

impl TensorSpec {
    /// Checks type, rank and fixed dimensions of what is to be this input.
    pub fn check(&self, dtype: DType, shape: &[usize]) -> Result<(), EngineError> {
        if dtype != self.dtype {
            return Err(EngineError::WrongType {
                input: self.name.clone(),
                expected: self.dtype,
                got: dtype,
            });
        }
        let fits = shape.len() == self.shape.len()
            && self
                .shape
                .iter()
                .zip(shape)
                .all(|(dim, extent)| dim.admits(*extent));
        if fits {
            return Ok(());
        }
        Err(EngineError::WrongShape {
            input: self.name.clone(),
            expected: self.shape_text(),
            got: shortened(format!("{shape:?}")),
        })
    }

    /// Returns whether the outermost dimension is free, which is what lets requests be stacked.
    pub fn is_batchable(&self) -> bool {
        self.shape.first().is_some_and(Dim::is_free)
    }

    /// Returns the smallest shape the model admits: every free dimension is 1.
    pub fn smallest_shape(&self) -> Vec<usize> {
        self.shape
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(extent) => *extent,
                Dim::Free(_) => 1,
            })
            .collect()
    }

    /// Returns the shape in words, free dimensions by name or as `?`.
    pub fn shape_text(&self) -> String {
        let dims: Vec<String> = self.shape.iter().map(Dim::to_string).collect();
        format!("[{}]", dims.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> TensorSpec {
        TensorSpec {
            name: "image".into(),
            dtype: DType::U8,
            shape: vec![
                Dim::Free(Some("batch".into())),
                Dim::Fixed(2),
                Dim::Free(None),
            ],
        }
    }

    fn error(inputs: &[(&str, DType, &[usize])]) -> String {
        let data = [0; 64];
        let views: Vec<TensorView<'_>> = inputs
            .iter()
            .map(|(name, dtype, shape)| {
                let bytes = super::super::byte_len(*dtype, shape).unwrap().unwrap();
                TensorView::try_new(name, *dtype, shape, &data[..bytes]).unwrap()
            })
            .collect();
        check_inputs(&[image()], &views).unwrap_err().to_string()
    }

    #[test]
    fn every_mistake_names_the_input_the_expected_and_the_got() {
        assert_eq!(error(&[]), "input image is missing");
        assert_eq!(
            error(&[("imgae", DType::U8, &[1, 2, 1])]),
            "the model has no input imgae"
        );
        assert_eq!(
            error(&[("image", DType::I8, &[1, 2, 1])]),
            "input image must be u8, got i8"
        );
        assert_eq!(
            error(&[("image", DType::U8, &[1, 3, 1])]),
            "input image must have shape [batch, 2, ?], got [1, 3, 1]"
        );
        assert_eq!(
            error(&[("image", DType::U8, &[1, 2])]),
            "input image must have shape [batch, 2, ?], got [1, 2]"
        );
        let twice = ("image", DType::U8, [1usize, 2, 1].as_slice());
        assert_eq!(error(&[twice, twice]), "input image is given twice");
    }
}
