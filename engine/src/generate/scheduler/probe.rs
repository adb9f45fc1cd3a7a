//! Steps that nobody has asked for: to warm a model up, and to see whether it still works.

use std::time::Instant;

use super::super::Sampling;
use super::super::decoder::Row;
use super::super::sampling::{Draw, History, Sampler};
use super::{Scheduler, micros_since};
use crate::error::EngineError;

/// Tokens of the prompt whose answer is compared.
const PROMPT: usize = 12;
/// Tokens of that answer.
const ANSWER: usize = 6;

/// A short answer, and how long the longest step took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// The longest step, in microseconds.
    pub longest_micros: u64,
}

// === impl Scheduler ===

impl Scheduler {
    /// Takes the largest steps that there are, a whole chunk and all slots, and then those of
    /// [`probe`](Self::probe). Only for a model without sequences.
    ///
    /// # Errors
    ///
    /// What the runtime says if it cannot.
    pub fn warm_up(&mut self) -> Result<Probe, EngineError> {
        let shape = self.decoder.shape();
        let (slots, room) = (shape.slots, shape.max_len.saturating_sub(1).max(1));
        let chunk = self.prompt(self.prefill_chunk.min(room));
        let row = Row {
            token: chunk[0],
            past: chunk.len().min(room.saturating_sub(1)),
        };
        let rows = vec![row; slots];
        for slot in 0..slots {
            self.slots.forget(slot, 0);
        }
        let mut longest = 0;
        // The first run of a shape allocates; the second one is what the others will be like.
        for _ in 0..2 {
            let started = Instant::now();
            self.decoder.prefill(0, 0, &chunk)?;
            longest = longest.max(micros_since(started));
            let started = Instant::now();
            self.decoder.decode(0, &rows)?;
            longest = longest.max(micros_since(started));
        }
        let mut probe = self.probe()?;
        probe.longest_micros = probe.longest_micros.max(longest);
        Ok(probe)
    }

    /// Generates a short answer, always to the same prompt, the best token each time, in the slot
    /// whose content is missed least.
    ///
    /// # Errors
    ///
    /// What the runtime says if it cannot; [`EngineError::Protocol`] if every slot is taken.
    pub fn probe(&mut self) -> Result<Probe, EngineError> {
        let slot = self.slots.spare(None).ok_or(EngineError::Protocol {
            reason: "a model that has no room checks itself".to_owned(),
        })?;
        self.slots.forget(slot, 0);
        let max_len = self.decoder.shape().max_len;
        let prompt = self.prompt(PROMPT.min(max_len.saturating_sub(1)).max(1));
        let mut probe = Probe {
            tokens: Vec::new(),
            longest_micros: 0,
        };
        let started = Instant::now();
        self.decoder.prefill(slot, 0, &prompt)?;
        probe.longest_micros = micros_since(started);
        let mut row = prompt.len() - 1;
        for past in prompt.len()..max_len.min(prompt.len() + ANSWER) {
            let token = best(self.decoder.logits(row)?, &mut self.sampler)?;
            probe.tokens.push(token);
            let started = Instant::now();
            self.decoder.decode(slot, &[Row { token, past }])?;
            probe.longest_micros = probe.longest_micros.max(micros_since(started));
            row = 0;
        }
        Ok(probe)
    }

    /// Returns tokens that are the same each time.
    fn prompt(&self, len: usize) -> Vec<u32> {
        /// A prime, so that few tokens repeat.
        const STRIDE: usize = 7919;
        let vocabulary = self.decoder.shape().vocabulary.max(1);
        (1..=len)
            .map(|index| (index * STRIDE % vocabulary) as u32)
            .collect()
    }
}

fn best(logits: &[f32], sampler: &mut Sampler) -> Result<u32, EngineError> {
    let draw = Draw {
        sampling: &Sampling::default(),
        history: &History::default(),
        allowed: None,
        avoided: &[],
        position: 0,
    };
    sampler.choose(logits, &draw)
}
