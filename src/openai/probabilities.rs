//! Log-probabilities in terms of texts.

use impetus_engine::generate::TokenLogprobs;
use impetus_text::Tokenizer;

/// What JSON has for the logarithm of nothing: OpenAI's own number for it.
const NEVER: f32 = -9999.0;

/// A token with its probability, and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The token.
    pub token: Likely,
    /// The most likely ones at its place, best first; `None` where nothing came before it.
    pub best: Option<Vec<Likely>>,
    /// Characters of the text that come before it.
    pub offset: usize,
}

/// A token and how likely it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Likely {
    /// What it adds to a text.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability; `None` where nothing came before it.
    pub logprob: Option<f32>,
}

// === impl Told ===

impl Told {
    /// Puts a token into words.
    pub(super) fn new(
        tokenizer: &Tokenizer,
        token: u32,
        logprobs: Option<&TokenLogprobs>,
        offset: usize,
    ) -> Self {
        let best = logprobs.map(|logprobs| {
            let best = logprobs.best.iter();
            best.map(|(token, logprob)| Likely::new(tokenizer, *token, Some(*logprob)))
                .collect()
        });
        let chosen = logprobs.map(|logprobs| logprobs.chosen);
        Self {
            token: Likely::new(tokenizer, token, chosen),
            best,
            offset,
        }
    }
}

// === impl Likely ===

impl Likely {
    fn new(tokenizer: &Tokenizer, token: u32, logprob: Option<f32>) -> Self {
        Self {
            bytes: tokenizer.token_bytes(token).unwrap_or_default().to_vec(),
            logprob: logprob.map(|logprob| logprob.max(NEVER)),
        }
    }

    /// Returns it as text; what is no character becomes U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Returns it as a name that no other token has: as text, or by its bytes where they are none.
    #[must_use]
    pub fn name(&self) -> String {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                let bytes = self.bytes.iter().map(|byte| format!("\\x{byte:02x}"));
                format!("bytes:{}", bytes.collect::<String>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_character_is_named_by_its_bytes() {
        let likely = |bytes: &[u8]| Likely {
            bytes: bytes.to_vec(),
            logprob: None,
        };
        assert_eq!(likely(b" a").name(), " a");
        assert_eq!(likely(b"\xf0\x9f").name(), "bytes:\\xf0\\x9f");
        assert_eq!(likely(b"\xf0\x9f").text(), "\u{fffd}");
    }
}
