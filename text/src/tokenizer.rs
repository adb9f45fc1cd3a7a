//! Text to token ids and back.
//!
//! Hugging Face's own library does the work; around it stand the things in which a server differs
//! from a training script. Truncation and padding, which `tokenizer.json` may ask for, are off: a
//! prompt that is cut in silence answers another question. Batches are encoded one text after the
//! other, on the thread that asks, because who may use how many threads is decided elsewhere. And
//! every token's bytes are kept at hand ([`TokenTable`]), for the grammar's trie, for log-probabilities
//! and for [`Detokenizer`](crate::Detokenizer), which would otherwise decode the same tokens again
//! and again.

mod style;
mod table;

use std::path::Path;
use std::sync::Arc;

pub(crate) use style::{FirstPiece, Style};
pub use table::{TokenEntry, TokenTable};

use tokenizers::{PostProcessor, TruncationDirection};

use crate::TextError;

/// A tokenizer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    codec: tokenizers::Tokenizer,
    style: Style,
    table: TokenTable,
    /// Which tokens stand for one byte each (`<0x41>`), by id.
    fallback: Vec<bool>,
}

/// The library's tokenizer, before it is known what else the folder says of it.
pub(crate) struct RawTokenizer {
    codec: tokenizers::Tokenizer,
}

/// What the folder says beside `tokenizer.json`.
#[derive(Debug, Default)]
pub(crate) struct TokenizerFacts {
    /// Rows of the model's logits, of which there may be more than tokens.
    pub(crate) vocab_size: usize,
    /// The tokens that end a generation.
    pub(crate) eos: Vec<u32>,
}

// === impl Tokenizer ===

impl Tokenizer {
    /// Reads a `tokenizer.json` alone. Blocks.
    ///
    /// # Errors
    /// [`TextError`] where the file cannot be read or understood.
    pub fn from_file(path: &Path) -> Result<Self, TextError> {
        Ok(RawTokenizer::read(path)?.with(TokenizerFacts::default()))
    }

    /// Turns a text into token ids. Special tokens that stand in the text are recognised whatever
    /// `add_special_tokens` says; it only decides on what `tokenizer.json` adds around it. (What
    /// `add_bos_token` says beside that file does not count, as in transformers.) A chat template
    /// writes those tokens itself, so a rendered prompt is encoded without.
    ///
    /// # Errors
    /// [`TextError::Encode`] where the tokenizer lacks a token that it needs.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TextError> {
        match self.inner.codec.encode_fast(text, add_special_tokens) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(TextError::Encode(error.to_string())),
        }
    }

    /// Turns a text into at most so many token ids, those that the tokenizer adds around it included:
    /// what is cut is the end of the text, never the tokens around it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_cut(&self, text: &str, most: usize) -> Result<Vec<u32>, TextError> {
        let failed = |error: tokenizers::Error| TextError::Encode(error.to_string());
        let codec = &self.inner.codec;
        let mut encoding = codec.encode_fast(text, false).map_err(failed)?;
        let added = codec
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(false));
        encoding.truncate(most.saturating_sub(added), 0, TruncationDirection::Right);
        let whole = codec.post_process(encoding, None, true);
        Ok(whole.map_err(failed)?.get_ids().to_vec())
    }

    /// Turns several texts into token ids, one after the other, as [`encode`](Self::encode) does.
    ///
    /// # Errors
    /// [`TextError::Encode`] for the first text that fails.
    pub fn encode_batch<T: AsRef<str>>(
        &self,
        texts: &[T],
        add_special_tokens: bool,
    ) -> Result<Vec<Vec<u32>>, TextError> {
        texts
            .iter()
            .map(|text| self.encode(text.as_ref(), add_special_tokens))
            .collect()
    }

    /// Turns token ids into text. Ids that stand for nothing are passed over, and bytes that make
    /// no character become U+FFFD. Unlike transformers with `clean_up_tokenization_spaces`, no
    /// spaces before punctuation are removed: the text is what the model wrote.
    ///
    /// # Errors
    /// [`TextError::Decode`] where the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TextError> {
        self.inner
            .codec
            .decode(ids, skip_special_tokens)
            .map_err(|error| TextError::Decode(error.to_string()))
    }

    /// Returns the id of a token that is spelled out, such as `<|im_end|>`.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.codec.token_to_id(token)
    }

    /// Returns a token as log-probabilities show it; bytes that make no character become U+FFFD.
    /// `None` for an id without a token.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.inner.codec.id_to_token(id)?;
        Some(String::from_utf8_lossy(self.token_bytes(id)?).into_owned())
    }

    /// Returns the bytes that a token adds to a text; `None` for an id beyond the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        Some(&self.inner.table.tokens.get(id as usize)?.bytes)
    }

    /// Returns whether a token is a special one, which [`decode`](Self::decode) can leave out.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner
            .table
            .tokens
            .get(id as usize)
            .is_some_and(|entry| entry.special)
    }

    /// Returns the bytes of all tokens.
    pub fn vocabulary(&self) -> &TokenTable {
        &self.inner.table
    }

    /// Returns how this tokenizer's tokens become text.
    pub(crate) fn style(&self) -> Style {
        self.inner.style
    }

    /// Returns whether a token stands for one byte, which is text only together with its neighbours.
    pub(crate) fn is_byte(&self, id: u32) -> bool {
        self.inner
            .fallback
            .get(id as usize)
            .copied()
            .unwrap_or(false)
    }

    /// Returns a token as the vocabulary spells it.
    pub(crate) fn spelling(&self, id: u32) -> Option<String> {
        self.inner.codec.id_to_token(id)
    }
}

// === impl RawTokenizer ===

impl RawTokenizer {
    /// Reads a `tokenizer.json`, and switches truncation and padding off. Blocks.
    pub(crate) fn read(path: &Path) -> Result<Self, TextError> {
        let text = std::fs::read(path).map_err(|source| TextError::Read {
            path: path.to_owned(),
            source,
        })?;
        let refused = |error: tokenizers::Error| TextError::Tokenizer {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut codec = tokenizers::Tokenizer::from_bytes(text).map_err(refused)?;
        codec.with_truncation(None).map_err(refused)?;
        codec.with_padding(None);
        Ok(Self { codec })
    }

    /// Returns the id of a token that is spelled out.
    pub(crate) fn id_of(&self, token: &str) -> Option<u32> {
        self.codec.token_to_id(token)
    }

    /// Completes the tokenizer with what the rest of the folder says.
    pub(crate) fn with(self, facts: TokenizerFacts) -> Tokenizer {
        let style = Style::of(self.codec.get_decoder());
        let (table, fallback) = table::build(&self.codec, style, facts.vocab_size, facts.eos);
        Tokenizer {
            inner: Arc::new(Inner {
                codec: self.codec,
                style,
                table,
                fallback,
            }),
        }
    }
}
