//! One answer, put together from the tokens of its sequence.
//!
//! Tokens become text as far as its characters are whole; of the text is shown what cannot be the beginning of a
//! stop string any more; and of that, calls of tools are taken out. Each of these steps may hold something back, and
//! gives it out when it is decided or the answer ends.
//!
//! **Invariant.** Neither text nor probabilities tell of anything behind a stop string, and the whole answer is the
//! same however many pieces it comes in.

use std::collections::VecDeque;
use std::sync::Arc;

use impetus_actors::serving::StreamEvent;
use impetus_engine::generate::{Chosen, Finish, TokenLogprobs};
use impetus_text::{Detokenizer, Parsed, StopStrings, TextModel, ToolCall, ToolCallParser};

use super::Refusal;
use super::job::{Calls, Prompt};
use super::probabilities::Told;
use crate::oip::Kind;

/// How an answer is to be read.
#[derive(Debug)]
pub struct Reading<'a> {
    /// What the model's folder says of its text.
    pub text: Arc<TextModel>,
    /// Which of the answers it is.
    pub index: usize,
    /// Whether it is the first one to its prompt, by which the prompt is counted.
    pub is_first_of_prompt: bool,
    /// The end of the prompt, where the answer goes on from it.
    pub tail: &'a [u32],
    /// The prompt, if the answer begins with it.
    pub echoed: Option<&'a Prompt>,
    /// Texts before which it ends.
    pub stops: Vec<String>,
    /// Tokens that end it and are no part of it.
    pub stop_tokens: Vec<u32>,
    /// Whether probabilities are told.
    pub logprobs: bool,
    /// How calls of tools are found in it.
    pub calls: Option<Calls>,
    /// Whether nothing is told of what is generated, because only the prompt is of interest.
    pub tells_nothing: bool,
}

/// An answer that is being put together.
#[derive(Debug)]
pub struct Choice {
    index: usize,
    is_first_of_prompt: bool,
    text: Arc<TextModel>,
    detokenizer: Detokenizer,
    stops: StopStrings,
    stop_tokens: Vec<u32>,
    calls: Option<CallReader>,
    echoed: Option<Prompt>,
    logprobs: bool,
    tells_nothing: bool,
    /// Bytes of the answer that have been decoded, and that have been shown.
    decoded: usize,
    shown: usize,
    /// Characters of it that have been decoded, those of an echoed prompt included.
    characters: usize,
    /// Tokens whose text has not been shown, each with the byte at which it begins.
    unshown: VecDeque<(usize, Told)>,
    tokens: usize,
    reused: usize,
    finish: Option<FinishReason>,
}

/// Takes calls of tools out of an answer.
#[derive(Debug)]
struct CallReader {
    parser: ToolCallParser,
    parallel: bool,
    found: usize,
}

/// What has come of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    /// Which answer it is of.
    pub index: usize,
    /// Text behind what came before.
    pub text: String,
    /// Calls behind those that came before.
    pub calls: Vec<Called>,
    /// Tokens of the text, where probabilities are told.
    pub tokens: Vec<Told>,
    /// Why the answer has ended, if it has.
    pub finish: Option<FinishReason>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Which of the answer's calls it is.
    pub index: usize,
    /// What is called, and with what.
    pub call: ToolCall,
}

/// Why an answer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// By itself, or at a stop string.
    Stop,
    /// It has as many tokens as it may.
    Length,
    /// The model waits for what it has called.
    ToolCalls,
}

// === impl FinishReason ===

impl FinishReason {
    /// Returns the reason as OpenAI's clients know it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

// === impl Delta ===

impl Delta {
    /// Tells whether there is nothing in it that a client could see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            text,
            calls,
            tokens,
            finish,
            ..
        } = self;
        text.is_empty() && calls.is_empty() && tokens.is_empty() && finish.is_none()
    }
}

// === impl Choice ===

impl Choice {
    /// Begins an answer.
    ///
    /// # Errors
    /// The end of the prompt cannot be turned into text.
    pub fn new(reading: Reading<'_>) -> Result<Self, Refusal> {
        let tokenizer = reading.text.tokenizer();
        let mut detokenizer = Detokenizer::new(tokenizer, reading.tail)?;
        if let Some(calls) = reading.calls {
            let marks = calls.format.marks().iter();
            let marks = marks.filter_map(|mark| tokenizer.id_of(mark));
            detokenizer = detokenizer.keep(&marks.collect::<Vec<u32>>());
        }
        let stops =
            StopStrings::try_new(reading.stops).map_err(|error| Refusal::invalid("stop", error))?;
        Ok(Self {
            index: reading.index,
            is_first_of_prompt: reading.is_first_of_prompt,
            detokenizer,
            stops,
            stop_tokens: reading.stop_tokens,
            calls: reading.calls.map(CallReader::new),
            echoed: reading.echoed.cloned(),
            logprobs: reading.logprobs,
            tells_nothing: reading.tells_nothing,
            decoded: 0,
            shown: 0,
            characters: 0,
            unshown: VecDeque::new(),
            tokens: 0,
            reused: 0,
            finish: None,
            text: reading.text,
        })
    }

    /// Returns which of the answers it is.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns how many tokens it has.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns how many tokens of its prompt did not have to be computed; of each prompt the first answer says.
    #[must_use]
    pub fn reused(&self) -> usize {
        match self.is_first_of_prompt {
            true => self.reused,
            false => 0,
        }
    }

