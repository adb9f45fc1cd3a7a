//! Asking a supervisor to change what it supervises.

use std::sync::Weak;
use std::time::Duration;

use crate::roster::Roster;
use crate::supervisor::{Answer, Request};
use crate::{ActorId, ActorRef, AskError, ChildSpec};

/// A handle to a supervisor, good across its restarts.
///
/// ```
/// let tree = impetus_supervision::example::tree()?;
/// assert_eq!(tree.running.root().id().as_str(), "root");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SupervisorRef {
    inbox: ActorRef<Request>,
    /// Weak, because children may hold handles to their own supervisors.
    roster: Weak<Roster>,
}

/// Why a supervisor did not do what it was asked.
///
/// ```
/// use impetus_supervision::SupervisorError;
///
/// let unknown = SupervisorError::Unknown("nobody".into());
/// assert_eq!(unknown.to_string(), "there is no child named nobody");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupervisorError {
    /// The name is taken, by an actor anywhere in the system.
    #[error("an actor named {0} exists already")]
    Duplicate(ActorId),
    /// The supervisor has no such child.
    #[error("there is no child named {0}")]
    Unknown(ActorId),
    /// It is the supervisor that was asked; only its own supervisor could do that.
    #[error("{0} cannot start itself again")]
    Itself(ActorId),
    /// The executor could not launch it; the supervisor goes on trying.
    #[error("{0}")]
    NotLaunched(String),
    /// The request did not reach the supervisor, or its answer did not come back.
    #[error("the supervisor did not answer: {0}")]
    NoAnswer(#[from] AskError),
}

// === impl SupervisorRef ===

impl SupervisorRef {
    pub(crate) fn new(inbox: ActorRef<Request>, roster: Weak<Roster>) -> Self {
        Self { inbox, roster }
    }

    /// Returns the supervisor's name.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// assert_eq!(tree.running.root().id().as_str(), "root");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> &ActorId {
        self.inbox.id()
    }

    /// Adds a child and starts it; returns once that is under way. The child belongs to the supervisor from then on,
    /// across the supervisor's own restarts too.
    ///
    /// A child that has ended for good gives up its name to the new one.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::example::{counter, tree};
    ///
    /// let tree = tree()?;
    /// let (spec, _second) = counter("second");
    /// let root = tree.running.root();
    /// tree.executor.run_until(root.start_child(spec, Duration::from_secs(5)))?;
    /// assert_eq!(tree.running.board().children_of(root.id()).len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SupervisorError::Duplicate`] when the name is taken; `NoAnswer` when the deadline passes.
    pub async fn start_child(
        &self,
        spec: ChildSpec,
        within: Duration,
    ) -> Result<(), SupervisorError> {
        self.ask(|answer| Request::Start(Box::new(spec), answer), within)
            .await
    }

    /// Stops a child in order, within its own shutdown deadline, and forgets it; its inbox closes.
    ///
    /// An actor must not ask for its own stop and wait for the answer: it would wait for itself.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let root = tree.running.root();
    /// let soon = Duration::from_secs(5);
    ///
    /// tree.executor.run_until(root.stop_child(&"counter".into(), soon))?;
    /// assert!(tree.running.board().get(&"counter".into()).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SupervisorError::Unknown`] when there is no such child; `NoAnswer` when the deadline passes.
    pub async fn stop_child(&self, id: &ActorId, within: Duration) -> Result<(), SupervisorError> {
        self.ask(|answer| Request::Stop(id.clone(), answer), within)
            .await
    }

    /// Starts a child afresh, after an orderly stop if it is running; its failures so far are forgotten, so this also
    /// revives one that was given up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let root = tree.running.root();
    /// let soon = Duration::from_secs(5);
    ///
    /// tree.executor.run_until(root.restart_child(&"counter".into(), soon))?;
    /// assert_eq!(tree.counter.generation().map(|generation| generation.get()), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SupervisorError::Unknown`] when there is no such child; `NoAnswer` when the deadline passes.
    pub async fn restart_child(
        &self,
        id: &ActorId,
        within: Duration,
    ) -> Result<(), SupervisorError> {
        self.ask(|answer| Request::Restart(id.clone(), answer), within)
            .await
    }

    /// Starts an actor afresh as [`restart_child`](Self::restart_child) does, wherever below this supervisor it is:
    /// whoever really supervises it is asked, under whomever it is listed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::example::counter;
    /// use impetus_supervision::{ChildSpec, SupervisorSpec, TestExecutor};
    ///
    /// let (leaf, leaf_ref) = counter("leaf");
    /// let (branch, _) = ChildSpec::supervisor(SupervisorSpec::new("branch").child(leaf));
    /// let executor = TestExecutor::new();
    /// let running = executor.system().start(SupervisorSpec::new("root").child(branch))?;
    /// executor.settle();
    ///
    /// let root = running.root();
    /// executor.run_until(root.restart_below(&"leaf".into(), Duration::from_secs(5)))?;
    /// assert_eq!(leaf_ref.generation().map(|generation| generation.get()), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SupervisorError::Unknown`] when there is no such actor, `Itself` when that is this supervisor; `NoAnswer` when
    /// the deadline passes, which it does when the actor's own supervisor is not running.
    pub async fn restart_below(
        &self,
        id: &ActorId,
        within: Duration,
    ) -> Result<(), SupervisorError> {
        if id == self.id() {
            return Err(SupervisorError::Itself(id.clone()));
        }
        let supervisor = self.supervisor_of(id);
        let supervisor = supervisor.ok_or_else(|| SupervisorError::Unknown(id.clone()))?;
        supervisor.restart_child(id, within).await
    }

    /// Finds the supervisor at or below this one that has a child of that name.
    fn supervisor_of(&self, id: &ActorId) -> Option<Self> {
        let roster = self.roster.upgrade()?;
        if roster.find(id).is_some() {
            return Some(self.clone());
        }
        let mut children = roster.children().into_iter();
        children.find_map(|child| child.spec.nested.as_ref()?.handle.supervisor_of(id))
    }

    async fn ask(
        &self,
        request: impl FnOnce(Answer) -> Request,
        within: Duration,
    ) -> Result<(), SupervisorError> {
        self.inbox.ask(request, within).await?
    }
}

impl std::fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SupervisorRef")
            .field("id", self.id())
            .finish()
    }
}

// === impl SupervisorError ===

impl SupervisorError {
    /// Returns true when the same request may succeed later.
    ///
    /// ```
    /// use impetus_supervision::{AskError, SupervisorError};
    ///
    /// assert!(SupervisorError::NoAnswer(AskError::Timeout).is_retryable());
    /// assert!(!SupervisorError::Unknown("nobody".into()).is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Duplicate(_) | Self::Unknown(_) | Self::Itself(_) => false,
            Self::NotLaunched(_) => true,
            Self::NoAnswer(error) => error.is_retryable(),
        }
    }
}
