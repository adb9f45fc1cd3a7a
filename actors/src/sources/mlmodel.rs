//! What MLflow's `MLmodel` file says about a model, as a description: which file the graph is, and what
//! its inputs and outputs are said to be.

use std::fs;
use std::path::Path;

use impetus_engine::DType;
use impetus_sources::mlmodel::{MlModel, SignatureTensor};

use crate::serving::description::{Description, Expectations, ExpectedTensor};

/// The file.
pub(super) const FILE: &str = "MLmodel";

/// Adds what the file says, where a folder has one, to what a description says itself, which goes before.
/// Blocks on the file system.
///
/// # Errors
/// It is not understood, or the model is none of ONNX.
pub(super) fn complete(description: &mut Description, folder: &Path) -> Result<(), String> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return Ok(());
    }
    let said = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let text = fs::read(&path).map_err(|error| said(&error))?;
    let said_there = MlModel::read(&text).map_err(|error| said(&error))?;
    if description.file.is_none() {
        description.file = Some(said_there.file.clone());
    }
    if description.expects == Expectations::default() {
        description.expects = expected(&said_there);
    }
    description.reads.push(path);
    Ok(())
}

/// Returns what is said of tensors that have names; a signature of others says nothing that could be held
/// against a graph.
fn expected(said: &MlModel) -> Expectations {
    let all = |tensors: &[SignatureTensor]| -> Option<Vec<ExpectedTensor>> {
        tensors.iter().map(tensor).collect()
    };
    Expectations {
        stated_in: FILE.to_owned(),
        inputs: all(&said.inputs).unwrap_or_default(),
        outputs: all(&said.outputs).unwrap_or_default(),
        rows_in_front: false,
    }
}

fn tensor(said: &SignatureTensor) -> Option<ExpectedTensor> {
    let extent = |dim: &Option<u64>| dim.and_then(|dim| usize::try_from(dim).ok());
    Some(ExpectedTensor {
        name: said.name.clone()?,
        dtype: dtype(&said.dtype),
        dims: said
            .shape
            .as_ref()
            .map(|shape| shape.iter().map(extent).collect()),
    })
}

/// Returns the element type that NumPy calls so. A column's type is not that of a tensor, and says nothing.
fn dtype(name: &str) -> Option<DType> {
    Some(match name {
        "bool" => DType::Bool,
        "uint8" => DType::U8,
        "uint16" => DType::U16,
        "uint32" => DType::U32,
        "uint64" => DType::U64,
        "int8" => DType::I8,
        "int16" => DType::I16,
        "int32" => DType::I32,
        "int64" => DType::I64,
        "float16" => DType::F16,
        "float32" => DType::F32,
        "float64" => DType::F64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
flavors:
  onnx:
    data: model.onnx
    onnx_version: 1.23.2
  python_function:
    loader_module: mlflow.onnx
model_uuid: m-1
signature:
  inputs: '[{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
"#;

    #[test]
    fn the_file_says_what_a_description_leaves_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), TEXT).unwrap();
        let mut description = Description::default();
        complete(&mut description, dir.path()).unwrap();
        assert_eq!(description.file.as_deref(), Some("model.onnx"));
        let x = ExpectedTensor {
            name: "x".to_owned(),
            dtype: Some(DType::F32),
            dims: Some(vec![None, Some(3)]),
        };
        assert_eq!(description.expects.inputs, [x]);
        // An output without a name could be any of them.
        assert!(description.expects.outputs.is_empty());
    }

    #[test]
    fn a_model_of_another_flavour_is_refused_with_those_that_it_has() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "flavors:\n  sklearn: {}\n").unwrap();
        let refused = complete(&mut Description::default(), dir.path()).unwrap_err();
        assert!(
            refused.contains("sklearn") && refused.contains(FILE),
            "{refused}"
        );
    }
}
