//! What is kept of a worker that was killed or has crashed, for the person who is paged.
//!
//! One JSON file for each, in an [archive](crate::archive) with a cap: why it ended, which model it
//! ran, which requests it had, how long, what the kernel said about it while it lived, and the last
//! lines it wrote. Gathering that is given a moment and no more: the kill does not wait for it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use super::loss::Loss;
use super::memory::WorkerMemory;
use super::model::ModelSpec;
use crate::archive::Archive;

/// How long looking at a process may hold up its kill.
pub(super) const LOOK_WITHIN: Duration = Duration::from_millis(50);

/// A batch that a worker had when it was lost.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BatchNote {
    /// Whether it was being run; the others waited in the worker.
    pub(super) running: bool,
    /// Whether it was alone in the worker, under suspicion.
    pub(super) alone: bool,
    /// How long ago it was sent, in milliseconds.
    pub(super) age_ms: f64,
    /// Rows of all its members together.
    pub(super) rows: usize,
    /// The ids of its requests, as far as they had any.
    pub(super) request_ids: Vec<String>,
}

/// Everything about one lost worker.
#[derive(Debug, Serialize)]
pub(super) struct Scene {
    pub(super) at: String,
    pub(super) actor: String,
    pub(super) generation: u64,
    pub(super) pid: Option<u32>,
    pub(super) model: String,
    pub(super) version: String,
    pub(super) cause: &'static str,
    pub(super) reason: String,
    pub(super) run_budget_ms: f64,
    pub(super) batches: Vec<BatchNote>,
    pub(super) memory_limits: Option<WorkerMemory>,
    /// What the kernel said while it lived; empty when it had ended already.
    pub(super) process: Value,
    /// The last lines it wrote.
    pub(super) stderr: Vec<String>,
}

// === impl Scene ===

impl Scene {
    /// Begins a scene with what is known of the model and the loss, and the time of day.
    pub(super) fn of(spec: &ModelSpec, loss: &Loss, now: SystemTime) -> Self {
        let format = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        Self {
            at: OffsetDateTime::from(now)
                .format(&format)
                .unwrap_or_default(),
            actor: String::new(),
            generation: 0,
            pid: None,
            model: spec.name.clone(),
            version: spec.version.clone(),
            cause: loss.kind(),
            reason: loss.to_string(),
            run_budget_ms: 0.0,
            batches: Vec::new(),
            memory_limits: None,
            process: Value::Null,
            stderr: Vec::new(),
        }
    }

    /// Has the scene kept; returns where, unless too much waits to be written.
    pub(super) fn keep(&self, archive: &Archive) -> Option<PathBuf> {
        // Names sort by time, and hold nothing that a shell would mind.
        let time = self.at.replace([':', '-', 'Z'], "");
        let model: String = self
            .model
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .take(64)
            .collect();
        let name = format!("{time}-{model}-{}-{}", self.cause, self.pid.unwrap_or(0));
        let content = serde_json::to_vec_pretty(self).ok()?;
        archive.keep(&name, content)
    }
}
