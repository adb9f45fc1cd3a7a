//! The history of events: the last so many things that happened in the tree, oldest first.
//!
//! Bounded on purpose: an actor that fails for a week must not fill the memory. Each event is logged when it is
//! recorded, so nothing is only here.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::Serialize;
use tokio::sync::watch;

use crate::sync::lock;
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
pub struct Event {
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

/// The last so many events.
pub(crate) struct History {
    capacity: usize,
    events: Mutex<VecDeque<Event>>,
    /// How many there have been.
    count: watch::Sender<u64>,
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

// === impl History ===

impl History {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            events: Mutex::new(VecDeque::new()),
            count: watch::Sender::new(0),
        }
    }

    pub(crate) fn record(&self, event: Event) {
        log(&event);
        if self.capacity > 0 {
            let mut events = lock(&self.events);
            if events.len() == self.capacity {
                events.pop_front();
            }
            events.push_back(event);
        }
        self.count.send_modify(|count| *count += 1);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    pub(crate) fn last(&self, limit: usize) -> Vec<Event> {
        let events = lock(&self.events);
        let skipped = events.len().saturating_sub(limit);
        events.iter().skip(skipped).cloned().collect()
    }
}

/// Failures are warnings: each of them means that something healed or is about to be.
fn log(event: &Event) {
    let Event {
        actor,
        generation,
        kind,
        message,
        ..
    } = event;
    match kind {
        EventKind::Fenced | EventKind::BackingOff | EventKind::Failed => {
            tracing::warn!(%actor, generation = generation.get(), kind = kind.as_str(), "{message}");
        }
        EventKind::Escalated => {
            tracing::error!(%actor, generation = generation.get(), kind = kind.as_str(), "{message}");
        }
        _ => {
            tracing::info!(%actor, generation = generation.get(), kind = kind.as_str(), "{message}")
        }
    }
}
