//! Tokens of the text format, and where each stands.

use std::fmt;

use super::super::Problem;
use super::super::tree::Place;

/// The smallest piece of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name, or a value that is a word.
    Word(String),
    /// A whole number without its sign.
    Integer(i128),
    /// Another number without its sign.
    Float(f64),
    /// One quoted piece of a text, its escapes resolved.
    Text(Vec<u8>),
    /// One of the characters that mean something by themselves.
    Mark(char),
    /// The end of the text.
    End,
}

/// Takes a text apart.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    place: Place,
}

// === impl Token ===

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{word:?}"),
            Self::Integer(_) | Self::Float(_) => f.write_str("a number"),
            Self::Text(_) => f.write_str("a text"),
            Self::Mark(mark) => write!(f, "{mark}"),
            Self::End => f.write_str("the end"),
        }
    }
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text.strip_prefix('\u{feff}').unwrap_or(text),
            place: Place { line: 1, column: 1 },
        }
    }

    /// Returns the next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token, Place), Problem> {
        self.skip();
        let place = self.place;
        let Some(first) = self.peek() else {
            return Ok((Token::End, place));
        };
        let token = match first {
            'a'..='z' | 'A'..='Z' | '_' => Token::Word(self.run(is_word).to_owned()),
            '0'..='9' => self.number(place)?,
            '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.number(place)?
            }
            '"' | '\'' => self.text(first, place)?,
            '{' | '}' | '<' | '>' | '[' | ']' | ':' | ',' | ';' | '-' => {
                self.bump();
                Token::Mark(first)
            }
            other => {
                return Err(Problem::at(place, format!("{other:?} has no meaning here")));
            }
        };
        Ok((token, place))
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        while let Some(next) = self.peek() {
            if next == '#' {
                self.run(|c| c != '\n');
            } else if next.is_ascii_whitespace() || next == '\u{b}' {
                self.bump();
            } else {
                return;
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        if next == '\n' {
            self.place = Place {
                line: self.place.line + 1,
                column: 1,
            };
        } else {
            self.place.column += 1;
        }
        Some(next)
    }

    /// Takes characters as long as they are wanted.
    fn run(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let whole = self.rest;
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
        &whole[..whole.len() - self.rest.len()]
    }

    fn number(&mut self, place: Place) -> Result<Token, Problem> {
        let whole = self.rest;
        self.run(|c| is_word(c) || c == '.');
        // The sign of an exponent belongs to the number.
        let so_far = &whole[..whole.len() - self.rest.len()];
        let is_decimal = !so_far.starts_with("0x") && !so_far.starts_with("0X");
        if is_decimal && so_far.ends_with(['e', 'E']) && self.rest.starts_with(['+', '-']) {
            self.bump();
            self.run(is_word);
        }
        let text = &whole[..whole.len() - self.rest.len()];
        number(text).ok_or_else(|| Problem::at(place, format!("{text} is no number")))
    }

    fn text(&mut self, quote: char, place: Place) -> Result<Token, Problem> {
        self.bump();
        let mut bytes = Vec::new();
        loop {
            match self.bump() {
                Some(c) if c == quote => return Ok(Token::Text(bytes)),
                Some('\\') => self.escape(&mut bytes)?,
                Some('\n') | None => {
                    return Err(Problem::at(place, "a text that does not end on its line"));
                }
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Problem> {
        let place = self.place;
        let wrong = |what: &str| Problem::at(place, format!("an escape that is none: \\{what}"));
        let kind = self.bump().ok_or_else(|| wrong(""))?;
        let byte = match kind {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '?' | '\\' | '\'' | '"' => kind as u8,
            '0'..='7' => {
                let more = self.digits(2, 8);
                let octal = format!("{kind}{more}");
                u8::from_str_radix(&octal, 8).map_err(|_| wrong(&octal))?
            }
            'x' | 'X' => {
                let hex = self.digits(2, 16);
                u8::from_str_radix(hex, 16).map_err(|_| wrong("x"))?
            }
            'u' | 'U' => {
                let length = if kind == 'u' { 4 } else { 8 };
                let hex = self.digits(length, 16);
                let point = u32::from_str_radix(hex, 16)
                    .ok()
                    .filter(|_| hex.len() == length);
                let character = point.and_then(char::from_u32).ok_or_else(|| wrong("u"))?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            other => return Err(wrong(&other.to_string())),
        };
        bytes.push(byte);
        Ok(())
    }

    /// Takes at most so many digits.
    fn digits(&mut self, most: usize, radix: u32) -> &'a str {
        let whole = self.rest;
        for _ in 0..most {
            if !self.peek().is_some_and(|c| c.is_digit(radix)) {
                break;
            }
            self.bump();
        }
        &whole[..whole.len() - self.rest.len()]
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Decimal, octal (a leading zero) and hexadecimal numbers; an `f` behind a decimal one makes it no
/// whole number.
fn number(text: &str) -> Option<Token> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return whole(hex, 16);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.strip_prefix('0') {
            None | Some("") => whole(text, 10),
            Some(octal) => whole(octal, 8),
        };
    }
    let digits = text.strip_suffix(['f', 'F']).unwrap_or(text);
    let is_float = digits
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    match is_float {
        true => digits.parse().ok().map(Token::Float),
        false => None,
    }
}

/// No field takes more than 64 bits.
fn whole(digits: &str, radix: u32) -> Option<Token> {
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(Token::Integer(i128::from(value)))
}
