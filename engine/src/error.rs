//! What can go wrong with a model, in terms that do not depend on the runtime.
//!
//! An [`EngineError`] crosses the process boundary, so it holds nothing but plain data. It knows
//! whose fault it is, which decides between a 4xx and a 5xx and what counts into the error rate,
//! and whether the same request may succeed when it is sent again. Losing the worker is no
//! [`EngineError`]: nobody was left to report it, and the link says so instead.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::tensor::DType;

/// The longest text of a native error that is passed on, in bytes.
const REASON_MAX: usize = 4096;

/// Who has to do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Whoever sent the request.
    Client,
    /// The engine that ran it, or the model.
    Worker,
    /// Whoever set the server up.
    Internal,
}

/// An error in loading or running a model.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum EngineError {
    /// The runtime's library is not there.
    #[error("runtime library {} is missing: {reason}", path.display())]
    RuntimeMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The runtime's library is there but is none, is too old or does not start.
    #[error("runtime library {} cannot be used: {reason}", path.display())]
    RuntimeUnusable {
        /// Where it lies.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The model's file is not there or cannot be read.
    #[error("model file {} is missing: {reason}", path.display())]
    ModelMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The model's file is no valid model.
    #[error("model file {} is corrupt: {reason}", path.display())]
    ModelCorrupt {
        /// Where it lies.
        path: PathBuf,
        /// What the runtime said.
        reason: String,
    },
    /// The model is valid but asks for something that this server does not offer.
    #[error("model file {} is not supported: {reason}", path.display())]
    ModelUnsupported {
        /// Where it lies.
        path: PathBuf,
        /// What it asks for.
        reason: String,
    },
    /// None of the execution providers that the model may run on is there and works.
    #[error("no execution provider can run model file {}: {reason}", path.display())]
    NoProvider {
        /// The model's file.
        path: PathBuf,
        /// What was wrong with each, and what to do.
        reason: String,
    },
    /// A sample that is stated for the model's first runs is none of its inputs, or fails.
    #[error("warm-up sample {key} cannot be used: {reason}")]
    SampleRefused {
        /// Where the sample, or the input of it, is stated.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A run was asked for before a model was loaded.
    #[error("no model is loaded")]
    NotLoaded,
    /// An input of the model was not given.
    #[error("input {name} is missing")]
    InputMissing {
        /// The model's name for it.
        name: String,
    },
    /// An input was given that the model does not have.
    #[error("the model has no input {name}")]
    InputUnknown {
        /// The name given.
        name: String,
    },
    /// An input was given more than once.
    #[error("input {name} is given twice")]
    InputRepeated {
        /// The name given.
        name: String,
    },
    /// An input has another element type than the model asks for.
    #[error("input {input} must be {expected}, got {got}")]
    WrongType {
        /// The input.
        input: String,
        /// What the model asks for.
        expected: DType,
        /// What was given.
        got: DType,
    },
    /// An input has another shape than the model asks for.
    #[error("input {input} must have shape {expected}, got {got}")]
    WrongShape {
        /// The input.
        input: String,
        /// What the model asks for, free dimensions by name or as `?`.
        expected: String,
        /// What was given.
        got: String,
    },
    /// The bytes of an input are no tensor of its type and shape.
    #[error("input {input} is malformed: {reason}")]
    InputMalformed {
        /// The input.
        input: String,
        /// What does not fit.
        reason: String,
    },
    /// The inputs of one run are more than the server passes on.
    #[error("the inputs take {bytes} bytes, at most {cap} are allowed")]
    InputTooLarge {
        /// Bytes of all inputs together.
        bytes: u64,
        /// Bytes allowed.
        cap: u64,
    },
    /// The runtime returned an error for this run.
    #[error("the model failed to run: {reason}")]
    RunFailed {
        /// What the runtime said.
        reason: String,
    },
    /// A run needed more memory than its worker may take.
    #[error("the run needs more memory than its worker may take: {reason}")]
    OutOfMemory {
        /// What the runtime said.
        reason: String,
    },
    /// The outputs of one run are more than the server takes.
    #[error("the outputs take {bytes} bytes, at most {cap} are allowed")]
    OutputTooLarge {
        /// Bytes of all outputs together.
        bytes: u64,
        /// Bytes allowed.
        cap: u64,
    },
    /// The prompt leaves no room for a single token of an answer.
    #[error("the prompt has {tokens} tokens, and prompt and answer together may have {max_len}")]
    PromptTooLong {
        /// Tokens of the prompt, with what has been generated already.
        tokens: usize,
        /// Tokens that there is room for.
        max_len: usize,
    },
    /// The grammar or schema that an answer is to conform to cannot be used.
    #[error("the grammar cannot be used: {reason}")]
    GrammarRefused {
        /// What is wrong with it.
        reason: String,
    },
    /// What is to be generated makes no sense.
    #[error("nothing can be generated: {reason}")]
    GenerationRefused {
        /// Which setting is wrong, and what it may be.
        reason: String,
    },
    /// The model was asked for what models of another kind do.
    #[error("{reason}")]
    WrongKind {
        /// What it does and how to ask for that.
        reason: String,
    },
    /// The run was ended early, or not begun, because nobody waited for its answer any more.
    #[error("the run was given up because nobody waited for it any more")]
    Abandoned,
    /// Server and worker did not understand each other.
    #[error("worker protocol violated: {reason}")]
    Protocol {
        /// What was not understood.
        reason: String,
    },
}

// === impl EngineError ===

impl EngineError {
    /// Returns who has to do something about it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::InputMissing { .. }
            | Self::InputUnknown { .. }
            | Self::InputRepeated { .. }
            | Self::WrongType { .. }
            | Self::WrongShape { .. }
            | Self::InputMalformed { .. }
            | Self::InputTooLarge { .. }
            | Self::OutputTooLarge { .. }
            | Self::PromptTooLong { .. }
            | Self::GrammarRefused { .. }
            | Self::GenerationRefused { .. }
            | Self::WrongKind { .. }
            | Self::Abandoned => Fault::Client,
            Self::RunFailed { .. } | Self::OutOfMemory { .. } => Fault::Worker,
            Self::RuntimeMissing { .. }
            | Self::RuntimeUnusable { .. }
            | Self::ModelMissing { .. }
            | Self::ModelCorrupt { .. }
            | Self::ModelUnsupported { .. }
            | Self::NoProvider { .. }
            | Self::SampleRefused { .. }
            | Self::NotLoaded
            | Self::Protocol { .. } => Fault::Internal,
        }
    }

    /// Returns whether the same request may succeed when it is sent again, unchanged.
    ///
    /// A run that fails inside the runtime fails again: it depends on nothing but its inputs.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotLoaded | Self::Protocol { .. })
    }

    /// Returns an input whose bytes are no tensor, with the reason cut to what a frame can carry.
    pub(crate) fn malformed(input: &str, reason: impl ToString) -> Self {
        Self::InputMalformed {
            input: input.to_owned(),
            reason: shortened(reason.to_string()),
        }
    }

    /// Returns a stated sample that cannot be used, with the reason cut to what a frame can carry.
    pub(crate) fn sample(key: impl Into<String>, reason: impl ToString) -> Self {
        Self::SampleRefused {
            key: key.into(),
            reason: shortened(reason.to_string()),
        }
    }

    /// Returns a generation that makes no sense.
    pub(crate) fn refused(reason: impl ToString) -> Self {
        Self::GenerationRefused {
            reason: shortened(reason.to_string()),
        }
    }

    /// Returns a grammar that cannot be used.
    pub(crate) fn grammar(reason: impl ToString) -> Self {
        Self::GrammarRefused {
            reason: shortened(reason.to_string()),
        }
    }

    /// Returns a failed run, with the runtime's text cut to what a frame can carry.
    pub fn run_failed(reason: impl Into<String>) -> Self {
        Self::RunFailed {
            reason: shortened(reason.into()),
        }
    }
}

/// Returns the text, cut at a character boundary to what a frame can carry.
pub(crate) fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_MAX {
        reason.truncate(reason.floor_char_boundary(REASON_MAX));
        reason.push('…');
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_native_text_is_cut_between_characters() {
        let text = "é".repeat(REASON_MAX);
        let cut = shortened(text);
        assert!(cut.len() <= REASON_MAX + '…'.len_utf8());
        assert!(cut.ends_with("é…"));
    }

    #[test]
    fn a_wrong_input_is_the_clients_fault_and_no_repetition_helps() {
        let error = EngineError::InputMissing { name: "x".into() };
        assert_eq!(error.fault(), Fault::Client);
        assert!(!error.is_retryable());
    }
}
