//! Graphs that give keys and values of past and present as new tensors.
//!
//! Each run copies everything there is, and sequences of different lengths cannot be run together,
//! so there is one slot. It is rewound by copying what remains. Some of these graphs take no chunk of
//! a prompt behind another one, which is found out when they are loaded.
#![allow(unsafe_code)]

use std::ptr;

use ort::sys::OrtValue;

use super::super::super::Interrupt;
use super::super::session::run_error;
use super::Parts;
use super::call::{Graph, Value};
use super::layout::Layout;
use super::logits::Logits;
use super::shared::element_of_scores;
use crate::error::EngineError;
use crate::generate::{Decoder, DecoderShape, Row};
use crate::tensor::TensorSpec;

/// A graph whose present is the next run's past.
pub(super) struct ConcatenatingDecoder {
    shape: DecoderShape,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    layout: Layout,
    logits: Logits,
    /// Key and value of each layer, `[1, kv_heads, len, head_dim]`.
    past: Vec<Value>,
    len: usize,
    graph: Graph,
}

// === impl ConcatenatingDecoder ===

impl ConcatenatingDecoder {
    pub(super) fn load(parts: Parts) -> Result<Self, EngineError> {
        let layout = parts.layout;
        let mut decoder = Self {
            shape: DecoderShape {
                slots: 1,
                max_len: layout.max_len,
                vocabulary: layout.vocabulary.unwrap_or(1),
                layers: layout.layers,
                cache_bytes: layout.cache_bytes(),
                whole_prompts: false,
            },
            logits: Logits::new(element_of_scores(&parts.outputs, &layout)),
            inputs: parts.inputs,
            outputs: parts.outputs,
            past: Vec::new(),
            len: 0,
            graph: parts.graph,
            layout,
        };
        decoder.rewind(0).map_err(run_error)?;
        decoder.prefill(0, 0, &[0])?;
        decoder.shape.vocabulary = decoder.logits.vocabulary();
        decoder.shape.whole_prompts = decoder.refuses_chunks();
        decoder.rewind(0).map_err(run_error)?;
        Ok(decoder)
    }

    /// Returns whether the graph takes several tokens only where there are none before them: some
    /// make their mask of a square.
    fn refuses_chunks(&mut self) -> bool {
        self.graph.set_quiet(true);
        let refused = self.run(&[0, 0]).is_err();
        self.graph.set_quiet(false);
        refused
    }

    /// Keeps the first `len` tokens.
    fn rewind(&mut self, len: usize) -> ort::Result<()> {
        if len == self.len && !self.past.is_empty() {
            return Ok(());
        }
        let layout = &self.layout;
        let shape = [
            1,
            layout.kv_heads as i64,
            len as i64,
            layout.head_dim as i64,
        ];
        let token_bytes = layout.head_dim * layout.cache.size();
        let mut kept = Vec::with_capacity(2 * layout.layers);
        for index in 0..2 * layout.layers {
            let value = self
                .graph
                .value_of_its_own(&shape, layout.cache.tensor_type())?;
            if len > 0 {
                let from = self.past[index].data()?.as_ptr().cast::<u8>();
                let to = value.data()?.as_ptr().cast::<u8>();
                for head in 0..layout.kv_heads {
                    // SAFETY: the past has `self.len` tokens for each head and the new value `len`,
                    // which is less; both are alive and apart.
                    unsafe {
                        ptr::copy_nonoverlapping(
                            from.add(head * self.len * token_bytes),
                            to.add(head * len * token_bytes),
                            len * token_bytes,
                        );
                    }
                }
            }
            kept.push(value);
        }
        self.past = kept;
        self.len = len;
        Ok(())
    }

    fn run(&mut self, tokens: &[u32]) -> ort::Result<()> {
        self.logits.clear();
        let total = self.len + tokens.len();
        let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
        let mask = vec![1; total];
        let positions: Vec<i64> = (self.len..total).map(|position| position as i64).collect();
        let extent = |numbers: &[i64]| [1, numbers.len() as i64];
        // SAFETY: the numbers live until the end of this function, where the run is over.
        let mut fed = unsafe {
            vec![
                self.graph.numbers(&ids, extent(&ids))?,
                self.graph.numbers(&mask, extent(&mask))?,
            ]
        };
        if self.layout.positions {
            // SAFETY: as above.
            fed.push(unsafe { self.graph.numbers(&positions, extent(&positions))? });
        }
        let inputs: Vec<*const OrtValue> = fed
            .iter()
            .chain(&self.past)
            .map(|value| value.as_ptr().cast_const())
            .collect();
        let mut outputs = vec![ptr::null_mut(); 1 + self.past.len()];
        // SAFETY: what is fed and the past are alive; the outputs are made by the runtime.
        unsafe { self.graph.run(&inputs, &mut outputs)? };
        let mut given = outputs
            .into_iter()
            .map(Value::adopt)
            .collect::<ort::Result<Vec<Value>>>()?;
        let present = given.split_off(1);
        self.check(&present, total)?;
        for logits in given {
            self.logits.set(logits)?;
        }
        self.past = present;
        self.len = total;
        Ok(())
    }

    /// Checks that what the graph gives is as long as it has to be: its past is read by raw copies.
    fn check(&self, present: &[Value], total: usize) -> ort::Result<()> {
        let layout = &self.layout;
        let shape = [1, layout.kv_heads, total, layout.head_dim].map(|extent| extent as i64);
        for value in present {
            let got = value.shape()?;
            if got != shape {
                return Err(ort::Error::new(format!(
                    "keys and values have shape {got:?} behind {total} tokens instead of {shape:?}"
                )));
            }
        }
        Ok(())
    }
}

impl Decoder for ConcatenatingDecoder {
    fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[u32]) -> Result<(), EngineError> {
        let total = past + tokens.len();
        if slot > 0 || past > self.len || total > self.shape.max_len || tokens.is_empty() {
            return Err(EngineError::run_failed(format!(
                "{} tokens in slot {slot} behind {past}, and the only slot holds {} of {}",
                tokens.len(),
                self.len,
                self.shape.max_len
            )));
        }
        self.rewind(past)
            .and_then(|()| self.run(tokens))
            .map_err(run_error)
    }

    fn decode(&mut self, first: usize, rows: &[Row]) -> Result<(), EngineError> {
        match rows {
            [row] => self.prefill(first, row.past, &[row.token]),
            _ => Err(EngineError::run_failed(format!(
                "{} sequences at once, and the graph runs one",
                rows.len()
            ))),
        }
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], EngineError> {
        self.logits.row(row)
    }

    /// Does nothing: there is but one slot.
    fn copy(&mut self, _from: usize, _to: usize, _len: usize) {}

    /// Does nothing: there is but one slot.
    fn exchange(&mut self, _a: usize, _b: usize, _len: usize) {}

    fn interrupt(&self) -> Option<Interrupt> {
        Some(self.graph.interrupt())
    }
}
