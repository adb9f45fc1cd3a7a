//! What `impetus status` reads out of `/api/health/status`.
//!
//! These are types of its own, not the server's: the command may be older or
//! newer than the server that it asks. Whatever is missing, null or of a kind
//! that is not expected is left out of the picture, and costs no other part of it.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The health of a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// The server's time, to which all ages refer.
    #[serde(deserialize_with = "lenient")]
    pub(super) timestamp: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) score: Option<u8>,
    #[serde(deserialize_with = "lenient")]
    pub(super) version: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) environment: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) uptime_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) heartbeat_age_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) consecutive_failures: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) phase: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) lifecycle: Option<Lifecycle>,
    #[serde(deserialize_with = "lenient")]
    pub(super) drained: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    pub(super) healing: Option<Healing>,
    #[serde(deserialize_with = "lenient")]
    pub(super) reason: Option<String>,
    #[serde(deserialize_with = "lenient_list")]
    pub(super) reasons: Vec<String>,
    #[serde(deserialize_with = "lenient_components")]
    pub(super) components: Vec<(String, Component)>,
    #[serde(deserialize_with = "lenient_list")]
    pub(super) actors: Vec<Actor>,
    #[serde(deserialize_with = "lenient_list")]
    pub(super) models: Vec<Model>,
    #[serde(deserialize_with = "lenient")]
    pub(super) previous_run: Option<PreviousRun>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Component {
    #[serde(deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) score: Option<u8>,
    #[serde(deserialize_with = "lenient")]
    pub(super) detail: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Actor {
    pub(super) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) parent: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) state: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) generation: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) restarts: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) last_exit: Option<LastExit>,
    #[serde(deserialize_with = "lenient")]
    pub(super) status_age_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) mailbox: Option<Mailbox>,
    #[serde(deserialize_with = "lenient")]
    pub(super) progress: Option<Progress>,
    #[serde(deserialize_with = "lenient")]
    pub(super) score: Option<u8>,
    #[serde(deserialize_with = "lenient")]
    pub(super) note: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) significant: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    pub(super) leaked: Option<u64>,
    /// Children as objects; names of children that are listed elsewhere are skipped.
    #[serde(deserialize_with = "lenient_list")]
    pub(super) children: Vec<Actor>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LastExit {
    pub(super) reason: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) message: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) at: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Mailbox {
    pub(super) depth: u64,
    pub(super) capacity: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Progress {
    pub(super) item: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) elapsed_seconds: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) deadline_seconds: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Model {
    pub(super) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) version: Option<Value>,
    #[serde(deserialize_with = "lenient")]
    pub(super) state: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) workers: Option<Value>,
    #[serde(deserialize_with = "lenient")]
    pub(super) memory_bytes: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) provider: Option<String>,
    #[serde(deserialize_with = "lenient_list")]
    pub(super) passed_over: Vec<Value>,
    #[serde(deserialize_with = "lenient")]
    pub(super) reason: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PreviousRun {
    #[serde(deserialize_with = "lenient")]
    pub(super) reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) ended_at: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) last_seen_at: Option<String>,
    #[serde(deserialize_with = "lenient_list")]
    pub(super) steps: Vec<Step>,
}

/// Where the process is between its start and its end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lifecycle {
    #[serde(deserialize_with = "lenient")]
    pub(super) left_seconds: Option<f64>,
    #[serde(deserialize_with = "lenient_list")]
    pub(super) steps: Vec<Step>,
}

/// A step of the end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) step: String,
    pub(super) outcome: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) seconds: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub(super) detail: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Healing {
    #[serde(deserialize_with = "lenient")]
    pub(super) paused: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    pub(super) resumes_in_seconds: Option<f64>,
}

// === impl Report ===

impl Report {
    /// Reads a status; nothing when the answer is no status at all.
    pub fn read(answer: &Value) -> Option<Self> {
        serde_json::from_value::<Self>(answer.clone())
            .ok()
            .filter(|report| !report.status.is_empty())
    }

    /// Returns how many seconds before this report a timestamp of the server lies.
    pub(super) fn seconds_since(&self, at: &str) -> Option<f64> {
        let now = OffsetDateTime::parse(self.timestamp.as_deref()?, &Rfc3339).ok()?;
        let at = OffsetDateTime::parse(at, &Rfc3339).ok()?;
        Some((now - at).as_seconds_f64().max(0.0))
    }
}

// === impl Step ===

impl Step {
    pub(super) fn is_under_way(&self) -> bool {
        self.outcome == "running"
    }

    pub(super) fn went_well(&self) -> bool {
        ["done", "skipped"].contains(&self.outcome.as_str())
    }
}

// === impl Component ===

impl Component {
    /// Returns what the component says about why it is not at its best.
    pub(super) fn reasons(&self) -> Vec<String> {
        let Some(detail) = &self.detail else {
            return Vec::new();
        };
        let texts = |key: &str| match detail.get(key) {
            Some(Value::String(reason)) => vec![reason.clone()],
            Some(Value::Object(by_name)) => by_name
                .iter()
                .filter_map(|(name, reason)| Some(format!("{name}: {}", reason.as_str()?)))
                .collect(),
            _ => Vec::new(),
        };
        ["reason", "reasons", "source_problem"]
            .into_iter()
            .flat_map(texts)
            .collect()
    }
}

/// Reads a value where it is of the expected kind, and nothing otherwise.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: for<'a> Deserialize<'a>,
{
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).ok())
}

pub(super) fn lenient_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: for<'a> Deserialize<'a>,
{
    let items = match Value::deserialize(deserializer)? {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    Ok(items
        .into_iter()
        .filter_map(|item| T::deserialize(item).ok())
        .collect())
}

fn lenient_components<'de, D>(deserializer: D) -> Result<Vec<(String, Component)>, D::Error>
where
    D: Deserializer<'de>,
{
    let fields = match Value::deserialize(deserializer)? {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    Ok(fields
        .into_iter()
        .filter_map(|(name, component)| Some((name, Component::deserialize(component).ok()?)))
        .collect())
}
