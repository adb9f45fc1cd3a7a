//! Inputs and outputs: what clients count on, to be held against the graph.

use impetus_engine::DType;

use super::super::mapping::Key;
use super::{Describing, NOT_UNDERSTOOD};
use crate::serving::description::ExpectedTensor;

// === impl Describing ===

impl Describing<'_> {
    pub(super) fn input(&mut self, key: &Key<'_>) -> Result<(), String> {
        let (tensor, others) = tensor(key)?;
        for key in others {
            match key.name() {
                "allow_ragged_batch" | "is_shape_tensor" if !key.truth()? => {}
                "allow_ragged_batch" => self
                    .notes
                    .unused(&key, "does nothing: only requests of one shape are stacked"),
                "is_shape_tensor" => self.notes.unused(&key, NOT_UNDERSTOOD),
                "optional" if !key.truth()? => {}
                "optional" => self
                    .notes
                    .unused(&key, "does nothing: every request has to give every input"),
                _ => self.other(&key),
            }
        }
        self.description.expects.inputs.push(tensor);
        Ok(())
    }

    pub(super) fn output(&mut self, key: &Key<'_>) -> Result<(), String> {
        let (tensor, others) = tensor(key)?;
        for key in others {
            match key.name() {
                "label_filename" => match (key.text()?, &self.description.labels_file) {
                    ("", _) => {}
                    (file, None) => {
                        self.description.labels_file = Some(file.into());
                        self.description.labels_output = Some(tensor.name.clone());
                    }
                    (_, Some(_)) => self.notes.add(
                        &key,
                        "of a second output does nothing: one output has labels",
                    ),
                },
                "is_shape_tensor" if !key.truth()? => {}
                _ => self.other(&key),
            }
        }
        self.description.expects.outputs.push(tensor);
        Ok(())
    }

    fn other(&mut self, key: &Key<'_>) {
        match key.name() {
            "format" if key.word() == Ok("FORMAT_NONE") => {}
            "format" => self
                .notes
                .unused(key, "does nothing: requests have the graph's own layout"),
            "reshape" => self.notes.unused(
                key,
                "does nothing: requests and answers have the graph's own shape",
            ),
            "is_non_linear_format_io" if key.truth() == Ok(false) => {}
            _ => self.notes.unused(key, NOT_UNDERSTOOD),
        }
    }
}

/// Returns what every input and output has, and its other keys.
fn tensor<'a>(key: &Key<'a>) -> Result<(ExpectedTensor, Vec<Key<'a>>), String> {
    let mut tensor = ExpectedTensor {
        name: String::new(),
        dtype: None,
        dims: None,
    };
    let mut others = Vec::new();
    for part in key.keys()? {
        match part.name() {
            "name" => tensor.name = part.text()?.to_owned(),
            "data_type" => tensor.dtype = dtype(&part)?,
            "dims" => tensor.dims.get_or_insert_default().push(dim(&part)?),
            _ => others.push(part),
        }
    }
    if tensor.name.is_empty() {
        return key.cannot("it has no name");
    }
    // What a client sends is then another shape than the graph's.
    if others.iter().any(|part| part.name() == "reshape") {
        tensor.dims = None;
    }
    Ok((tensor, others))
}

/// Returns an extent; -1 is any.
fn dim(key: &Key<'_>) -> Result<Option<usize>, String> {
    match key.whole()? {
        -1 => Ok(None),
        _ => key.count().map(Some),
    }
}

/// Returns an element type, if one is stated.
pub(super) fn dtype(key: &Key<'_>) -> Result<Option<DType>, String> {
    Ok(Some(match key.word()? {
        "TYPE_INVALID" => return Ok(None),
        "TYPE_BOOL" => DType::Bool,
        "TYPE_UINT8" => DType::U8,
        "TYPE_UINT16" => DType::U16,
        "TYPE_UINT32" => DType::U32,
        "TYPE_UINT64" => DType::U64,
        "TYPE_INT8" => DType::I8,
        "TYPE_INT16" => DType::I16,
        "TYPE_INT32" => DType::I32,
        "TYPE_INT64" => DType::I64,
        "TYPE_FP16" => DType::F16,
        "TYPE_BF16" => DType::BF16,
        "TYPE_FP32" => DType::F32,
        "TYPE_FP64" => DType::F64,
        "TYPE_STRING" => DType::Bytes,
        _ => return key.must("be an element type such as TYPE_FP32"),
    }))
}
