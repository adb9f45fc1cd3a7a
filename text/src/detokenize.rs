//! Token ids to text, while they come.
//!
//! A token is not a character: an emoji may take four tokens, and a tokenizer that knows a letter
//! only as bytes writes it in three. The client must see whole characters, and all pieces together
//! must be exactly what decoding all tokens at once gives, replacement characters for malformed bytes
//! included. Decoding everything again at each token would do it at a cost that grows with the text;
//! instead each style of tokenizer has a small machine that holds back only what is still undecided:
//!
//! - byte-level tokenizers: the bytes of an unfinished character, at most three;
//! - SentencePiece with byte tokens: a whole run of byte tokens, because one malformed byte turns
//!   all characters of its run into U+FFFD. Most runs are one character long. Of one that is longer
//!   than [`LONGEST_RUN`] bytes the oldest characters are given out, so that a script which the
//!   vocabulary lacks streams as well; should a later byte of it be malformed, they stay characters;
//! - anything else: a window of the last tokens, which the library decodes again.

mod bytes;
mod window;

use crate::tokenizer::{FirstPiece, Style};
use crate::{TextError, Tokenizer};
use bytes::{ByteRun, Utf8Pieces};
use window::Window;

pub use bytes::LONGEST_RUN;

/// Turns the tokens of one generation into text, one at a time.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    /// Special tokens that are text all the same, such as the one that begins a tool call.
    kept: Vec<u32>,
    machine: Machine,
}

#[derive(Debug, Clone)]
enum Machine {
    Bytes(Utf8Pieces),
    Pieces {
        run: ByteRun,
        beginning: Option<FirstPiece>,
    },
    Other(Window),
}

// === impl Detokenizer ===

impl Detokenizer {
    /// Begins after the tokens of `prompt_tail`, whose own text is not given out: the last few
    /// tokens of a text that is being continued, so that the space at the border is right, and a
    /// character that the tail leaves unfinished comes whole if what follows completes it; empty where a new text begins, as an
    /// answer in a chat does.
    ///
    /// # Errors
    /// [`TextError::Decode`] where the tail cannot be decoded.
    pub fn new(tokenizer: &Tokenizer, prompt_tail: &[u32]) -> Result<Self, TextError> {
        let machine = match tokenizer.style() {
            Style::Bytes => Machine::Bytes(Utf8Pieces::default()),
            Style::Pieces { first, .. } => Machine::Pieces {
                run: ByteRun::default(),
                beginning: Some(first),
            },
            Style::Other => Machine::Other(Window::default()),
        };
        let mut detokenizer = Self {
            tokenizer: tokenizer.clone(),
            kept: Vec::new(),
            machine,
        };
        for id in prompt_tail {
            detokenizer.push(*id)?;
        }
        match &mut detokenizer.machine {
            Machine::Bytes(pieces) => pieces.begin(),
            Machine::Pieces { run, .. } => run.forget_whole(),
            Machine::Other(_) => {}
        }
        Ok(detokenizer)
    }

    /// Shows these special tokens, which are otherwise left out.
    pub fn keep(mut self, special: &[u32]) -> Self {
        self.kept = special.to_vec();
        self
    }

    /// Takes the next token and returns the text that is decided by it; often that of this token,
    /// sometimes none.
    ///
    /// # Errors
    /// [`TextError::Decode`] where the tokenizer's decoder fails.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        if self.is_skipped(id) {
            return Ok(String::new());
        }
        let bytes = self.tokenizer.token_bytes(id).unwrap_or_default();
        let mut text = String::new();
        match &mut self.machine {
            Machine::Bytes(pieces) => pieces.push(bytes, &mut text),
            Machine::Pieces { run, beginning } => {
                if self.tokenizer.is_byte(id) {
                    run.push(bytes, &mut text);
                } else {
                    run.close(&mut text);
                    text.push_str(&piece(&self.tokenizer, id, *beginning));
                    if *beginning == Some(FirstPiece::WithoutMarks) {
                        *beginning = None;
                    }
                }
                strip(beginning, &mut text);
            }
            Machine::Other(window) => text = window.push(&self.tokenizer, id, &self.kept)?,
        }
        Ok(text)
    }

    /// Ends the text and returns what was held back; bytes that make no character become U+FFFD.
    ///
    /// # Errors
    /// [`TextError::Decode`] where the tokenizer's decoder fails.
    pub fn finish(&mut self) -> Result<String, TextError> {
        let mut text = String::new();
        match &mut self.machine {
            Machine::Bytes(pieces) => pieces.close(&mut text),
            Machine::Pieces { run, beginning } => {
                run.close(&mut text);
                strip(beginning, &mut text);
            }
            Machine::Other(window) => text = window.close(&self.tokenizer, &self.kept)?,
        }
        Ok(text)
    }

    /// Returns whether a token is no part of the text.
    fn is_skipped(&self, id: u32) -> bool {
        self.tokenizer.is_special(id) && !self.kept.contains(&id)
            || self.tokenizer.token_bytes(id).is_none()
    }
}

/// Returns the text of a token that is no byte; of the first one of a text without its marks, if
/// that is the tokenizer's way.
fn piece(tokenizer: &Tokenizer, id: u32, beginning: Option<FirstPiece>) -> String {
    if beginning == Some(FirstPiece::WithoutMarks) {
        return tokenizer.spelling(id).unwrap_or_default().replace('▁', "");
    }
    String::from_utf8_lossy(tokenizer.token_bytes(id).unwrap_or_default()).into_owned()
}

/// Takes the spaces off the beginning of a text that the tokenizer had put there.
fn strip(beginning: &mut Option<FirstPiece>, text: &mut String) {
    let Some(FirstPiece::Strip(most)) = *beginning else {
        return;
    };
    let spaces = text
        .bytes()
        .take(most)
        .take_while(|byte| *byte == b' ')
        .count();
    let is_over = spaces < text.len() || spaces == most;
    text.drain(..spaces);
    *beginning = (!is_over).then_some(FirstPiece::Strip(most - spaces));
}
