//! What can go wrong with text, and whose fault it is.
//!
//! A model folder that cannot be read is the operator's to mend; a conversation that a template
//! refuses is the client's, and the template's own words are the best explanation there is.

use std::path::PathBuf;

/// What is wrong with a model's folder or with a text that was to be tokenized.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A file is there but cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("cannot understand {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// The tokenizer's file describes no tokenizer that this version knows.
    #[error("cannot load the tokenizer {}: {reason}; export it again with a current `tokenizers`", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// The chat template is no valid Jinja.
    #[error("the chat template in {} is not valid: {source}", path.display())]
    Template {
        /// The file that holds it.
        path: PathBuf,
        /// Where and what.
        source: TemplateError,
    },
    /// The folder asks for something that this version does not do.
    #[error("{} cannot be followed: {what}; serve the model's tensors instead (`task = \"tensors\"` in model.toml)", path.display())]
    Unsupported {
        /// The file that asks for it.
        path: PathBuf,
        /// What it asks for.
        what: String,
    },
    /// A text could not be turned into tokens.
    #[error("cannot tokenize the text: {0}")]
    Encode(String),
    /// Tokens could not be turned into text.
    #[error("cannot turn tokens into text: {0}")]
    Decode(String),
}

/// Why a conversation was not rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template itself refused the conversation by `raise_exception`, in these words.
    #[error("{0}")]
    Refused(String),
    /// The conversation has not the shape that rendering needs.
    #[error("{0}")]
    Conversation(String),
    /// The template cannot be compiled or rendered.
    #[error("the chat template cannot be rendered: {0}")]
    Broken(String),
}

// === impl TemplateError ===

impl TemplateError {
    /// Returns true where other messages would have been rendered, so that the client is to be told.
    pub fn is_clients_fault(&self) -> bool {
        !matches!(self, Self::Broken(_))
    }
}
