//! What is found when somebody asks whether a server of this configuration could run here.
//!
//! A [`Check`] is a function from what is looked at to findings, and [`CHECKS`] is the list of all of
//! them: one that is to be made is added there. Nothing is changed by looking: no folder is made and
//! no file is written. The library and its execution providers are tried in a process of their own
//! for each ([`probe`](mod@probe)), since a driver that is broken may take the process with it.
//!
//! It fails in no way of its own: what cannot be looked at is a finding.

mod places;
mod probe;
mod providers;
mod sources;

use std::path::PathBuf;

use serde::Serialize;

use crate::config::{Config, Loaded};

pub use probe::{Prober, WorkerProber};

/// What is looked at.
pub struct Subject<'a> {
    /// The configuration, with where it comes from.
    pub loaded: &'a Loaded,
    /// The file it was read from, if any was.
    pub file: Option<PathBuf>,
    /// What tries a provider out.
    pub prober: &'a dyn Prober,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
}

/// How what was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As the configuration wants it.
    Ok,
    /// Not there, and nobody asks for it.
    Absent,
    /// The server would run, but not as somebody may have meant it.
    Warning,
    /// The server could not do what the configuration wants.
    Failed,
}

/// Looks at one thing.
pub type Check = fn(&Subject<'_>) -> Vec<Finding>;

/// Every check, in the order in which findings are shown.
pub const CHECKS: &[Check] = &[
    places::configuration,
    places::limits,
    places::models,
    places::data,
    places::ports,
    providers::runtime,
    sources::sources,
];

/// Makes every check.
#[must_use]
pub fn examine(subject: &Subject<'_>) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check(subject)).collect()
}

/// Tells whether a server could do what the configuration wants.
#[must_use]
pub fn is_fit(findings: &[Finding]) -> bool {
    findings.iter().all(|one| one.state != State::Failed)
}

// === impl Subject ===

impl Subject<'_> {
    fn config(&self) -> &Config {
        &self.loaded.config
    }
}

// === impl Finding ===

impl Finding {
    fn new(check: impl Into<String>, state: State, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            state,
            found: found.into(),
            advice: String::new(),
        }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

// === impl State ===

impl State {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}
