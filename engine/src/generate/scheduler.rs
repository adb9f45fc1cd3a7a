//! Which sequence takes which step.
//!
//! Continuous batching: sequences join and leave between any two steps. A step either takes in a
//! chunk of one prompt or decodes one token of every sequence that has got that far; while anybody
//! decodes, no two chunks follow each other, so a prompt of any length holds the others up by one
//! chunk at a time. Sequences that are taken in at the same time take turns, chunk by chunk.
//!
//! What a sequence gives depends on nothing but itself: in which slot it lies, who else runs, how its
//! prompt was cut, what was copied from another's and whether it was begun in another process changes
//! none of its tokens.
//!
//! Nothing here waits, and but for the time that a step takes, which is measured and changes nothing,
//! everything is a function of what was accepted.

mod admission;
mod probe;
mod sequence;
mod slots;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::decoder::{Decoder, Row};
use super::grammar::{Conforming, Grammars};
use super::sampling::Sampler;
use super::{Begun, Chosen, Generate, GenerationFailed, Step};
use crate::error::EngineError;
pub use probe::Probe;
use sequence::Sequence;
use slots::{Slot, Slots};

/// Sequences that wait, beyond twice those that run: a server keeps its own queue.
const MOST_WAITING: usize = 16;

/// The sequences of one model.
pub struct Scheduler {
    decoder: Box<dyn Decoder>,
    grammars: Option<Arc<Grammars>>,
    prefill_chunk: usize,
    sampler: Sampler,
    waiting: VecDeque<Sequence>,
    slots: Slots,
    begun: Vec<Begun>,
    /// Whether the last step took a prompt in.
    prefilled: bool,
    rows: Vec<Row>,
}

/// What has come of one step.
#[derive(Debug, Default)]
pub struct Report {
    /// The step, if there was one. Its [`own_micros`](Step::own_micros) are the caller's to fill in.
    pub step: Option<Step>,
    /// Sequences that are over without having ended.
    pub failed: Vec<GenerationFailed>,
}

/// What is to be done next.
enum Work {
    Prefill(usize),
    Decode,
}

// === impl Scheduler ===

impl Scheduler {
    /// Returns a scheduler without sequences.
    ///
    /// Prompts are taken in by `prefill_chunk` tokens at a time. Without `grammars` nothing that asks
    /// for structured output is accepted.
    pub fn new(
        decoder: Box<dyn Decoder>,
        prefill_chunk: usize,
        grammars: Option<Arc<Grammars>>,
    ) -> Self {
        let slots = Slots::new(decoder.shape().slots);
        let prefill_chunk = if decoder.shape().whole_prompts {
            usize::MAX
        } else {
            prefill_chunk.max(1)
        };
        Self {
            decoder,
            grammars,
            prefill_chunk,
            sampler: Sampler::default(),
            waiting: VecDeque::new(),
            slots,
            begun: Vec::new(),
            prefilled: false,
            rows: Vec::new(),
        }
    }

    /// Returns what runs the model.
    pub fn decoder(&self) -> &dyn Decoder {
        &*self.decoder
    }

    /// Takes a sequence to be generated.
    ///
    /// # Errors
    ///
    /// What is wrong with it, by the client's fault; [`EngineError::Protocol`] if more are waiting than
    /// a server should send.
    pub fn accept(&mut self, request: Generate) -> Result<(), GenerationFailed> {
        let id = request.id;
        let conforming = match &self.grammars {
            Some(grammars) => grammars.conforming(&request),
            None if request.grammar.is_none() => Ok(Conforming(None)),
            None => Err(EngineError::grammar(
                "the model was loaded without the bytes of its tokens, so no grammar can be kept",
            )),
        };
        match conforming {
            Ok(conforming) => self.accept_conforming(request, conforming),
            Err(error) => Err(GenerationFailed { id, error }),
        }
    }

