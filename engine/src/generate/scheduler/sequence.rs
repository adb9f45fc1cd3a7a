//! One sequence: what it consists of, how far it has got, and how it ends.

use std::ops::Range;

use super::super::decoder::{Decoder, DecoderShape};
use super::super::grammar::{Conforming, Progress};
use super::super::sampling::{Draw, History, Sampler};
use super::super::{Begun, Chosen, Finish, Generate, TokenLogprobs};
use crate::error::EngineError;

/// Most tokens to tell of with each one that is chosen.
const MOST_LOGPROBS: usize = 64;
/// Most bytes that the probabilities of a prompt may take; they have to fit into one frame.
const MOST_PROMPT_BYTES: usize = 192 * 1024;

/// A sequence that was accepted.
pub(super) struct Sequence {
    request: Generate,
    history: History,
    grammar: Option<Progress>,
    /// Tokens whose keys and values lie in its slot.
    pub(super) cached: usize,
    /// When it last took a step of its own; who took one longest ago is next.
    pub(super) turn: u64,
    /// Tokens that it did not have to take in.
    reused: usize,
    told: bool,
    prompt_logprobs: Vec<TokenLogprobs>,
}

// === impl Sequence ===

impl Sequence {
    /// Checks what is to be generated.
    pub(super) fn try_new(
        request: Generate,
        shape: &DecoderShape,
        conforming: Conforming,
    ) -> Result<Self, EngineError> {
        check(&request, shape)?;
        let (prompt, generated) = request.tokens.split_at(request.prompt_len);
        Ok(Self {
            history: History::new(&request.sampling, prompt, generated),
            grammar: conforming.0,
            cached: 0,
            turn: 0,
            reused: 0,
            told: false,
            prompt_logprobs: Vec::new(),
            request,
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.request.id
    }

    /// Returns the tokens whose keys and values lie in its slot.
    pub(super) fn content(&self) -> &[u32] {
        &self.request.tokens[..self.cached]
    }

    /// Returns the tokens whose keys and values need not be computed if somebody has them.
    ///
    /// The last one has to be taken in for its scores, and all of a prompt whose probabilities are
    /// asked for.
    pub(super) fn reusable(&self) -> &[u32] {
        let end = if self.request.prompt_logprobs {
            0
        } else {
            self.request.tokens.len() - 1
        };
        &self.request.tokens[..end]
    }

    /// Begins it in a slot that holds its first `reused` tokens.
    pub(super) fn begin(&mut self, reused: usize, turn: u64) {
        self.cached = reused;
        self.reused = reused;
        self.turn = turn;
    }

    /// Returns the next tokens to be taken in.
    pub(super) fn chunk(&self, most: usize) -> &[u32] {
        let end = self
            .request
            .tokens
            .len()
            .min(self.cached.saturating_add(most));
        &self.request.tokens[self.cached..end]
    }

    /// Returns whether it lacks but the last token, so that it goes on together with others.
    pub(super) fn decodes(&self) -> bool {
        self.cached + 1 == self.request.tokens.len()
    }

    /// Returns whether every token has been taken in.
    pub(super) fn is_taken_in(&self) -> bool {
        self.cached == self.request.tokens.len()
    }

    /// Returns the token behind those in its slot.
    pub(super) fn next_token(&self) -> u32 {
        self.request.tokens.get(self.cached).copied().unwrap_or(0)
    }

    /// Keeps the probabilities that the scores of a chunk give to the prompt's tokens.
    pub(super) fn tell_prompt(
        &mut self,
        chunk: Range<usize>,
        decoder: &mut dyn Decoder,
        sampler: &mut Sampler,
    ) -> Result<(), EngineError> {
        if !self.request.prompt_logprobs {
            return Ok(());
        }
        let count = self.request.logprobs.unwrap_or(0);
        for position in chunk.clone() {
            if position + 1 >= self.request.prompt_len {
                break;
            }
            let logits = decoder.logits(position - chunk.start)?;
            let token = self.request.tokens[position + 1];
            self.prompt_logprobs
                .push(sampler.logprobs(logits, token, count));
        }
        Ok(())
    }

    /// Returns the word that it has begun, once, as soon as everything in it is known.
    pub(super) fn begun(&mut self) -> Option<Begun> {
        let missing = self.request.prompt_logprobs
            && self.prompt_logprobs.len() + 1 < self.request.prompt_len;
        if self.told || missing {
            return None;
        }
        self.told = true;
        Some(Begun {
            id: self.request.id,
            reused: self.reused,
            prompt_logprobs: std::mem::take(&mut self.prompt_logprobs),
        })
    }

    /// Chooses its next token.
    pub(super) fn choose(
        &mut self,
        logits: &[f32],
        sampler: &mut Sampler,
        max_len: usize,
    ) -> Result<Chosen, EngineError> {
        let request = &mut self.request;
        let position = request.tokens.len() - request.prompt_len;
        if let Some(grammar) = &mut self.grammar {
            grammar.allow(&request.stop_tokens)?;
        }
        let early = position < request.sampling.min_tokens;
        let draw = Draw {
            sampling: &request.sampling,
            history: &self.history,
            allowed: self.grammar.as_ref().map(Progress::allowed),
            avoided: if early { &request.stop_tokens } else { &[] },
            position,
        };
        let token = sampler.choose(logits, &draw)?;
        let logprobs = request
            .logprobs
            .map(|count| sampler.logprobs(logits, token, count));
        request.tokens.push(token);
        self.history.add(token);
        Ok(Chosen {
            id: request.id,
            position,
            token,
            logprobs,
            finish: self.finish(token, max_len)?,
        })
    }

    fn finish(&mut self, token: u32, max_len: usize) -> Result<Option<Finish>, EngineError> {
        if self.request.stop_tokens.contains(&token) {
            return Ok(Some(Finish::Stop));
        }
        if let Some(grammar) = &mut self.grammar
            && grammar.advance(token)?
        {
            return Ok(Some(Finish::Stop));
        }
        let generated = self.request.tokens.len() - self.request.prompt_len;
        let full = self.request.tokens.len() >= max_len;
        Ok((full || generated >= self.request.max_tokens).then_some(Finish::Length))
    }
}

fn check(request: &Generate, shape: &DecoderShape) -> Result<(), EngineError> {
    let len = request.tokens.len();
    if request.prompt_len == 0 || request.prompt_len > len {
        return Err(EngineError::refused(format!(
            "{} of {len} tokens are said to be the prompt, which needs at least one",
            request.prompt_len
        )));
    }
    if len >= shape.max_len {
        return Err(EngineError::PromptTooLong {
            tokens: len,
            max_len: shape.max_len,
        });
    }
    let unknown = |token: &&u32| **token as usize >= shape.vocabulary;
    if let Some(token) = request.tokens.iter().find(unknown) {
        return Err(EngineError::refused(format!(
            "token {token} is none of the model's {}",
            shape.vocabulary
        )));
    }
    let generated = len - request.prompt_len;
    if generated >= request.max_tokens {
        return Err(EngineError::refused(format!(
            "{generated} tokens have been generated, and max_tokens is {}",
            request.max_tokens
        )));
    }
    let best = request.logprobs.unwrap_or(0);
    if best > MOST_LOGPROBS {
        return Err(EngineError::refused(format!(
            "the {best} best tokens are asked for, at most {MOST_LOGPROBS} are told"
        )));
    }
    // A length and its own probability, and for each of the best a token and a probability.
    let bytes = request.prompt_len * (6 + 8 * best);
    if request.prompt_logprobs && bytes > MOST_PROMPT_BYTES {
        return Err(EngineError::refused(format!(
            "the {best} best tokens at each of {} positions take {bytes} bytes, at most \
             {MOST_PROMPT_BYTES} are told; ask for fewer or for a shorter prompt",
            request.prompt_len
        )));
    }
    request.sampling.check()
}
