//! Commands that belong together, and what the page shows of their answer.

use serde_json::Value;

use crate::commands::Command;
use crate::fits;

/// Commands of one shell.
pub struct Block {
    /// Page and line, for people.
    pub place: String,
    /// Against which servers, when not against the healthy ones.
    pub site: Option<String>,
    pub commands: Vec<Command>,
    pub shown: Option<Shown>,
}

/// What the last command of a block is to answer.
pub enum Shown {
    Json(Result<Value, String>),
    Lines(Vec<String>),
}

// === impl Shown ===

impl Shown {
    /// Reads a fence below a block; those of another language show something else.
    pub fn read(language: &str, text: &str) -> Option<Self> {
        match language {
            "json" => Some(Self::Json(
                serde_json::from_str(text).map_err(|error| error.to_string()),
            )),
            "text" => Some(Self::Lines(text.lines().map(str::to_owned).collect())),
            _ => None,
        }
    }

    /// Says what is wrong with what is shown.
    pub fn complaint(&self, answer: &str) -> Option<String> {
        match self {
            Self::Json(Err(error)) => Some(format!("what is shown is no json: {error}")),
            Self::Json(Ok(shown)) => match serde_json::from_str(answer) {
                Ok(answer) => fits::json(shown, &answer, "").err(),
                Err(error) => Some(format!("the answer is no json: {error}")),
            },
            Self::Lines(shown) => fits::lines(shown, answer).err(),
        }
    }
}
