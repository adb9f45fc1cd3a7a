//! The scores of the last run, read row by row.
#![allow(unsafe_code)]

use std::slice;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::call::Value;
use super::layout::Element;
use crate::error::EngineError;

/// Scores `[batch, sequence, vocabulary]` of one run, as rows of one vocabulary.
pub(super) struct Logits {
    value: Option<Value>,
    element: Element,
    rows: usize,
    vocabulary: usize,
    converted: Vec<f32>,
}

// === impl Logits ===

impl Logits {
    /// Returns no scores of the given type.
    pub(super) fn new(element: Element) -> Self {
        Self {
            value: None,
            element,
            rows: 0,
            vocabulary: 0,
            converted: Vec::new(),
        }
    }

    /// Gives up the scores, so that the next run can use their memory.
    pub(super) fn clear(&mut self) {
        self.value = None;
        self.rows = 0;
    }

    /// Keeps the scores that a run has given.
    pub(super) fn set(&mut self, value: Value) -> ort::Result<()> {
        let shape = value.shape()?;
        let extents: Vec<usize> = shape
            .iter()
            .filter_map(|extent| usize::try_from(*extent).ok())
            .collect();
        let [batch, sequence, vocabulary] = extents[..] else {
            return Err(ort::Error::new(format!("the scores have shape {shape:?}")));
        };
        self.rows = batch * sequence;
        self.vocabulary = vocabulary;
        self.value = Some(value);
        Ok(())
    }

    /// Returns how many tokens the scores are for.
    pub(super) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Returns one row.
    pub(super) fn row(&mut self, row: usize) -> Result<&[f32], EngineError> {
        let value = self.value.as_ref().filter(|_| row < self.rows);
        let value = value.ok_or_else(|| EngineError::run_failed(format!("no scores {row}")))?;
        let data = value
            .data()
            .map_err(|error| EngineError::run_failed(error.message()))?;
        let (offset, len) = (row * self.vocabulary, self.vocabulary);
        match self.element {
            // SAFETY: the value has that many rows of this type, initialised by the run that has
            // ended, and is kept as long as it is borrowed here.
            Element::F32 => {
                Ok(unsafe { slice::from_raw_parts(data.as_ptr().cast::<f32>().add(offset), len) })
            }
            Element::F16 => {
                // SAFETY: as above.
                let halves =
                    unsafe { slice::from_raw_parts(data.as_ptr().cast::<f16>().add(offset), len) };
                self.converted.resize(len, 0.0);
                halves.convert_to_f32_slice(&mut self.converted);
                Ok(&self.converted)
            }
        }
    }
}
