//! What the status board says about an actor, in the shape in which it goes on the wire.

use std::collections::{BTreeMap, HashMap};

use serde::{Serialize, Serializer};

use crate::{ActorId, ExitReason, Generation, Timestamp};

/// Where an actor stands.
///
/// ```
/// use impetus_supervision::ActorState;
///
/// assert_eq!(serde_json::to_string(&ActorState::BackingOff)?, "\"backing_off\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Waiting for its turn to start, or starting.
    Starting,
    /// Running, and heard of within its time to live or inside a deadline it declared.
    Running,
    /// Running as far as anybody knows, but silent beyond its time to live and outside any declared deadline.
    Unknown,
    /// Ended; its restart waits for its backoff.
    BackingOff,
    /// Asked to stop, and not stopped yet.
    Stopping,
    /// Not running, and not going to be unless it is asked for.
    Stopped,
    /// Given up: for good if it is significant, until its cool-down has passed otherwise.
    Failed,
}

/// One actor's line on the status board.
///
/// ```
/// let tree = impetus_supervision::example::tree()?;
/// let status = tree.running.board().get(&"counter".into()).ok_or("no such actor")?;
/// let json = serde_json::to_value(&status)?;
/// assert_eq!(json["parent"], "root");
/// assert_eq!(json["state"], "running");
/// assert_eq!(json["mailbox"]["capacity"], 1024);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ActorStatus {
    /// Its name.
    pub name: ActorId,
    /// Under whom it is listed: its supervisor, unless its spec says otherwise.
    #[cfg_attr(feature = "schema", schema(required))]
    pub parent: Option<ActorId>,
    /// Where it stands.
    pub state: ActorState,
    /// The number of its latest incarnation; 0 before the first.
    pub generation: Generation,
    /// How many incarnations came before the latest.
    pub restarts: u64,
    /// How the last ended incarnation ended.
    #[cfg_attr(feature = "schema", schema(required, value_type = Option<ExitLine>))]
    pub last_exit: Option<ExitRecord>,
    /// When its own work path last wrote its status.
    #[cfg_attr(feature = "schema", schema(required))]
    pub last_status_at: Option<Timestamp>,
    /// How long ago that was, by the monotonic clock.
    #[cfg_attr(feature = "schema", schema(required))]
    pub status_age_seconds: Option<f64>,
    /// What waits in its inbox.
    #[cfg_attr(feature = "schema", schema(required))]
    pub mailbox: Option<MailboxStatus>,
    /// What it works on now.
    #[cfg_attr(feature = "schema", schema(required))]
    pub progress: Option<ProgressStatus>,
    /// Its own opinion of itself, 0 to 100.
    #[cfg_attr(feature = "schema", schema(maximum = 100))]
    pub score: u8,
    /// One line for a person.
    #[cfg_attr(feature = "schema", schema(required))]
    pub note: Option<String>,
    /// Further facts by name.
    pub details: BTreeMap<String, String>,
    /// Whether the system's life depends on it.
    pub significant: bool,
    /// How many of its abandoned threads have not ended.
    pub leaked: usize,
}

/// How an incarnation ended, and when. Serialises as `{"reason", "message", "at"}`.
///
/// ```
/// use std::time::SystemTime;
///
/// use impetus_supervision::{ExitReason, ExitRecord};
///
/// let record = ExitRecord { reason: ExitReason::Shutdown, at: SystemTime::UNIX_EPOCH.into() };
/// let json = serde_json::to_value(&record)?;
/// assert_eq!(json["reason"], "shutdown");
/// assert_eq!(json["at"], "1970-01-01T00:00:00.000Z");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRecord {
    /// Why.
    pub reason: ExitReason,
    /// When.
    pub at: Timestamp,
}

/// What waits in an inbox.
///
/// ```
/// use impetus_supervision::MailboxStatus;
///
/// let tree = impetus_supervision::example::tree()?;
/// let status = tree.running.board().get(&"counter".into()).ok_or("no such actor")?;
/// assert_eq!(status.mailbox, Some(MailboxStatus { depth: 0, capacity: 1024 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MailboxStatus {
    /// Messages waiting, both lanes together.
    pub depth: usize,
    /// Messages the normal lane holds at most.
    pub capacity: usize,
}

