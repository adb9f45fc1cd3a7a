//! What a program writes: messages and actors.
//!
//! An actor is a plain value with one sequential loop around it: `started`, then one message at a time, then
//! `stopping` if the end is an orderly one. It is built by its factory on the thread it will live on, so it need not
//! be `Send`, and a restart builds it anew: state is never resumed. Whatever fails is returned as an [`ActorError`]
//! or panics; both end the incarnation, and the supervisor decides what follows.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ActorId, Clock, Context, ExitReason, Generation, ProcessLost};

/// A message that an actor can be sent.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::{Message, Reply};
///
/// enum Job {
///     Load { path: String },
///     Count(Reply<usize>),
/// }
///
/// impl Message for Job {
///     fn label(&self) -> &'static str {
///         match self {
///             Self::Load { .. } => "load",
///             Self::Count(_) => "count",
///         }
///     }
///     fn deadline(&self) -> Option<Duration> {
///         matches!(self, Self::Load { .. }).then_some(Duration::from_secs(120))
///     }
/// }
/// # let load = Job::Load { path: String::new() };
/// # assert_eq!((load.label(), load.deadline()), ("load", Some(Duration::from_secs(120))));
/// ```
pub trait Message: Send + 'static {
    /// Returns what the status board shows as progress while this message is handled.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// tree.counter.try_send(Count::Stall)?;
    /// tree.executor.settle();
    /// let status = tree.running.board().get(&"counter".into());
    /// let progress = status.and_then(|counter| counter.progress);
    /// assert_eq!(progress.map(|progress| progress.item), Some("stall".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn label(&self) -> &'static str {
        "message"
    }

    /// Returns how long handling may take, where that differs from the child spec's `handle_deadline`.
    ///
    /// ```
    /// use impetus_supervision::Message;
    /// use impetus_supervision::example::Count;
    ///
    /// assert_eq!(Count::Add(1).deadline(), None);
    /// ```
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Returns a copy to be handled again, once, should the incarnation end while this message is in hand.
    ///
    /// The default is `None`: a message in hand when its actor dies is gone. Only a message whose handling twice does
    /// no harm may return a copy.
    ///
    /// ```
    /// use impetus_supervision::Message;
    ///
    /// #[derive(Clone)]
    /// struct Refresh;
    ///
    /// impl Message for Refresh {
    ///     fn replay(&self) -> Option<Self> {
    ///         Some(self.clone())
    ///     }
    /// }
    /// # assert!(Refresh.replay().is_some());
    /// ```
    fn replay(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// A supervised actor.
///
/// ```
/// use impetus_supervision::{
///     Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor,
/// };
///
/// struct Line(String);
/// impl Message for Line {}
///
/// #[derive(Default)]
/// struct Log {
///     lines: Vec<String>,
/// }
///
/// impl Actor for Log {
///     type Msg = Line;
///
///     async fn handle(&mut self, msg: Line, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
///         self.lines.push(msg.0);
///         Ok(())
///     }
/// }
///
/// let (spec, log) = ChildSpec::actor("log", |_| Log::default());
/// let executor = TestExecutor::new();
/// let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
/// log.try_send(Line("hello".to_owned()))?;
/// executor.settle();
/// assert_eq!(log.depth(), 0);
/// # drop(running);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Actor: Sized + 'static {
    /// The messages it handles.
    type Msg: Message;

    /// Runs once before the first message, within the child spec's `start_deadline`.
    ///
    /// ```
    /// use impetus_supervision::{Actor, ActorError, Context, Message};
    ///
    /// struct Tick;
    /// impl Message for Tick {}
    ///
    /// struct Reader {
    ///     file: Option<std::fs::File>,
    /// }
    ///
    /// impl Actor for Reader {
    ///     type Msg = Tick;
    ///
    ///     async fn started(&mut self, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///         self.file = Some(std::fs::File::open("/proc/stat").map_err(ActorError::failed)?);
    ///         Ok(())
    ///     }
    ///     async fn handle(&mut self, _: Tick, _: &mut Context<Self>) -> Result<(), ActorError> {
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// An error ends the incarnation as [`ExitReason::FailedStart`] (or `ProcessLost`).
    fn started(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), ActorError>> {
        let _ = ctx;
        ready(Ok(()))
    }

    /// Handles one message, within the message's or the child spec's deadline.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// tree.counter.try_send(Count::Break("no more paper"))?;
    /// tree.executor.settle();
    /// let status = tree.running.board().get(&"counter".into());
    /// let exit = status.and_then(|counter| counter.last_exit);
    /// assert_eq!(exit.map(|exit| exit.reason.to_string()), Some("no more paper".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An error ends the incarnation as [`ExitReason::Error`] (or `ProcessLost`).
    fn handle(
        &mut self,
        msg: Self::Msg,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ActorError>>;

    /// Runs every [`ChildSpec::tick`](crate::ChildSpec::tick), between messages.
    ///
    /// ```
    /// use impetus_supervision::{Actor, ActorError, Context, Message};
    ///
    /// struct Never;
    /// impl Message for Never {}
    ///
    /// struct Beat {
    ///     beats: u64,
    /// }
    ///
    /// impl Actor for Beat {
    ///     type Msg = Never;
    ///
    ///     async fn tick(&mut self, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///         self.beats += 1;
    ///         Ok(())
    ///     }
    ///     async fn handle(&mut self, _: Never, _: &mut Context<Self>) -> Result<(), ActorError> {
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As for `handle`.
    fn tick(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), ActorError>> {
        let _ = ctx;
        ready(Ok(()))
    }

    /// Runs before an orderly end, and only then; not after a panic, an error or a hang.
    ///
    /// ```
    /// use impetus_supervision::{Actor, ActorError, Context, Message};
    ///
    /// struct Tick;
    /// impl Message for Tick {}
    ///
    /// struct Buffer {
    ///     unwritten: Vec<u8>,
    /// }
    ///
    /// impl Actor for Buffer {
    ///     type Msg = Tick;
    ///
    ///     async fn handle(&mut self, _: Tick, _: &mut Context<Self>) -> Result<(), ActorError> {
    ///         self.unwritten.push(0);
    ///         Ok(())
    ///     }
    ///     async fn stopping(&mut self, ctx: &mut Context<Self>) {
    ///         // What is still queued is handled before the end.
    ///         while let Some(Tick) = ctx.try_next() {
    ///             self.unwritten.push(0);
    ///         }
    ///         self.unwritten.clear();
    ///     }
    /// }
    /// ```
    fn stopping(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = ()> {
        let _ = ctx;
        ready(())
    }

    /// Returns what the actor says about itself. Asked after `started`, every message, every tick and every ring.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// tree.counter.try_send(Count::Add(3))?;
    /// tree.executor.settle();
    /// let status = tree.running.board().get(&"counter".into());
    /// assert_eq!(status.and_then(|counter| counter.note), Some("total 3".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn status(&self) -> StatusReport {
        StatusReport::default()
    }
}

/// What a factory is told about the incarnation it builds.
///
/// ```
/// use impetus_supervision::ChildSpec;
/// use impetus_supervision::example::Counter;
///
/// let (spec, _counter) = ChildSpec::actor("counter", |birth| {
///     if let Some(reason) = &birth.last_exit {
///         eprintln!("{} begins generation {} after: {reason}", birth.id, birth.generation);
///     }
///     Counter::default()
/// });
/// # drop(spec);
/// ```
#[derive(Clone)]
pub struct Birth {
    /// The actor's name.
    pub id: ActorId,
    /// The number of this incarnation.
    pub generation: Generation,
    /// How the one before it ended; none for the first.
    pub last_exit: Option<ExitReason>,
    /// The system's clock.
    pub clock: Arc<dyn Clock>,
}

/// Why an actor cannot go on.
///
/// ```
/// use impetus_supervision::{ActorError, ProcessEnd, ProcessLost};
///
/// let lost = ProcessLost { pid: 9, how: ProcessEnd::Unknown, detail: Some("reading".to_owned()) };
/// assert_eq!(ActorError::from(lost).to_string(), "process 9 is gone: reading");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// Something failed; the text says what.
    #[error("{0}")]
    Failed(String),
    /// The process that the actor stands for ended.
    #[error("{0}")]
    ProcessLost(ProcessLost),
}

