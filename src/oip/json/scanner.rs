//! Walks over JSON text, piece by piece.
//!
//! The text need be no UTF-8 as a whole: outside strings JSON is ASCII, and each string is checked
//! where it is read.

use std::borrow::Cow;

use super::Trouble;

/// A place in a text.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

// === impl Scanner ===

impl<'a> Scanner<'a> {
    /// Starts at the beginning of a text.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Starts somewhere in a text.
    pub(super) fn resumed(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// Returns the whole text.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Returns how many bytes lie before the place.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns how many bytes lie behind the place.
    #[must_use]
    pub fn left(&self) -> usize {
        self.text.len() - self.at
    }

    /// Returns the next byte.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Goes on by so many bytes, which have been looked at.
    #[inline]
    pub(super) fn advance(&mut self, by: usize) {
        self.at += by;
    }

    /// Goes to the next byte that is no white space, and returns it.
    #[inline]
    pub fn ahead(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Takes the next byte that is no white space if it is this one.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let is_it = self.ahead() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    /// Takes the next byte that is no white space, which must be this one.
    ///
    /// # Errors
    /// It is another one.
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Trouble> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(Trouble::Expected(what))
    }

    /// Makes sure that nothing but white space is left.
    ///
    /// # Errors
    /// There is.
    pub fn end(&mut self) -> Result<(), Trouble> {
        match self.ahead() {
            None => Ok(()),
            Some(_) => Err(Trouble::Expected("nothing after the end")),
        }
    }

    /// Enters an object; [`key`](Self::key) then gives its keys.
    ///
    /// # Errors
    /// There is none.
    pub fn object(&mut self) -> Result<(), Trouble> {
        self.open(b'{', "an object")
    }

    /// Enters an array; [`item`](Self::item) then says whether there is another item.
    ///
    /// # Errors
    /// There is none.
    pub fn array(&mut self) -> Result<(), Trouble> {
        self.open(b'[', "an array")
    }

    /// Returns the next key of an object, in front of whose value the place then is; `None` at the
    /// object's end. `first` is for this alone: it says whether there has been a key yet.
    ///
    /// # Errors
    /// There is neither.
    pub fn key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Trouble> {
        if self.eat(b'}') {
            return Ok(None);
        }
        if !std::mem::take(first) {
            self.expect(b',', "`,` or `}`")?;
        }
        if self.ahead() != Some(b'"') {
            return Err(Trouble::Expected("a key in quotes"));
        }
        let key = self.string()?;
        self.expect(b':', "`:`")?;
        Ok(Some(key))
    }

    /// Tells whether an array has another item, in front of which the place then is.
    ///
    /// # Errors
    /// There is neither another item nor the array's end.
    pub fn item(&mut self, first: &mut bool) -> Result<bool, Trouble> {
        if self.eat(b']') {
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',', "`,` or `]`")?;
        }
        Ok(true)
    }

    /// Reads a string.
    ///
    /// # Errors
    /// There is none, or it is malformed.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Trouble> {
        self.open(b'"', "a string")?;
        let begin = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let raw = utf8(&self.text[begin..self.at])?;
                    self.at += 1;
                    return Ok(Cow::Borrowed(raw));
                }
                Some(b'\\') => return self.escaped(begin).map(Cow::Owned),
                Some(0x20..) => self.at += 1,
                _ => return Err(Trouble::Expected("the end of the string")),
            }
        }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// There is neither.
    pub fn bool(&mut self) -> Result<bool, Trouble> {
        let _ = self.ahead();
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            Err(self.other_kind("true or false"))
        }
    }

    /// Takes a word if it is the one that comes.
    pub fn word(&mut self, word: &str) -> bool {
        let is_it = self.text[self.at..].starts_with(word.as_bytes());
        self.at += if is_it { word.len() } else { 0 };
        is_it
    }

    /// Says that something was expected and another thing came: JSON, if it begins like any.
    #[cold]
    pub(super) fn other_kind(&self, expected: &'static str) -> Trouble {
        match self.peek() {
            Some(b'"' | b'[' | b'{' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                Trouble::Kind(expected)
            }
            _ => Trouble::Expected(expected),
        }
    }

    fn open(&mut self, byte: u8, what: &'static str) -> Result<(), Trouble> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(self.other_kind(what))
    }

    /// Reads the rest of a string that has escapes; `begin` is where its content begins.
    fn escaped(&mut self, begin: usize) -> Result<String, Trouble> {
        let mut string = utf8(&self.text[begin..self.at])?.to_owned();
        let mut plain = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    string.push_str(utf8(&self.text[plain..self.at])?);
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    string.push_str(utf8(&self.text[plain..self.at])?);
                    self.at += 1;
                    string.push(self.escape()?);
                    plain = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(Trouble::Expected("the end of the string")),
            }
        }
    }

    /// Reads what comes after a backslash.
    fn escape(&mut self) -> Result<char, Trouble> {
        let character = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.code_point();
            }
            _ => return Err(Trouble::Expected("an escape that JSON has")),
        };
        self.at += 1;
        Ok(character)
    }

    /// Reads the digits after `\u`, and those of the second half of a pair.
    fn code_point(&mut self) -> Result<char, Trouble> {
        let half = Trouble::Expected("both halves of a surrogate pair");
        let high = self.hex()?;
        let code = match high {
            0xd800..0xdc00 => {
                if !self.word("\\u") {
                    return Err(half);
                }
                match self.hex()? {
                    low @ 0xdc00..0xe000 => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(half),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(half)
    }

    fn hex(&mut self) -> Result<u32, Trouble> {
        let trouble = Trouble::Expected("four hexadecimal digits");
        let digits = self.text.get(self.at..self.at + 4).ok_or(trouble)?;
        let mut code = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(trouble)?;
            code = code * 16 + digit;
        }
        self.at += 4;
        Ok(code)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Trouble> {
    std::str::from_utf8(bytes).map_err(|_| Trouble::Expected("a string that is UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_as_the_library_reads_them() {
        for text in [
            r#""""#,
            r#""plain""#,
            r#""größe""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u00e9 and \ud83d\ude00 end""#,
        ] {
            let expected: String = serde_json::from_str(text).unwrap();
            assert_eq!(Scanner::new(text.as_bytes()).string().unwrap(), expected);
        }
    }

    #[test]
    fn malformed_strings_are_refused() {
        for text in [
            &br#""open"#[..],
            b"\"\n\"",
            br#""\x""#,
            br#""\u12""#,
            br#""\ud83d""#,
            br#""\ud83d\u0041""#,
            br#""\ude00""#,
            b"\"\xff\"",
            b"\"\\n\xff\"",
            b"\"\\",
        ] {
            assert!(Scanner::new(text).string().is_err(), "{text:?}");
        }
        assert!(matches!(
            Scanner::new(b" 5").string(),
            Err(Trouble::Kind("a string"))
        ));
    }
}
