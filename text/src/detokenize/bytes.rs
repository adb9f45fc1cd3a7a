//! The machines for bytes that become characters.

/// So many bytes of a run of byte tokens are held back; older ones are given out before the run has
/// ended. The longest emoji in use (a family of four) have 25.
pub const LONGEST_RUN: usize = 32;

/// Bytes that are decoded as they come, with U+FFFD for each maximal part that makes no character, as
/// [`String::from_utf8_lossy`] has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Utf8Pieces {
    /// The beginning of a character.
    pending: Vec<u8>,
    /// How many of these bytes stood in front of the text: they are shown if the text makes a character
    /// of them, and are no part of it otherwise.
    inherited: usize,
}

/// A run of byte tokens, which are characters together, or U+FFFD each.
#[derive(Debug, Clone, Default)]
pub(super) struct ByteRun {
    pending: Vec<u8>,
    /// Whether bytes of this run have been given out as U+FFFD, so that all others must be.
    is_malformed: bool,
}

// === impl Utf8Pieces ===

impl Utf8Pieces {
    /// Takes bytes and writes all characters that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) {
        if self.pending.is_empty()
            && let Ok(whole) = std::str::from_utf8(bytes)
        {
            text.push_str(whole);
            return;
        }
        self.pending.extend_from_slice(bytes);
        let unfinished = loop {
            match std::str::from_utf8(&self.pending) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.inherited = 0;
                    break 0;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(malformed) = error.error_len() else {
                        break rest.len();
                    };
                    let gone = error.valid_up_to() + malformed;
                    if self.inherited < gone {
                        text.push(char::REPLACEMENT_CHARACTER);
                    }
                    self.inherited = self.inherited.saturating_sub(gone);
                    self.pending.drain(..gone);
                }
            }
        };
        self.pending.drain(..self.pending.len() - unfinished);
    }

    /// Says that the text begins here: what is unfinished stood in front of it.
    pub(super) fn begin(&mut self) {
        self.inherited = self.pending.len();
    }

    /// Ends the text: what is unfinished makes no character.
    pub(super) fn close(&mut self, text: &mut String) {
        let unfinished = std::mem::take(&mut self.pending);
        if unfinished.len() > self.inherited {
            text.push_str(&String::from_utf8_lossy(&unfinished));
        }
    }
}

// === impl ByteRun ===

impl ByteRun {
    /// Takes the byte of one more token. Writes only what is decided: U+FFFD once the run is known to
    /// be malformed, and the oldest characters of a run that is longer than [`LONGEST_RUN`].
    pub(super) fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.pending.extend_from_slice(bytes);
        let well_formed = match std::str::from_utf8(&self.pending) {
            _ if self.is_malformed => None,
            Ok(whole) => Some(whole),
            Err(error) if error.error_len().is_some() => None,
            Err(error) => std::str::from_utf8(&self.pending[..error.valid_up_to()]).ok(),
        };
        let Some(well_formed) = well_formed else {
            self.is_malformed = true;
            replace(&mut self.pending, text);
            return;
        };
        let too_long = self.pending.len().saturating_sub(LONGEST_RUN);
        let cut = well_formed.ceil_char_boundary(too_long);
        text.push_str(&well_formed[..cut]);
        self.pending.drain(..cut);
    }

    /// Drops all characters that are whole: they belong to the text before.
    pub(super) fn forget_whole(&mut self) {
        let whole = match std::str::from_utf8(&self.pending) {
            Ok(_) => self.pending.len(),
            Err(error) => error.valid_up_to(),
        };
        self.pending.drain(..whole);
    }

    /// Ends the run: its bytes are characters, or U+FFFD each.
    pub(super) fn close(&mut self, text: &mut String) {
        match std::str::from_utf8(&self.pending) {
            Ok(whole) => {
                text.push_str(whole);
                self.pending.clear();
            }
            Err(_) => replace(&mut self.pending, text),
        }
        self.is_malformed = false;
    }
}

/// Writes U+FFFD for each byte.
fn replace(bytes: &mut Vec<u8>, text: &mut String) {
    text.extend(bytes.drain(..).map(|_| char::REPLACEMENT_CHARACTER));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(front: &[u8], text: &[u8]) -> String {
        let (mut pieces, mut shown) = (Utf8Pieces::default(), String::new());
        pieces.push(front, &mut String::new());
        pieces.begin();
        pieces.push(text, &mut shown);
        pieces.close(&mut shown);
        shown
    }

    #[test]
    fn half_a_character_in_front_of_a_text_is_shown_only_as_a_whole_one() {
        assert_eq!(behind(b"\xC3", b"\xA9t\xC3\xA9"), "été");
        assert_eq!(behind(b"\xF0", b"yes"), "yes");
        assert_eq!(behind(b"\xF0\x9F", b""), "");
        assert_eq!(behind(b"\xF0", b"\xFFyes"), "\u{FFFD}yes");
        assert_eq!(behind(b"ab", b"\xF0"), "\u{FFFD}");
    }
}
