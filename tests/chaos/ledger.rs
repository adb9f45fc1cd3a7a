//! What was seen in a run, written down while it happens and judged when it is over.
//!
//! Nothing here decides anything while the faults strike: clients, probes and the striker write
//! what they saw with the time at which they saw it, and [`verdict`] compares it with what the
//! server promises. Times are counted from the begin of the run.

mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::resources::Footprint;
use crate::schedule::{Part, Scope};

pub use verdict::{Broken, MOST_REFUSED_PERCENT, verdict};

/// A fault goes on being felt for so long after the first sign that it is healed: requests that
/// were queued behind it are answered first.
const GRACE: Duration = Duration::from_millis(250);

/// Everything that was seen in a run.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub entries: Vec<Entry>,
    pub struck: Vec<Struck>,
    pub probes: Vec<Probe>,
    pub log: LogBook,
    pub before: Footprint,
    pub after: Footprint,
    /// Whether every worker was there again when the last client had gone, or why not.
    pub healed_in_the_end: Result<(), String>,
    /// The code with which the server ended when it was asked to; nothing if it ended before.
    pub exit: Option<i32>,
    /// The kinds of faults that were to strike.
    pub expected: Vec<&'static str>,
    /// What the server said; for people.
    pub server_log: String,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Entry {
    pub kind: &'static str,
    pub part: Part,
    /// Whether the client did what clients are to do, and so was owed an answer.
    pub well_behaved: bool,
    pub span: Span,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// What was asked for, and it is right.
    Right,
    /// An answer that is not what was asked for, and says so.
    Refused { status: u16, code: String },
    /// An answer that is not true.
    Wrong(String),
    /// No answer.
    Unanswered(String),
}

/// From one time to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    pub from: Duration,
    pub to: Duration,
}

/// A fault that has struck, and what became of it.
#[derive(Clone, Debug)]
pub struct Struck {
    pub kind: &'static str,
    /// The fault with its parameters.
    pub what: String,
    pub scope: Scope,
    /// From before the strike until after it was healed, or given up on.
    pub window: Span,
    /// How long the fault itself was held up, where that is ours to say.
    pub held: Duration,
    /// From the strike until the thing served again; or why it never did.
    pub recovery: Result<Duration, String>,
    /// What a killer request was answered.
    pub killer: Option<Outcome>,
}

/// One question to `/api/health/live`.
#[derive(Clone, Debug)]
pub struct Probe {
    pub port: Port,
    pub span: Span,
    /// What it said but yes.
    pub complaint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Main,
    Health,
}

/// Predictions sent to be logged, by the names of their images, of which each is used once.
#[derive(Clone, Debug, Default)]
pub struct LogBook {
    pub sent: BTreeSet<String>,
    pub acknowledged: BTreeSet<String>,
    /// How many rows the table has for each image in the end.
    pub rows: BTreeMap<String, usize>,
}

// === impl Ledger ===

impl Ledger {
    /// Returns one in which nothing has been seen.
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            struck: Vec::new(),
            probes: Vec::new(),
            log: LogBook::default(),
            before: Footprint::default(),
            after: Footprint::default(),
            healed_in_the_end: Ok(()),
            exit: None,
            expected: Vec::new(),
            server_log: String::new(),
        }
    }

    /// Takes over what one client has written down.
    pub fn add(&mut self, entries: Vec<Entry>, log: LogBook) {
        self.entries.extend(entries);
        self.log.sent.extend(log.sent);
        self.log.acknowledged.extend(log.acknowledged);
    }

    /// Returns what clients were owed an answer to.
    pub fn owed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.well_behaved)
    }

    /// Tells whether a fault that touches that part was being healed meanwhile.
    pub fn excuses(&self, entry: &Entry) -> bool {
        self.struck
            .iter()
            .any(|fault| fault.scope.excuses(entry.part) && fault.felt().overlaps(entry.span))
    }

    /// Tells whether any fault was being healed meanwhile.
    pub fn was_struck(&self, span: Span) -> bool {
        self.struck.iter().any(|fault| fault.felt().overlaps(span))
    }

    /// Returns the names of images that are in the table less often or more often than they are
    /// to be: acknowledged and missing, twice, never sent.
    pub fn astray(&self) -> [Vec<&String>; 3] {
        let LogBook {
            sent,
            acknowledged,
            rows,
        } = &self.log;
        let missing = acknowledged
            .iter()
            .filter(|image| !rows.contains_key(*image));
        let twice = rows.iter().filter(|(_, count)| **count > 1);
        let unknown = rows.keys().filter(|image| !sent.contains(*image));
        [
            missing.collect(),
            twice.map(|(image, _)| image).collect(),
            unknown.collect(),
        ]
    }
}

// === impl Span ===

impl Span {
    pub fn took(self) -> Duration {
        self.to.saturating_sub(self.from)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

// === impl Struck ===

impl Struck {
    /// Returns when it may have been felt.
    pub fn felt(&self) -> Span {
        Span {
            from: self.window.from,
            to: self.window.to + GRACE,
        }
    }
}
