//! How a tokenizer's tokens become text.
//!
//! The library decodes whole sequences. To decode token by token, and to say which bytes a token is,
//! one has to know which of the few ways in use a tokenizer goes. It is read off its decoder; a
//! decoder of any other make is [`Style::Other`], and is decoded by the library over a window.

use serde_json::Value;
use tokenizers::DecoderWrapper;

/// The way from tokens to text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Every token is bytes, written in GPT-2's alphabet; the text is all bytes together, with
    /// U+FFFD for what makes no character.
    Bytes,
    /// Every token is text with `▁` for a space, or one byte (`<0x41>`) where the vocabulary lacks a
    /// character. Bytes that follow each other are a text together, or one U+FFFD each.
    Pieces {
        /// What is special about the beginning of the text.
        first: FirstPiece,
        /// Whether there are tokens of one byte.
        fallback: bool,
    },
    /// Anything else.
    Other,
}

/// What the beginning of a text loses, because the tokenizer added it when it encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPiece {
    /// At most so many spaces.
    Strip(usize),
    /// Every `▁` of the first token.
    WithoutMarks,
}

// === impl Style ===

impl Style {
    /// Recognises the style of a decoder.
    pub(crate) fn of(decoder: Option<&DecoderWrapper>) -> Self {
        let Some(described) = decoder.and_then(|it| serde_json::to_value(it).ok()) else {
            return Self::Other;
        };
        let alone = std::slice::from_ref(&described);
        let steps = match described.get("decoders").and_then(Value::as_array) {
            Some(steps) => steps.as_slice(),
            None => alone,
        };
        match steps {
            [only] if kind(only) == "ByteLevel" => Self::Bytes,
            [only] if kind(only) == "Metaspace" && only.get("replacement") == Some(&"▁".into()) =>
            {
                let kept = only.get("prepend_scheme") == Some(&"never".into());
                let first = if kept {
                    FirstPiece::Strip(0)
                } else {
                    FirstPiece::WithoutMarks
                };
                Self::Pieces {
                    first,
                    fallback: false,
                }
            }
            steps => Self::of_pieces(steps).unwrap_or(Self::Other),
        }
    }

    /// Recognises SentencePiece's way: `▁` is replaced, bytes are joined, all is fused and loses
    /// spaces at its beginning.
    fn of_pieces(steps: &[Value]) -> Option<Self> {
        let (mut replaced, mut fallback, mut fused, mut strip) = (false, false, false, 0);
        for step in steps {
            match kind(step) {
                "Replace" if !fallback && !fused => {
                    let marks = step.get("pattern")?.get("String")?.as_str()? == "▁";
                    replaced = marks && step.get("content")?.as_str()? == " ";
                    replaced.then_some(())?;
                }
                "ByteFallback" if !fused => fallback = true,
                "Fuse" => fused = true,
                "Strip"
                    if fused
                        && step.get("stop")?.as_u64()? == 0
                        && step.get("content")?.as_str()? == " " =>
                {
                    strip += usize::try_from(step.get("start")?.as_u64()?).ok()?;
                }
                _ => return None,
            }
        }
        replaced.then_some(Self::Pieces {
            first: FirstPiece::Strip(strip),
            fallback,
        })
    }
}

/// Returns the name of a decoder's step.
fn kind(step: &Value) -> &str {
    step.get("type").and_then(Value::as_str).unwrap_or_default()
}