    /// Returns why it has ended, if it has.
    #[must_use]
    pub fn finish(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Takes what has happened to the sequence, and adds what can be shown of it to `delta`.
    ///
    /// # Errors
    /// It cannot be finished.
    pub fn take(&mut self, event: StreamEvent, delta: &mut Delta) -> Result<(), Refusal> {
        match event {
            StreamEvent::Begun {
                reused,
                prompt_logprobs,
                ..
            } => {
                self.reused = reused;
                self.echo(&prompt_logprobs, delta)
            }
            StreamEvent::Token(chosen) => self.token(&chosen, delta),
            StreamEvent::Failed(error) => Err(error.into()),
        }
    }

    /// Says what to tell of a sequence that has no more events and did not end.
    pub(crate) fn broken_off() -> Refusal {
        let message = "the answer broke off without an end";
        Refusal::new(Kind::Failed, "failed", message)
    }

    fn echo(&mut self, logprobs: &[TokenLogprobs], delta: &mut Delta) -> Result<(), Refusal> {
        let Some(prompt) = self.echoed.take() else {
            return Ok(());
        };
        let tokenizer = self.text.tokenizer();
        let mut detokenizer = Detokenizer::new(tokenizer, &[])?;
        let mut decoded = String::new();
        let mut characters = 0;
        for (position, token) in prompt.tokens.iter().enumerate() {
            if self.logprobs {
                // Nothing comes before the first one that it could be likely after.
                let logprobs = position
                    .checked_sub(1)
                    .and_then(|before| logprobs.get(before));
                delta
                    .tokens
                    .push(Told::new(tokenizer, *token, logprobs, characters));
            }
            let piece = detokenizer.push(*token)?;
            characters += piece.chars().count();
            decoded.push_str(&piece);
        }
        decoded.push_str(&detokenizer.finish()?);
        let text = prompt.text.unwrap_or(decoded);
        self.characters = text.chars().count();
        delta.text.push_str(&text);
        Ok(())
    }

    fn token(&mut self, chosen: &Chosen, delta: &mut Delta) -> Result<(), Refusal> {
        if self.tells_nothing {
            self.finish = Some(FinishReason::Length);
            delta.finish = self.finish;
            return Ok(());
        }
        self.tokens += 1;
        let is_end =
            chosen.finish == Some(Finish::Stop) && self.stop_tokens.contains(&chosen.token);
        let mut piece = String::new();
        if !is_end {
            if self.logprobs {
                let logprobs = chosen.logprobs.as_ref();
                let told = Told::new(
                    self.text.tokenizer(),
                    chosen.token,
                    logprobs,
                    self.characters,
                );
                self.unshown.push_back((self.decoded, told));
            }
            piece = self.detokenizer.push(chosen.token)?;
        }
        if chosen.finish.is_some() {
            piece.push_str(&self.detokenizer.finish()?);
        }
        self.decoded += piece.len();
        self.characters += piece.chars().count();
        let ended = chosen.finish.map(|finish| match finish {
            Finish::Stop => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
        });
        self.show(&piece, ended, delta);
        Ok(())
    }

    /// Shows what may be shown of a piece of text, and ends the answer if that is due.
    fn show(&mut self, piece: &str, ended: Option<FinishReason>, delta: &mut Delta) {
        let stopping = self.stops.push(piece);
        let mut text = stopping.text;
        let at_stop = stopping.stopped.is_some();
        let mut finish = match at_stop {
            true => Some(FinishReason::Stop),
            false => ended,
        };
        if finish.is_some() && !at_stop {
            text.push_str(&self.stops.finish());
        }
        self.shown += text.len();
        self.tell_tokens(finish.is_some() && !at_stop, delta);
        match &mut self.calls {
            None => delta.text.push_str(&text),
            Some(calls) => finish = calls.read(&text, finish, delta),
        }
        self.finish = finish;
        delta.finish = finish;
    }

    /// Tells the tokens whose text has been shown, or all that are left.
    fn tell_tokens(&mut self, all: bool, delta: &mut Delta) {
        while let Some((begin, _)) = self.unshown.front() {
            if !all && *begin >= self.shown {
                break;
            }
            delta
                .tokens
                .extend(self.unshown.pop_front().map(|(_, told)| told));
        }
    }
}

// === impl CallReader ===

impl CallReader {
    fn new(calls: Calls) -> Self {
        Self {
            parser: ToolCallParser::new(calls.format),
            parallel: calls.parallel,
            found: 0,
        }
    }

    /// Takes text that may be shown, and returns why the answer ends with it, if it does.
    fn read(
        &mut self,
        text: &str,
        ended: Option<FinishReason>,
        delta: &mut Delta,
    ) -> Option<FinishReason> {
        let parsed = self.parser.push(text);
        self.add(parsed, delta);
        if !self.parallel && self.found > 0 {
            return Some(FinishReason::ToolCalls);
        }
        let ended = ended?;
        let rest = self.parser.finish();
        self.add(rest, delta);
        match ended {
            FinishReason::Stop if self.found > 0 => Some(FinishReason::ToolCalls),
            ended => Some(ended),
        }
    }

    fn add(&mut self, parsed: Parsed, delta: &mut Delta) {
        delta.text.push_str(&parsed.content);
        for call in parsed.calls {
            if self.found > 0 && !self.parallel {
                break;
            }
            let index = self.found;
            self.found += 1;
            delta.calls.push(Called { index, call });
        }
        // A call that was cut is shown as it stands, so that whoever looks sees what is missing.
        delta.text.push_str(&parsed.unfinished.unwrap_or_default());
    }
}
