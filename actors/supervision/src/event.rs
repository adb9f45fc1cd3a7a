//! What happens to actors, one event at a time, as the history tells it.

use serde::Serialize;

use crate::{ActorId, Generation, Timestamp};

/// Something that happened to an actor.
///
/// ```
/// let tree = impetus_supervision::example::tree()?;
/// for event in tree.running.board().events(10) {
///     println!("{} {} {}: {}", event.at, event.actor, event.kind.as_str(), event.message);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// Its number in this system: the first event has 1, and each has one more than that before it.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// To whom.
    pub actor: ActorId,
    /// To which of its incarnations.
    pub generation: Generation,
    /// What.
    pub kind: EventKind,
    /// In words.
    pub message: String,
}

/// The kinds of events.
///
/// ```
/// use impetus_supervision::EventKind;
///
/// assert_eq!(serde_json::to_string(&EventKind::BackingOff)?, "\"backing_off\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The first incarnation started.
    Started,
    /// An incarnation ended.
    Exited,
    /// A later incarnation started.
    Restarted,
    /// An incarnation was abandoned.
    Fenced,
    /// A restart waits for its backoff.
    BackingOff,
    /// The actor was given up, for now or for good.
    Failed,
    /// A supervisor passed a failure on.
    Escalated,
    /// The actor was stopped in order.
    Stopped,
    /// Anything else worth knowing.
    Note,
}

// === impl EventKind ===

impl EventKind {
    /// Returns the kind as one word, as it is serialised.
    ///
    /// ```
    /// use impetus_supervision::EventKind;
    ///
    /// assert_eq!(EventKind::Restarted.as_str(), "restarted");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Exited => "exited",
            Self::Restarted => "restarted",
            Self::Fenced => "fenced",
            Self::BackingOff => "backing_off",
            Self::Failed => "failed",
            Self::Escalated => "escalated",
            Self::Stopped => "stopped",
            Self::Note => "note",
        }
    }
}
