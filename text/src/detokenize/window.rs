//! Decoding over a window of the last tokens, for tokenizers of any other make.
//!
//! The library decodes the tokens since the last piece of text, with those of that piece before them
//! as context; what is new is the difference. A text that ends in U+FFFD may be an unfinished
//! character and waits, but for no more than [`LONGEST_WAIT`] tokens.

use crate::{TextError, Tokenizer};

/// A character has at most four bytes; a text that still ends in U+FFFD after twice as many tokens is
/// malformed and goes out as it is.
const LONGEST_WAIT: usize = 8;

/// The last tokens and what is known of their text.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    tokens: Vec<u32>,
    /// How many of the tokens have been given out.
    given: usize,
    /// The text of those.
    shown: String,
}

// === impl Window ===

impl Window {
    /// Takes a token and returns the text that is decided by it.
    pub(super) fn push(
        &mut self,
        tokenizer: &Tokenizer,
        id: u32,
        kept: &[u32],
    ) -> Result<String, TextError> {
        self.tokens.push(id);
        let text = decode(tokenizer, &self.tokens, kept)?;
        let waits = self.tokens.len() - self.given < LONGEST_WAIT;
        if text.len() <= self.shown.len() || waits && text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        let new = difference(&self.shown, &text);
        self.tokens.drain(..self.given);
        self.given = self.tokens.len();
        self.shown = decode(tokenizer, &self.tokens, kept)?;
        Ok(new)
    }

    /// Ends the text and returns what was held back.
    pub(super) fn close(
        &mut self,
        tokenizer: &Tokenizer,
        kept: &[u32],
    ) -> Result<String, TextError> {
        let window = std::mem::take(self);
        Ok(difference(
            &window.shown,
            &decode(tokenizer, &window.tokens, kept)?,
        ))
    }
}

/// Decodes with the special tokens: those that are not kept never come here.
fn decode(tokenizer: &Tokenizer, tokens: &[u32], kept: &[u32]) -> Result<String, TextError> {
    tokenizer.decode(tokens, kept.is_empty())
}

/// Returns what `text` has after the part that it shares with `shown`.
fn difference(shown: &str, text: &str) -> String {
    if let Some(new) = text.strip_prefix(shown) {
        return new.to_owned();
    }
    let shared: usize = shown
        .chars()
        .zip(text.chars())
        .take_while(|(one, other)| one == other)
        .map(|(one, _)| one.len_utf8())
        .sum();
    text[shared..].to_owned()
}
