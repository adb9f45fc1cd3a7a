//! What a description says of the inputs and outputs, held against the graph.
//!
//! A graph states its own inputs and outputs, so nobody has to repeat them. Whoever does so anyway
//! has clients that count on them, and a graph that says otherwise is another model than the one
//! described: it is not served, and the refusal names both.

use impetus_engine::{DType, Dim, Loaded, TensorSpec};

/// What the inputs and outputs are to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectations {
    /// The file that says so.
    pub stated_in: String,
    /// Every input, or nothing.
    pub inputs: Vec<ExpectedTensor>,
    /// Some of the outputs.
    pub outputs: Vec<ExpectedTensor>,
    /// Whether every shape has one more dimension in front that it does not state, and that is
    /// free.
    pub rows_in_front: bool,
}

/// What one input or output is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedTensor {
    /// Its name.
    pub name: String,
    /// Its element type, if that is said.
    pub dtype: Option<DType>,
    /// Its dimensions, if they are said; `None` is any extent.
    pub dims: Option<Vec<Option<usize>>>,
}

// === impl Expectations ===

impl Expectations {
    /// Returns what about a graph is not as expected, if anything is.
    #[must_use]
    pub fn mismatch(&self, loaded: &Loaded) -> Option<String> {
        let unlike = |(what, expected, found)| {
            let problem = self.one(what, expected, found)?;
            Some(format!(
                "{} does not describe this graph: {problem}",
                self.stated_in
            ))
        };
        let inputs = self
            .inputs
            .iter()
            .map(|one| ("input", one, loaded.inputs.as_slice()));
        let outputs = self
            .outputs
            .iter()
            .map(|one| ("output", one, loaded.outputs.as_slice()));
        inputs
            .chain(outputs)
            .find_map(unlike)
            .or_else(|| self.unstated(loaded))
            .or_else(|| self.unstackable(loaded))
    }

    fn one(&self, what: &str, expected: &ExpectedTensor, found: &[TensorSpec]) -> Option<String> {
        let ExpectedTensor { name, dtype, dims } = expected;
        let Some(spec) = found.iter().find(|spec| spec.name == *name) else {
            let names: Vec<&str> = found.iter().map(|spec| spec.name.as_str()).collect();
            return Some(format!(
                "it says there is an {what} {name}, the graph has {}",
                names.join(", ")
            ));
        };
        if let Some(dtype) = dtype.filter(|dtype| *dtype != spec.dtype) {
            return Some(format!(
                "it says {what} {name} is {dtype}, in the graph it is {}",
                spec.dtype
            ));
        }
        let dims = self.whole(dims.as_ref()?);
        let agrees = dims.len() == spec.shape.len() && dims.iter().zip(&spec.shape).all(agree);
        (!agrees).then(|| {
            format!(
                "it says {what} {name} has shape {}, in the graph it has {}",
                text(&dims),
                spec.shape_text()
            )
        })
    }

    fn unstated(&self, loaded: &Loaded) -> Option<String> {
        let is_stated = |spec: &&TensorSpec| self.inputs.iter().any(|one| one.name == spec.name);
        let unstated = loaded.inputs.iter().find(|spec| !is_stated(spec))?;
        (!self.inputs.is_empty()).then(|| {
            format!(
                "{} does not describe this graph: it states {} of its {} inputs, {} is missing",
                self.stated_in,
                self.inputs.len(),
                loaded.inputs.len(),
                unstated.name
            )
        })
    }

    fn unstackable(&self, loaded: &Loaded) -> Option<String> {
        let mut all = loaded.inputs.iter().chain(&loaded.outputs);
        let fixed = all.find(|spec| !spec.is_batchable())?;
        self.rows_in_front.then(|| {
            format!(
                "{} does not describe this graph: it says that requests can be stacked, and the \
                 first dimension of {} is not free but {}",
                self.stated_in,
                fixed.name,
                fixed.shape_text()
            )
        })
    }

