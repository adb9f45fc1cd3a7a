//! Graphs whose attention keeps keys and values of past and present in one buffer.
//!
//! Such a graph takes its position from the attention mask: the sum of a row is how many tokens there
//! are with the new ones, and nothing else about the mask matters. Several sequences are run together
//! one token at a time, or one sequence by many tokens; many tokens of several sequences that have a
//! past are refused by the kernel.
#![allow(unsafe_code)]

use std::ptr;

use ort::sys::OrtValue;

use super::super::super::Interrupt;
use super::super::session::run_error;
use super::Parts;
use super::cache::KvCache;
use super::call::{Graph, Value};
use super::layout::{Element, Layout};
use super::logits::Logits;
use crate::error::EngineError;
use crate::generate::{Decoder, DecoderShape, Row};
use crate::tensor::TensorSpec;

/// A graph with one buffer for each layer and side.
pub(super) struct SharedDecoder {
    shape: DecoderShape,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    layout: Layout,
    logits: Logits,
    cache: KvCache,
    graph: Graph,
    feed: Feed,
}

/// What a run is given, in memory that is used again.
#[derive(Default)]
struct Feed {
    ids: Vec<i64>,
    mask: Vec<i64>,
    positions: Vec<i64>,
    inputs: Vec<*const OrtValue>,
    outputs: Vec<*mut OrtValue>,
}

// === impl SharedDecoder ===

impl SharedDecoder {
    pub(super) fn load(parts: Parts) -> Result<Self, EngineError> {
        let layout = parts.layout;
        let cache = KvCache::new(&layout).map_err(|error| EngineError::OutOfMemory {
            reason: format!(
                "{} bytes for keys and values: {error}; use fewer slots or a smaller max_len",
                layout.cache_bytes()
            ),
        })?;
        let mut decoder = Self {
            shape: DecoderShape {
                slots: layout.slots,
                max_len: layout.max_len,
                vocabulary: layout.vocabulary.unwrap_or(1),
                layers: layout.layers,
                cache_bytes: layout.cache_bytes(),
                whole_prompts: false,
            },
            logits: Logits::new(element_of_scores(&parts.outputs, &layout)),
            inputs: parts.inputs,
            outputs: parts.outputs,
            cache,
            graph: parts.graph,
            feed: Feed::default(),
            layout,
        };
        if decoder.layout.vocabulary.is_none() {
            decoder.prefill(0, 0, &[0])?;
            decoder.shape.vocabulary = decoder.logits.vocabulary();
        }
        Ok(decoder)
    }

    /// Runs the graph on what is fed, `sequence` tokens of each of `batch` slots from `first` on.
    fn run(&mut self, first: usize, batch: usize, sequence: usize) -> ort::Result<()> {
        self.logits.clear();
        let feed = &mut self.feed;
        let extent = |numbers: &[i64]| [batch as i64, (numbers.len() / batch) as i64];
        // SAFETY: what is fed lives in vectors that nobody touches before the run is over.
        let mut fed = unsafe {
            vec![
                self.graph.numbers(&feed.ids, extent(&feed.ids))?,
                self.graph.numbers(&feed.mask, extent(&feed.mask))?,
            ]
        };
        if self.layout.positions {
            // SAFETY: as above.
            fed.push(unsafe {
                self.graph
                    .numbers(&feed.positions, extent(&feed.positions))?
            });
        }
        debug_assert_eq!(feed.ids.len(), batch * sequence);
        let view = self.cache.view(&self.graph, first, batch)?;
        feed.inputs.clear();
        feed.inputs
            .extend(fed.iter().map(|value| value.as_ptr().cast_const()));
        feed.inputs
            .extend(view.iter().map(|value| value.cast_const()));
        feed.outputs.clear();
        feed.outputs.push(ptr::null_mut());
        feed.outputs.extend_from_slice(view);
        // SAFETY: all values are alive: what is fed until the end of this function, the view as long
        // as the cache, which is borrowed and so moves nothing.
        unsafe { self.graph.run(&feed.inputs, &mut feed.outputs)? };
        self.logits.set(Value::adopt(feed.outputs[0])?)
    }

    fn refuse(&self, what: String) -> Result<(), EngineError> {
        Err(EngineError::run_failed(format!(
            "{what}, and there are {} slots of {} tokens",
            self.shape.slots, self.shape.max_len
        )))
    }
}

impl Decoder for SharedDecoder {
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
        if slot >= self.shape.slots || total > self.shape.max_len || tokens.is_empty() {
            return self.refuse(format!(
                "{} tokens in slot {slot} behind {past}",
                tokens.len()
            ));
        }
        let feed = &mut self.feed;
        feed.ids.clear();
        feed.ids
            .extend(tokens.iter().map(|token| i64::from(*token)));
        feed.mask.clear();
        feed.mask.resize(total, 1);
        feed.positions.clear();
        feed.positions
            .extend((past..total).map(|position| position as i64));
        self.run(slot, 1, tokens.len()).map_err(run_error)
    }

    fn decode(&mut self, first: usize, rows: &[Row]) -> Result<(), EngineError> {
        let most = rows.iter().map(|row| row.past + 1).max().unwrap_or(0);
        if rows.is_empty() || first + rows.len() > self.shape.slots || most > self.shape.max_len {
            return self.refuse(format!(
                "{} rows of up to {most} from {first} on",
                rows.len()
            ));
        }
        let feed = &mut self.feed;
        feed.ids.clear();
        feed.ids.extend(rows.iter().map(|row| i64::from(row.token)));
        feed.positions.clear();
        feed.positions
            .extend(rows.iter().map(|row| row.past as i64));
        feed.mask.clear();
        for row in rows {
            let end = feed.mask.len() + most;
            feed.mask.resize(feed.mask.len() + row.past + 1, 1);
            feed.mask.resize(end, 0);
        }
        self.run(first, rows.len(), 1).map_err(run_error)
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], EngineError> {
        self.logits.row(row)
    }

    fn copy(&mut self, from: usize, to: usize, len: usize) {
        self.cache.copy(from, to, len);
    }

    fn exchange(&mut self, a: usize, b: usize, len: usize) {
        self.cache.exchange(a, b, len);
    }

    fn interrupt(&self) -> Option<Interrupt> {
        Some(self.graph.interrupt())
    }
}

/// Returns the type of the scores; a layout is made of no others than these two.
pub(super) fn element_of_scores(outputs: &[TensorSpec], layout: &Layout) -> Element {
    outputs
        .iter()
        .find(|output| output.name == layout.outputs[0])
        .and_then(|output| Element::of(output.dtype))
        .unwrap_or(Element::F32)
}
