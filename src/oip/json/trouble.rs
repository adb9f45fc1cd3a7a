//! What can be wrong with a piece of JSON.

use std::fmt;

/// What is wrong, without its place: that is where the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is not JSON: something else was expected.
    Expected(&'static str),
    /// It is JSON, but of another kind than was asked for.
    Kind(&'static str),
    /// It is nested too deeply.
    TooDeep,
    /// A number that the type asked for cannot hold.
    Unfit,
}

// === impl Trouble ===

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what) | Self::Kind(what) => write!(f, "expected {what}"),
            Self::TooDeep => write!(f, "nested deeper than {} levels", super::DEEPEST),
            Self::Unfit => f.write_str("a number that does not fit"),
        }
    }
}
