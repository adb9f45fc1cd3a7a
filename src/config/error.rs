//! What is wrong with a configuration, said so that its author can mend it.
//!
//! A line names the key first, then what is wrong with it, then in brackets
//! where it was written. It never says only that something is invalid: it
//! says what would be right.

use std::fmt;
use std::path::PathBuf;

use super::load::Source;

/// The reasons for which a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line cannot be read.
    #[error("configuration file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {}:{line}:{column}: not TOML: {message}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// Keys or values are wrong; never empty, in the order of the layers.
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

/// One wrong key or value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key as it was written, in the form `section.key`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// Where it was written; several places when a rule between keys is broken.
    pub origins: Vec<Source>,
}

// === impl ConfigError ===

impl ConfigError {
    /// Returns the wrong keys and values; empty when it did not get so far as to look at them.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Wrong(problems) => problems,
            Self::Unreadable { .. } | Self::NotToml { .. } => &[],
        }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)?;
        let origins: Vec<String> = self.origins.iter().map(ToString::to_string).collect();
        if origins.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", origins.join(", "))
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
