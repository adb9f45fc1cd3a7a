//! What the scheduler asks of a graph.
//!
//! A decoder holds keys and values of several sequences, each in its *slot*, and takes tokens in:
//! many of one sequence, or one of each of several. It knows nothing of requests. What lies in a slot
//! beyond the tokens that its user counts is of no meaning, so a slot needs no clearing, and a
//! sequence is shortened by counting fewer of them.

use crate::error::EngineError;
use crate::runtime::Interrupt;
use crate::tensor::TensorSpec;

/// What a decoder has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderShape {
    /// Sequences whose keys and values it holds.
    pub slots: usize,
    /// Tokens of each.
    pub max_len: usize,
    /// Tokens that it knows.
    pub vocabulary: usize,
    /// Layers with keys and values.
    pub layers: usize,
    /// Bytes of keys and values of all slots.
    pub cache_bytes: u64,
    /// Whether a slot that holds tokens takes no more than one at a time, so that prompts are taken in
    /// whole.
    pub whole_prompts: bool,
}

/// What one slot is given in a step that decodes several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The token.
    pub token: u32,
    /// Tokens of this sequence that the slot holds before it.
    pub past: usize,
}

/// A graph that takes tokens in, with what it remembers of them.
///
/// The caller keeps every position below [`DecoderShape::max_len`], every slot below
/// [`DecoderShape::slots`] and every token below [`DecoderShape::vocabulary`]; a decoder refuses what
/// breaks that.
pub trait Decoder {
    /// Returns what it has room for.
    fn shape(&self) -> &DecoderShape;

    /// Returns what the graph takes.
    fn inputs(&self) -> &[TensorSpec];

    /// Returns what the graph gives.
    fn outputs(&self) -> &[TensorSpec];

    /// Takes tokens in at one slot, behind `past` others that it holds. Then there are logits of each.
    ///
    /// # Errors
    ///
    /// [`EngineError::RunFailed`] or [`EngineError::OutOfMemory`]; the slot then holds the same
    /// `past` tokens as before.
    fn prefill(&mut self, slot: usize, past: usize, tokens: &[u32]) -> Result<(), EngineError>;

    /// Takes one token in at each of several slots, which follow `first` without a gap. Then there are
    /// logits of each.
    ///
    /// # Errors
    ///
    /// As for [`prefill`](Self::prefill).
    fn decode(&mut self, first: usize, rows: &[Row]) -> Result<(), EngineError>;

    /// Returns the scores behind one of the tokens that were taken in last, one for each token of
    /// the vocabulary.
    fn logits(&mut self, row: usize) -> Result<&[f32], EngineError>;

    /// Copies the first `len` tokens of one slot to another.
    fn copy(&mut self, from: usize, to: usize, len: usize);

    /// Exchanges the first `len` tokens of two slots.
    fn exchange(&mut self, a: usize, b: usize, len: usize);

    /// Returns what makes a step end early, if the runtime can do that.
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }
}