    /// Takes a sequence to be generated whose grammar has been compiled.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn accept_conforming(
        &mut self,
        request: Generate,
        conforming: Conforming,
    ) -> Result<(), GenerationFailed> {
        let id = request.id;
        self.try_accept(request, conforming)
            .map_err(|error| GenerationFailed { id, error })
    }

    /// Generates no more of these sequences; those that are not known are over already.
    pub fn cancel(&mut self, ids: &[u64]) {
        self.waiting
            .retain(|sequence| !ids.contains(&sequence.id()));
        self.slots
            .release_where(|sequence| ids.contains(&sequence.id()));
        self.begun.retain(|begun| !ids.contains(&begun.id));
    }

    /// Gives up every sequence; returns which there were.
    pub fn clear(&mut self) -> Vec<u64> {
        let running = self.slots.sequences().map(|(_, sequence)| sequence.id());
        let ids: Vec<u64> = self
            .waiting
            .iter()
            .map(Sequence::id)
            .chain(running)
            .collect();
        self.cancel(&ids);
        ids
    }

    /// Returns whether there is nothing to generate.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.slots.sequences().next().is_none()
    }

    /// Takes one step, if there is anything to do.
    pub fn step(&mut self) -> Report {
        while self.admit() {}
        let mut report = Report::default();
        let step = match self.next() {
            Some(Work::Prefill(slot)) => self.prefill(slot, &mut report.failed),
            Some(Work::Decode) => self.decode(&mut report.failed),
            None => return report,
        };
        report.step = Some(Step {
            begun: std::mem::take(&mut self.begun),
            cached: self.slots.cached(),
            ..step
        });
        report
    }

    fn try_accept(&mut self, request: Generate, conforming: Conforming) -> Result<(), EngineError> {
        let shape = self.decoder.shape();
        if self.waiting.len() >= 2 * shape.slots + MOST_WAITING {
            return Err(EngineError::Protocol {
                reason: format!("{} sequences are waiting already", self.waiting.len()),
            });
        }
        let sequence = Sequence::try_new(request, shape, conforming)?;
        self.waiting.push_back(sequence);
        Ok(())
    }

    fn next(&self) -> Option<Work> {
        let decodes = |sequence: &Sequence| sequence.decodes();
        let anybody = self
            .slots
            .sequences()
            .any(|(_, sequence)| decodes(sequence));
        let turn = self
            .slots
            .sequences()
            .filter(|(_, sequence)| !decodes(sequence))
            .min_by_key(|(_, sequence)| sequence.turn);
        match turn {
            Some((slot, _)) if !anybody || !self.prefilled => Some(Work::Prefill(slot)),
            _ => anybody.then_some(Work::Decode),
        }
    }

    /// Takes in the next chunk of one prompt; its last token's scores choose the first one.
    fn prefill(&mut self, slot: usize, failed: &mut Vec<GenerationFailed>) -> Step {
        self.prefilled = true;
        let turn = self.slots.next_turn();
        let mut step = Step::between();
        let Some(sequence) = self.slots.sequence_mut(slot) else {
            return step;
        };
        sequence.turn = turn;
        let past = sequence.cached;
        let chunk = sequence.chunk(self.prefill_chunk);
        step.batch = 1;
        step.prefilled = chunk.len();
        let started = Instant::now();
        let result = self.decoder.prefill(slot, past, chunk);
        step.run_micros = micros_since(started);
        let result = result.and_then(|()| self.after_chunk(slot, past, step.prefilled));
        match result {
            Ok(chosen) => step.tokens.extend(chosen),
            Err(error) => failed.extend(self.slots.fail(slot, error)),
        }
        step
    }

    fn after_chunk(
        &mut self,
        slot: usize,
        past: usize,
        taken: usize,
    ) -> Result<Option<Chosen>, EngineError> {
        let Some(sequence) = self.slots.sequence_mut(slot) else {
            return Ok(None);
        };
        sequence.cached = past + taken;
        sequence.tell_prompt(past..past + taken, &mut *self.decoder, &mut self.sampler)?;
        self.begun.extend(sequence.begun());
        if !sequence.is_taken_in() {
            return Ok(None);
        }
        self.choose(slot, taken - 1).map(Some)
    }

    /// Decodes one token of every sequence that has been taken in.
    fn decode(&mut self, failed: &mut Vec<GenerationFailed>) -> Step {
        self.prefilled = false;
        self.compact();
        let mut step = Step::between();
        let range = self.slots.decoding();
        self.rows.clear();
        for slot in range.clone() {
            self.rows.push(self.slots.row(slot));
        }
        let started = Instant::now();
        let result = self.decoder.decode(range.start, &self.rows);
        step.run_micros = micros_since(started);
        for slot in range.clone() {
            let Some(sequence) = self.slots.sequence_mut(slot).filter(|s| s.decodes()) else {
                continue;
            };
            step.batch += 1;
            let chosen = match &result {
                Ok(()) => {
                    sequence.cached += 1;
                    self.begun.extend(sequence.begun());
                    self.choose(slot, slot - range.start)
                }
                Err(error) => Err(error.clone()),
            };
            match chosen {
                Ok(chosen) => step.tokens.push(chosen),
                Err(error) => failed.extend(self.slots.fail(slot, error)),
            }
        }
        step
    }

    /// Chooses a sequence's next token by the scores in a row; its slot is free if that was the last.
    fn choose(&mut self, slot: usize, row: usize) -> Result<Chosen, EngineError> {
        let max_len = self.decoder.shape().max_len;
        let Slot::Taken(sequence) = self.slots.slot_mut(slot) else {
            return Err(EngineError::run_failed("a token for nobody"));
        };
        let logits = self.decoder.logits(row)?;
        let chosen = sequence.choose(logits, &mut self.sampler, max_len)?;
        if chosen.finish.is_some() {
            self.slots.release(slot);
        }
        Ok(chosen)
    }
}

fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
