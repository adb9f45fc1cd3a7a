//! Protocol buffers' text format, without a schema.
//!
//! After the language's specification: a field is a name, a colon that may be left out before a
//! message, a value, and a comma or a semicolon that may be left out as well; a list in brackets is
//! its values one by one; messages stand in braces or in angles. Without a schema an extension or
//! an `Any` (a name in brackets) means nothing, so it is refused.

mod lexer;

use super::tree::{Field, Message, Place, Value};
use super::{MAX_BYTES, MAX_DEPTH, Problem};
use lexer::{Lexer, Token};

/// Parses a text into the message that it is.
pub(super) fn parse(text: &str) -> Result<Message, Problem> {
    if text.len() > MAX_BYTES {
        let what = format!(
            "the text has {} bytes, at most {MAX_BYTES} are read",
            text.len()
        );
        return Err(Problem::at(Place { line: 1, column: 1 }, what));
    }
    let mut parser = Parser {
        lexer: Lexer::new(text),
        ahead: (Token::End, Place::default()),
    };
    parser.step()?;
    let message = parser.fields(&Token::End, 0)?;
    Ok(message)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next token, and where it stands.
    ahead: (Token, Place),
}

// === impl Parser ===

impl Parser<'_> {
    fn step(&mut self) -> Result<Token, Problem> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.ahead, next).0)
    }

    fn take(&mut self, token: &Token) -> Result<bool, Problem> {
        let is_next = self.ahead.0 == *token;
        if is_next {
            self.step()?;
        }
        Ok(is_next)
    }

    fn here<T>(&self, what: impl Into<String>) -> Result<T, Problem> {
        Err(Problem::at(self.ahead.1, what))
    }

    /// Parses fields up to `end`, which is not taken.
    fn fields(&mut self, end: &Token, depth: usize) -> Result<Message, Problem> {
        let mut message = Message::default();
        while self.ahead.0 != *end {
            let place = self.ahead.1;
            let name = match &self.ahead.0 {
                Token::Word(name) => name.clone(),
                Token::Mark('[') => {
                    return self.here("extensions and Any are not understood here");
                }
                other => {
                    let what = format!("{other} where {end} or a field's name should be");
                    return self.here(what);
                }
            };
            self.step()?;
            self.field(&mut message, (name, place), depth)?;
            if !self.take(&Token::Mark(','))? {
                self.take(&Token::Mark(';'))?;
            }
        }
        Ok(message)
    }

    /// Parses what comes after a field's name.
    fn field(
        &mut self,
        message: &mut Message,
        (name, place): (String, Place),
        depth: usize,
    ) -> Result<(), Problem> {
        let colon = self.take(&Token::Mark(':'))?;
        let mut add = |value| {
            message.fields.push(Field {
                name: name.clone(),
                place,
                value,
            });
        };
        if !self.take(&Token::Mark('['))? {
            add(self.value(colon, depth)?);
            return Ok(());
        }
        if self.take(&Token::Mark(']'))? {
            return Ok(());
        }
        loop {
            add(self.value(colon, depth)?);
            if self.take(&Token::Mark(']'))? {
                return Ok(());
            }
            if !self.take(&Token::Mark(','))? {
                let what = format!("{} in a list, where , or ] should be", self.ahead.0);
                return self.here(what);
            }
        }
    }

    fn value(&mut self, colon: bool, depth: usize) -> Result<Value, Problem> {
        let end = match self.ahead.0 {
            Token::Mark('{') => Token::Mark('}'),
            Token::Mark('<') => Token::Mark('>'),
            _ if colon => return self.scalar(),
            _ => {
                let what = format!("{} where : or a message should be", self.ahead.0);
                return self.here(what);
            }
        };
        if depth >= MAX_DEPTH {
            return self.here(format!("messages are nested more than {MAX_DEPTH} deep"));
        }
        self.step()?;
        let message = self.fields(&end, depth + 1)?;
        self.step()?;
        Ok(Value::Message(message))
    }

    fn scalar(&mut self) -> Result<Value, Problem> {
        let negative = self.take(&Token::Mark('-'))?;
        match (&self.ahead.0, negative) {
            (Token::Text(_), false) => self.text(),
            (Token::Word(word), false) => {
                let word = Value::Word(word.clone());
                self.step()?;
                Ok(word)
            }
            (Token::Word(word), true) => match float_word(word) {
                Some(value) => {
                    self.step()?;
                    Ok(Value::Float(-value))
                }
                None => self.here(format!("-{word} is no number")),
            },
            (Token::Integer(value), _) => {
                let value = if negative { -*value } else { *value };
                self.step()?;
                Ok(Value::Integer(value))
            }
            (Token::Float(value), _) => {
                let value = if negative { -*value } else { *value };
                self.step()?;
                Ok(Value::Float(value))
            }
            (other, _) => {
                let what = format!("{other} where a value should be");
                self.here(what)
            }
        }
    }

    /// Parses a text, of which there may be several pieces.
    fn text(&mut self) -> Result<Value, Problem> {
        let place = self.ahead.1;
        let mut bytes = Vec::new();
        while let Token::Text(piece) = &self.ahead.0 {
            bytes.extend_from_slice(piece);
            self.step()?;
        }
        String::from_utf8(bytes)
            .map(Value::Text)
            .map_err(|_| Problem::at(place, "a text that is no UTF-8"))
    }
}

/// Returns the number that a word stands for.
fn float_word(word: &str) -> Option<f64> {
    match word.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some(f64::INFINITY),
        "nan" => Some(f64::NAN),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
