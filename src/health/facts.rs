//! What is known at one moment, as plain data.
//!
//! Collecting is one thing and judging another: the judgement in [`fold`](super::fold) is a pure
//! function of this, so every verdict can be tested by writing down the facts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use impetus_actors::registry::RegistryState;
use impetus_actors::serving::ModelStatus;
use impetus_actors::serving::memory::MemoryFigures;
use impetus_supervision::StatusNode;
use serde_json::Value;

use super::{Course, Phase};

/// The facts.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Wall-clock time; for people.
    pub now: SystemTime,
    /// Time since the process started.
    pub uptime: Duration,
    /// Whether the supervision tree stands: every child of the root has been started once.
    pub started: bool,
    /// Where the process is between its start and its end.
    pub phase: Phase,
    /// Whether an operator has taken the server out of traffic.
    pub drained: bool,
    /// For how long nothing will be healed, while healing is paused.
    pub healing_paused: Option<Duration>,
    /// When the heart last beat.
    pub heartbeat: Beat,
    /// Time since the root supervisor last turned; `None` before it first did.
    pub root_age: Option<Duration>,
    /// Which significant actor was given up and why.
    pub given_up: Option<GivenUp>,
    /// Significant actors that have been silent beyond their time to live.
    pub unknown: Vec<String>,
    /// For how long each HTTP worker has stood still.
    pub edge: Vec<Duration>,
    /// Models and the folder they come from.
    pub models: ModelFacts,
    /// Name and version of the runtime that an engine process has loaded.
    pub runtime: Option<String>,
    /// Memory, as far as it could be read.
    pub memory: Option<MemoryFacts>,
    /// The arithmetic of the memory guard; `None` where this process has no workers.
    pub guard: Option<MemoryFigures>,
    /// Use of the CPU in percent of what may be used.
    pub cpu_percent: Option<f64>,
    /// The database of the prediction log; `None` where this process does not keep one.
    pub database: Option<DatabaseFacts>,
    /// The model registry; `None` where none is configured.
    pub registry: Option<Arc<RegistryState>>,
}

/// When the heart last beat.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beat {
    /// Time since the last beat; `None` before the first.
    pub age: Option<Duration>,
    /// Wall-clock time of the last beat.
    pub at: Option<SystemTime>,
}

/// A significant actor that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Its name.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What is known of the models.
#[derive(Debug, Clone, Default)]
pub struct ModelFacts {
    /// Whether this process serves models at all.
    pub served_here: bool,
    /// Whether the model folder has been looked at once.
    pub scanned: bool,
    /// What was wrong with the folder when it was last looked at.
    pub source_problem: Option<String>,
    /// Every model, in the version that takes its requests.
    pub all: Vec<ModelStatus>,
    /// Other versions of them: on their way in or out, or served beside.
    pub beside: Vec<ModelStatus>,
    /// Models named as required that are not there.
    pub missing: Vec<String>,
}

/// What is known of memory.
#[derive(Debug, Clone, Copy)]
pub struct MemoryFacts {
    /// Working set in percent of the limit.
    pub percent: f64,
    /// Working set in bytes.
    pub used_bytes: u64,
    /// Limit in bytes.
    pub limit_bytes: u64,
    /// Resident memory of the server process itself in bytes.
    pub resident_bytes: u64,
    /// The verdict of the rule with hysteresis.
    pub available: bool,
}

/// What is known of the database in which predictions land, and of their sink.
#[derive(Debug, Clone, Default)]
pub struct DatabaseFacts {
    /// Whether its schema stands.
    pub initialized: bool,
    /// Whether it answered when it was last asked.
    pub connected: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Where predictions go from there, if they go anywhere.
    pub sink: Option<SinkFacts>,
    /// Predictions in the file: all of them, or those that wait for their sink.
    pub rows: u64,
    /// How long the oldest of them has been there.
    pub oldest: Option<Duration>,
    /// Predictions that wait in memory to be committed.
    pub recorded: usize,
    /// Room on the disk, in bytes.
    pub free_bytes: Option<u64>,
    /// Where the damaged file is kept that was replaced by a new one.
    pub set_aside: Option<String>,
}

/// What is known of the sink of predictions.
#[derive(Debug, Clone)]
pub struct SinkFacts {
    /// `postgres` or `impetus`.
    pub kind: &'static str,
    /// Whether it answered when it was last asked.
    pub connected: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Whether as much waits for it as may, so that predictions are refused.
    pub backlog_full: bool,
}

/// What the status shows beside the facts that are judged.
#[derive(Debug, Clone, Default)]
pub struct Exhibits {
    /// The actors as a tree.
    pub actors: Vec<StatusNode>,
    /// How the last run ended.
    pub previous_run: Option<Value>,
    /// Where the process is between its start and its end.
    pub lifecycle: Course,
}

// === impl ModelFacts ===

impl ModelFacts {
    /// Returns every version of every model, in the order of names and versions.
    #[must_use]
    pub fn every_version(&self) -> Vec<&ModelStatus> {
        let mut every: Vec<_> = self.all.iter().chain(&self.beside).collect();
        every.sort_by_key(|model| {
            let number: Option<u64> = model.version.parse().ok();
            (model.name.as_str(), number, model.version.as_str())
        });
        every
    }

    /// Tells whether nobody has looked yet which models there are.
    #[must_use]
    pub fn not_known_yet(&self) -> bool {
        self.all.is_empty() && !self.scanned
    }

    /// Tells whether there is no model and none is asked for by name.
    #[must_use]
    pub fn none_configured(&self) -> bool {
        self.all.is_empty() && self.missing.is_empty()
    }

    /// Tells whether it is known that there is no model, and none is needed. A folder that nobody
    /// has looked at, or that cannot be read, may hold anything.
    #[must_use]
    pub fn none_needed(&self, require_model: bool) -> bool {
        let none = self.scanned && self.source_problem.is_none() && self.none_configured();
        !self.served_here || (none && !require_model)
    }

    /// Returns the models that are not usable although they have to be: those that are required,
    /// or, among several of which none is, all of them as soon as not one can answer.
    #[must_use]
    pub fn needed(&self) -> Vec<&ModelStatus> {
        let named = !self.missing.is_empty() || self.all.iter().any(|model| model.required);
        let some_usable = self.all.iter().any(|model| model.state.is_usable());
        self.all
            .iter()
            .filter(|model| !model.state.is_usable())
            .filter(|model| if named { model.required } else { !some_usable })
            .collect()
    }
}