    /// Returns a shape with the dimension that is not stated.
    fn whole(&self, dims: &[Option<usize>]) -> Vec<Option<usize>> {
        let front = self.rows_in_front.then_some(None);
        front.into_iter().chain(dims.iter().copied()).collect()
    }
}

/// Tells whether a dimension can be what is said of it: either side may leave it open.
fn agree((said, found): (&Option<usize>, &Dim)) -> bool {
    match (said, found) {
        (Some(said), Dim::Fixed(found)) => said == found,
        _ => true,
    }
}

fn text(dims: &[Option<usize>]) -> String {
    let dims = dims.iter().map(|dim| match dim {
        Some(extent) => extent.to_string(),
        None => "?".to_owned(),
    });
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use impetus_engine::{Execution, RuntimeInfo};

    use super::*;

    fn spec(name: &str, shape: &[Option<usize>]) -> TensorSpec {
        let dims = shape.iter().map(|dim| match dim {
            Some(extent) => Dim::Fixed(*extent),
            None => Dim::Free(Some("n".to_owned())),
        });
        TensorSpec {
            name: name.to_owned(),
            dtype: DType::F32,
            shape: dims.collect(),
        }
    }

    fn loaded() -> Loaded {
        Loaded {
            inputs: vec![spec("x", &[None, Some(3)]), spec("mask", &[None, None])],
            outputs: vec![spec("y", &[None, Some(2)])],
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

    fn tensor(name: &str, dtype: DType, dims: &[Option<usize>]) -> ExpectedTensor {
        ExpectedTensor {
            name: name.to_owned(),
            dtype: Some(dtype),
            dims: Some(dims.to_vec()),
        }
    }

    fn expect(inputs: Vec<ExpectedTensor>, outputs: Vec<ExpectedTensor>) -> Expectations {
        Expectations {
            stated_in: "config.pbtxt".to_owned(),
            inputs,
            outputs,
            rows_in_front: true,
        }
    }

    #[test]
    fn a_graph_that_is_as_described_is_no_mismatch() {
        let x = tensor("x", DType::F32, &[Some(3)]);
        let mask = tensor("mask", DType::F32, &[Some(7)]);
        let y = tensor("y", DType::F32, &[None]);
        assert_eq!(expect(vec![x, mask], vec![y]).mismatch(&loaded()), None);
        assert_eq!(Expectations::default().mismatch(&loaded()), None);
    }

    #[test]
    fn every_mismatch_names_what_is_said_and_what_is_found() {
        let x = || tensor("x", DType::F32, &[Some(3)]);
        let mask = || tensor("mask", DType::F32, &[None]);
        let y = |dims| vec![tensor("y", DType::F32, dims)];
        for (expected, says) in [
            (
                expect(vec![tensor("X", DType::F32, &[Some(3)]), mask()], vec![]),
                "there is an input X, the graph has x, mask",
            ),
            (
                expect(vec![tensor("x", DType::U8, &[Some(3)]), mask()], vec![]),
                "input x is u8, in the graph it is f32",
            ),
            (
                expect(vec![x(), mask()], y(&[Some(5)])),
                "output y has shape [?, 5], in the graph it has [n, 2]",
            ),
            (
                expect(vec![x(), mask()], y(&[None, Some(2)])),
                "output y has shape [?, ?, 2], in the graph it has [n, 2]",
            ),
            (
                expect(vec![x()], vec![]),
                "1 of its 2 inputs, mask is missing",
            ),
        ] {
            let mismatch = expected.mismatch(&loaded()).unwrap();
            assert!(mismatch.contains(says), "{mismatch}");
            assert!(mismatch.starts_with("config.pbtxt"), "{mismatch}");
        }
    }

    #[test]
    fn rows_that_the_graph_cannot_stack_are_a_mismatch() {
        let mut fixed = loaded();
        fixed.outputs = vec![spec("y", &[Some(1), Some(2)])];
        let mismatch = expect(vec![], vec![]).mismatch(&fixed).unwrap();
        assert!(mismatch.contains("y is not free but [1, 2]"), "{mismatch}");
    }
}
