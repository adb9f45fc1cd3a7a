//! The bytes of every token.

use super::Style;

/// One token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenEntry {
    /// What the token adds to a text; for a special token its spelling. Empty for an id without a
    /// token.
    pub bytes: Vec<u8>,
    /// True for a special token, and for an id without a token: neither is ever text.
    pub special: bool,
}

/// All tokens, by id, up to the number of the model's logits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTable {
    /// The tokens, by id.
    pub tokens: Vec<TokenEntry>,
    /// The tokens that end a generation.
    pub eos: Vec<u32>,
}

/// Builds the table, and beside it which tokens stand for one byte.
pub(super) fn build(
    library: &tokenizers::Tokenizer,
    style: Style,
    vocab_size: usize,
    eos: Vec<u32>,
) -> (TokenTable, Vec<bool>) {
    let vocabulary = library.get_vocab(true);
    let last = vocabulary.values().max().map_or(0, |id| *id as usize + 1);
    let missing = TokenEntry {
        bytes: Vec::new(),
        special: true,
    };
    let mut tokens = vec![missing; last.max(vocab_size)];
    let mut fallback = vec![false; tokens.len()];
    let added = library.get_added_vocabulary();
    for (spelling, id) in vocabulary {
        let special = added.is_special_token(&spelling);
        let byte = byte_of(&spelling)
            .filter(|_| !special && matches!(style, Style::Pieces { fallback: true, .. }));
        let bytes = match (byte, style) {
            (Some(byte), _) => vec![byte],
            (None, _) if special => spelling.into_bytes(),
            (None, Style::Bytes) => from_alphabet(&spelling),
            (None, Style::Pieces { .. } | Style::Other) => spelling.replace('▁', " ").into_bytes(),
        };
        fallback[id as usize] = byte.is_some();
        tokens[id as usize] = TokenEntry { bytes, special };
    }
    (TokenTable { tokens, eos }, fallback)
}

/// Reads a token of one byte, such as `<0x41>`.
fn byte_of(spelling: &str) -> Option<u8> {
    let digits = spelling.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Reads GPT-2's alphabet, in which every byte is a visible character; a token with any other
/// character in it is taken as it stands.
/// <https://github.com/openai/gpt-2/blob/master/src/encoder.py>
fn from_alphabet(spelling: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = spelling.chars().map(alphabet_byte).collect();
    bytes.unwrap_or_else(|| spelling.as_bytes().to_vec())
}

/// Returns the byte for which a character of the alphabet stands. Bytes that are visible in Latin-1
/// stand for themselves; the 68 others are numbered from U+0100 on, in their order.
fn alphabet_byte(letter: char) -> Option<u8> {
    match u32::from(letter) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_letter_of_the_alphabet() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut bytes: Vec<u8> = alphabet
            .iter()
            .map(|letter| alphabet_byte(*letter).unwrap())
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(alphabet_byte('Ġ'), Some(b' '));
        assert_eq!(alphabet_byte('Ċ'), Some(b'\n'));
    }

    #[test]
    fn a_token_outside_the_alphabet_is_taken_as_it_stands() {
        assert_eq!(from_alphabet("a b"), b"a b");
        assert_eq!(from_alphabet("Ġé"), b" \xE9");
    }

    #[test]
    fn only_two_hexadecimal_digits_make_a_byte() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xA>"), None);
        assert_eq!(byte_of("<0xé>"), None);
        assert_eq!(byte_of("0x0A"), None);
    }
}