/// What an actor says about itself.
///
/// ```
/// use impetus_supervision::StatusReport;
///
/// let report = StatusReport { score: 60, note: Some("disk slow".to_owned()), ..Default::default() };
/// assert!(report.details.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// 0 (useless) to 100 (all is well).
    pub score: u8,
    /// One line for a person.
    pub note: Option<String>,
    /// Further facts by name.
    pub details: BTreeMap<String, String>,
}

// === impl Birth ===

impl fmt::Debug for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Birth")
            .field("id", &self.id)
            .field("generation", &self.generation)
            .field("last_exit", &self.last_exit)
            .finish_non_exhaustive()
    }
}

// === impl ActorError ===

impl ActorError {
    /// Returns a failure with the text of `error`.
    ///
    /// ```
    /// use impetus_supervision::ActorError;
    ///
    /// let error = std::io::Error::other("disk full");
    /// assert_eq!(ActorError::failed(error).to_string(), "disk full");
    /// ```
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ProcessLost> for ActorError {
    fn from(lost: ProcessLost) -> Self {
        Self::ProcessLost(lost)
    }
}

// === impl StatusReport ===

impl Default for StatusReport {
    fn default() -> Self {
        Self {
            score: 100,
            note: None,
            details: BTreeMap::new(),
        }
    }
}
