//! What a model expects.
//!
//! Requests are held against the signature before they are queued, so that the client's mistakes
//! are answered at once, name the input, and cost no worker's time.

use impetus_engine::tensor::check_inputs;
use impetus_engine::{Dim, EngineError, Loaded, Tensor, TensorSpec, TensorView};

use super::description::Description;

/// The inputs and outputs of a loaded model.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Inputs in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the graph's order.
    pub outputs: Vec<TensorSpec>,
    /// Whether requests may be stacked along the first dimension.
    pub batches: bool,
}

// === impl Signature ===

impl Signature {
    /// Returns what a loaded model expects. Its requests are stacked where the graph allows it and
    /// the description does not say that its rows belong together.
    #[must_use]
    pub fn of(loaded: &Loaded, description: &Description) -> Self {
        Self {
            inputs: loaded.inputs.clone(),
            outputs: loaded.outputs.clone(),
            batches: loaded.max_batch_free && description.stackable != Some(false),
        }
    }

    /// Checks the inputs of a request and returns how many rows it has along the batch dimension
    /// (1 for a model that does not batch).
    ///
    /// # Errors
    /// Names the first input that is unknown, missing, of another type or of another shape.
    pub fn check(&self, inputs: &[Tensor]) -> Result<usize, EngineError> {
        let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
        check_inputs(&self.inputs, &views)?;
        self.rows(inputs)
    }

    fn rows(&self, inputs: &[Tensor]) -> Result<usize, EngineError> {
        if !self.batches {
            return Ok(1);
        }
        let Some(first) = inputs.first().and_then(|t| t.shape().first().copied()) else {
            return Ok(1);
        };
        for given in inputs {
            if given.shape().first() != Some(&first) {
                return Err(EngineError::WrongShape {
                    input: given.name().to_owned(),
                    expected: format!("{first} rows, as the other inputs have"),
                    got: format!("{:?}", given.shape()),
                });
            }
        }
        Ok(first.max(1))
    }

    /// Returns the shape of one row of the only input, its free dimensions being 1, and how many
    /// numbers that is; `None` when the model has more inputs than one.
    #[must_use]
    pub fn single_input(&self) -> Option<(&TensorSpec, Vec<usize>, usize)> {
        let [spec] = self.inputs.as_slice() else {
            return None;
        };
        let shape: Vec<usize> = spec
            .shape
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(size) => *size,
                Dim::Free(_) => 1,
            })
            .collect();
        let numbers = shape.iter().product();
        Some((spec, shape, numbers))
    }
}

#[cfg(test)]
mod tests {
    use impetus_engine::{DType, Execution, RuntimeInfo};

    use super::*;

    fn loaded() -> Loaded {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            dtype: DType::F32,
            shape: vec![Dim::Free(None)],
        };
        Loaded {
            inputs: vec![spec("a"), spec("b")],
            outputs: vec![spec("y")],
            load_micros: 1,
            warm_up_micros: 1,
            warm_up_skipped: None,
            generation: None,
            sample_runs: Vec::new(),
            max_batch_free: true,
            runtime: RuntimeInfo {
                name: String::new(),
                version: String::new(),
            },
            execution: Execution::default(),
        }
    }

    fn rows(stackable: Option<bool>, a: usize, b: usize) -> Result<usize, EngineError> {
        let description = Description {
            stackable,
            ..Description::default()
        };
        let tensor = |name: &str, rows| Tensor::from_f32(name, vec![rows], &vec![0.0; rows]);
        let inputs = [tensor("a", a).unwrap(), tensor("b", b).unwrap()];
        Signature::of(&loaded(), &description).check(&inputs)
    }

    #[test]
    fn a_free_first_dimension_counts_rows_unless_the_description_says_otherwise() {
        assert_eq!(rows(None, 3, 3), Ok(3));
        assert_eq!(rows(Some(true), 3, 3), Ok(3));
        assert!(rows(None, 3, 2).is_err());
        assert_eq!(rows(Some(false), 3, 2), Ok(1));
    }
}
