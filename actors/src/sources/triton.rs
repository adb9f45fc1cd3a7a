//! Triton's model configuration: `config.pbtxt`, and the same message as JSON.
//!
//! A model folder that was laid out for Triton is served as it is. The text is parsed into a
//! [tree](tree) that knows nothing of models, and the tree is [mapped](describe) to what
//! `model.toml` could have said.
//!
//! **Invariant:** nothing is passed over in silence. What asks for a service that does not exist
//! here (another runtime, a sequence, an ensemble) makes the model one that cannot be loaded;
//! everything else that has no meaning here becomes one line that names the key, where it stands
//! and what that means, and the model is served without it.
//!
//! The message is the one of Triton's `model_config.proto` (`inference.ModelConfig`), the text
//! protocol buffers' own format as its language specification has it.

mod describe;
mod json;
mod mapping;
mod text;
mod tree;

use std::path::Path;

use thiserror::Error;

use crate::serving::description::Description;
use describe::Describing;
use tree::Message;

/// Messages within messages beyond this are refused: no model needs them, and each is a call
/// deeper.
const MAX_DEPTH: usize = 32;
/// Longer texts are no configuration of a model.
const MAX_BYTES: usize = 4 << 20;

/// A configuration as it is written, not yet understood.
#[derive(Debug, Clone, PartialEq)]
pub struct TritonConfig {
    tree: Message,
    stated_in: &'static str,
}

/// Why a text is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {what}")]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

/// Parses a `config.pbtxt`.
///
/// # Errors
/// The text is not in protocol buffers' text format; the first place where it is not.
pub fn read_pbtxt(text: &str) -> Result<TritonConfig, Problem> {
    Ok(TritonConfig {
        tree: text::parse(text)?,
        stated_in: "config.pbtxt",
    })
}

/// Parses the JSON form of the same message, as a request to load a model brings it.
///
/// # Errors
/// The text is not the JSON form of a message.
pub fn from_json(text: &str) -> Result<TritonConfig, Problem> {
    Ok(TritonConfig {
        tree: json::parse(text)?,
        stated_in: "the config parameter",
    })
}

// === impl TritonConfig ===

impl TritonConfig {
    /// Returns what this says about the model in `folder`; files that it names are not looked for
    /// yet.
    ///
    /// # Errors
    /// A value is not of its key's type, a key contradicts another, or the model is one that this
    /// server does not serve; the text names the key.
    pub fn describe(&self, folder: &Path) -> Result<Description, String> {
        let name = folder.file_name().and_then(|name| name.to_str());
        Describing::new(self.stated_in, name.unwrap_or_default()).run(&self.tree)
    }
}

// === impl Problem ===

impl Problem {
    fn at(place: tree::Place, what: impl Into<String>) -> Self {
        Self {
            line: place.line,
            column: place.column,
            what: what.into(),
        }
    }
}

#[cfg(test)]
mod tests;
