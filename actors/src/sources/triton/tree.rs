//! A protocol buffers message as it is written: names, values, and where they stand.
//!
//! What a name means, and which type its value has to have, is known to whoever reads the tree.
//! Repeated values are repeated fields, whichever way they were written.

use std::fmt;

/// A message: its fields in the order in which they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
}

/// One field with one value.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// Where the name stands.
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value, as far as its writing tells its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    Integer(i128),
    /// Another number.
    Float(f64),
    /// A word: an enum's, or a truth value.
    Word(String),
    /// A quoted text.
    Text(String),
    /// A message.
    Message(Message),
}

/// A place in a text, both from 1; a text without lines has a line 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

// === impl Field ===

/// Two fields are the same wherever they stand.
impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.value) == (&other.name, &other.value)
    }
}

// === impl Value ===

impl Value {
    /// Returns what it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Word(_) => "a word",
            Self::Text(_) => "a text",
            Self::Message(_) => "a message",
        }
    }
}

// === impl Place ===

/// ` (line 3)`, or nothing for a text without lines.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => Ok(()),
            line => write!(f, " (line {line})"),
        }
    }
}