/// What an actor works on.
///
/// ```
/// use impetus_supervision::example::{Count, tree};
///
/// let tree = tree()?;
/// tree.counter.try_send(Count::Stall)?;
/// tree.executor.advance(std::time::Duration::from_secs(2));
/// let status = tree.running.board().get(&"counter".into()).ok_or("no such actor")?;
/// let progress = status.progress.ok_or("idle")?;
/// assert_eq!((progress.elapsed_seconds, progress.deadline_seconds), (2.0, 10.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProgressStatus {
    /// The item.
    pub item: String,
    /// For how long it has worked on it.
    pub elapsed_seconds: f64,
    /// How long that may take in all.
    pub deadline_seconds: f64,
}

/// An actor with those listed under it.
///
/// ```
/// use impetus_supervision::StatusNode;
///
/// let tree = impetus_supervision::example::tree()?;
/// let nodes = StatusNode::nest(tree.running.board().snapshot());
/// let json = serde_json::to_value(&nodes)?;
/// assert_eq!(json[0]["name"], "root");
/// assert_eq!(json[0]["children"][0]["name"], "counter");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StatusNode {
    /// The actor itself; its fields stand beside `children`.
    #[serde(flatten)]
    pub status: ActorStatus,
    /// Those listed under it, in the order of their specs.
    #[cfg_attr(feature = "schema", schema(no_recursion))]
    pub children: Vec<StatusNode>,
}

// === impl ActorState ===

impl ActorState {
    /// Every state, in its order.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Running,
        Self::Unknown,
        Self::BackingOff,
        Self::Stopping,
        Self::Stopped,
        Self::Failed,
    ];

    /// Returns the state as its serialised form names it, fit for a metric's label.
    ///
    /// ```
    /// use impetus_supervision::ActorState;
    ///
    /// for state in ActorState::ALL {
    ///     assert_eq!(serde_json::to_value(state)?, state.as_str());
    /// }
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Unknown => "unknown",
            Self::BackingOff => "backing_off",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// How an incarnation ended: the kind of its end, and the whole of it in words.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = ActorExit))]
struct ExitLine {
    /// The kind of its end.
    #[cfg_attr(feature = "schema", schema(example = "panic"))]
    reason: &'static str,
    /// The end in words.
    message: String,
    /// When.
    at: Timestamp,
}

// === impl ExitRecord ===

impl Serialize for ExitRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let line = ExitLine {
            reason: self.reason.kind(),
            message: self.reason.to_string(),
            at: self.at,
        };
        line.serialize(serializer)
    }
}

// === impl StatusNode ===

impl StatusNode {
    /// Returns the statuses of a snapshot as trees: one for each actor whose parent is not among them.
    ///
    /// ```
    /// use impetus_supervision::StatusNode;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let nodes = StatusNode::nest(tree.running.board().snapshot());
    /// assert_eq!(nodes[0].children[0].status.name.as_str(), "counter");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nest(statuses: Vec<ActorStatus>) -> Vec<StatusNode> {
        let names: Vec<ActorId> = statuses.iter().map(|status| status.name.clone()).collect();
        let mut by_parent: HashMap<Option<ActorId>, Vec<ActorStatus>> = HashMap::new();
        for status in statuses {
            let parent = status.parent.clone().filter(|id| names.contains(id));
            by_parent.entry(parent).or_default().push(status);
        }
        let roots = by_parent.remove(&None).unwrap_or_default();
        Self::attach(roots, &mut by_parent)
    }

    fn attach(
        statuses: Vec<ActorStatus>,
        by_parent: &mut HashMap<Option<ActorId>, Vec<ActorStatus>>,
    ) -> Vec<StatusNode> {
        statuses
            .into_iter()
            .map(|status| {
                let below = by_parent
                    .remove(&Some(status.name.clone()))
                    .unwrap_or_default();
                let children = Self::attach(below, by_parent);
                StatusNode { status, children }
            })
            .collect()
    }
}
