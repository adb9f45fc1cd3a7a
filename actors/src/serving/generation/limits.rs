//! The bounds within which a model generates.

use super::super::description::Generation;

/// The bounds, as the configuration has them or a model says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationLimits {
    /// Sequences that a worker runs at a time.
    pub slots: usize,
    /// Most tokens of prompt and answer together; the model's own limit holds besides.
    pub max_len: usize,
    /// Most tokens of a prompt in one step.
    pub prefill_chunk: usize,
}

// === impl GenerationLimits ===

impl GenerationLimits {
    /// Returns these bounds, but for what a model says otherwise.
    #[must_use]
    pub fn of(self, said: &Generation) -> Self {
        Self {
            slots: said.slots.unwrap_or(self.slots),
            max_len: said.max_len.unwrap_or(self.max_len),
            prefill_chunk: said.prefill_chunk.unwrap_or(self.prefill_chunk),
        }
    }
}
