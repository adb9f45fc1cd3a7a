//! The content of the file, and what the next run makes of it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{EVENTS_KEPT, RunState};
use crate::health::Outcome;

/// Bytes that all events of a record may have together.
const EVENTS_BYTES: usize = 256 * 1024;

/// What one run says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    version: String,
    pid: u32,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option", default)]
    ended_at: Option<OffsetDateTime>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    verdict: Option<String>,
    #[serde(default)]
    health: Option<String>,
    #[serde(default)]
    events: Vec<Value>,
    #[serde(default)]
    steps: Vec<Value>,
}

/// How the run before this one went.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PreviousRun {
    /// Version of the server that ran.
    pub version: String,
    /// When it started.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub started_at: OffsetDateTime,
    /// When it last wrote its record.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: OffsetDateTime,
    /// When it ended; nothing when it did not come to saying so.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<OffsetDateTime>,
    /// Why it ended, as far as is known.
    pub reason: String,
    /// Its health as last evaluated.
    #[schema(required)]
    pub health: Option<String>,
    /// Its last events, newest last.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Value>,
    /// The steps of its end, as far as it came.
    #[schema(value_type = Vec<Object>)]
    pub steps: Vec<Value>,
}

// === impl Record ===

impl Record {
    /// Returns the record of a run that starts now.
    pub(super) fn begin(now: SystemTime) -> Self {
        let now = stamp(now);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: now,
            last_seen_at: now,
            ended_at: None,
            reason: None,
            verdict: None,
            health: None,
            events: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Takes over a state.
    pub(super) fn take(&mut self, mut state: RunState) {
        let surplus = state.events.len() - newest(&state.events);
        self.events = state.events.split_off(surplus);
        self.health = state.health;
        self.steps = state.steps;
    }

    /// Takes over a verdict, or takes it back.
    pub(super) fn judge(&mut self, verdict: Option<String>) {
        self.verdict = verdict;
    }

    /// Notes that the run is still there.
    pub(super) fn seen(&mut self, now: SystemTime) {
        self.last_seen_at = stamp(now);
    }

    /// Notes the orderly end.
    pub(super) fn end(&mut self, reason: String, now: SystemTime) {
        self.ended_at = Some(stamp(now));
        self.reason = Some(reason);
    }
}

impl From<Record> for PreviousRun {
    fn from(record: Record) -> Self {
        let reason = match (record.reason, record.verdict) {
            (Some(reason), _) => reason,
            (None, Some(verdict)) => format!("{verdict}; then ended without a word"),
            (None, None) => match under_way(&record.steps) {
                Some(step) => format!("ended without a word while {step} (killed or power lost)"),
                None => "ended without a word (killed or power lost)".to_owned(),
            },
        };
        Self {
            version: record.version,
            started_at: record.started_at,
            last_seen_at: record.last_seen_at,
            ended_at: record.ended_at,
            reason,
            health: record.health,
            events: record.events,
            steps: record.steps,
        }
    }
}

/// Returns the name of the step of the end that was under way.
fn under_way(steps: &[Value]) -> Option<&str> {
    let last = steps.last()?;
    let runs = last["outcome"] == Outcome::Running.as_str();
    last["step"].as_str().filter(|_| runs)
}

/// Returns how many of the newest events the file may hold, by number and by bytes.
fn newest(events: &[Value]) -> usize {
    let mut room = EVENTS_BYTES;
    let fits = |event: &&Value| {
        let size = event.to_string().len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    events
        .iter()
        .rev()
        .take(EVENTS_KEPT)
        .take_while(fits)
        .count()
}

/// Returns a wall time in UTC, to the millisecond.
fn stamp(now: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from(now).truncate_to_millisecond()
}
