//! The actor that this crate's examples use: a counter that can be told to break.
//!
//! It is here to be read, and so that the examples can be about what they show rather than about setting up an actor.
//! The whole of an actor is what [`Counter`]'s source has: a struct, a message type, and `handle`.

use crate::{
    Actor, ActorError, ActorRef, ChildSpec, Context, Message, Reply, Running, StartError,
    StatusReport, SupervisorSpec, TestExecutor,
};

/// What a [`Counter`] can be told.
///
/// ```
/// use impetus_supervision::Message;
/// use impetus_supervision::example::Count;
///
/// assert_eq!(Count::Add(1).label(), "add");
/// ```
#[derive(Debug)]
pub enum Count {
    /// Add so much.
    Add(u64),
    /// Answer with the total.
    Total(Reply<u64>),
    /// Fail with this text.
    Break(&'static str),
    /// Wait for something that never comes.
    Stall,
}

/// An actor that counts from zero; a restart begins again.
///
/// ```
/// use impetus_supervision::Actor;
/// use impetus_supervision::example::Counter;
///
/// assert_eq!(Counter::default().status().note.as_deref(), Some("total 0"));
/// ```
#[derive(Debug, Default)]
pub struct Counter {
    total: u64,
}

/// A counter named `counter` under a root supervisor, in virtual time.
///
/// ```
/// use impetus_supervision::example::{Count, tree};
///
/// let tree = tree()?;
/// tree.counter.try_send(Count::Add(2))?;
/// tree.executor.settle();
/// assert_eq!(tree.running.board().snapshot().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tree {
    /// What runs the tree.
    pub executor: TestExecutor,
    /// The tree.
    pub running: Running,
    /// The counter's inbox.
    pub counter: ActorRef<Count>,
}

/// Returns the spec of a counter and the handle to its inbox.
///
/// ```
/// let (spec, counter) = impetus_supervision::example::counter("clicks");
/// assert_eq!(spec.id(), counter.id());
/// ```
pub fn counter(name: &str) -> (ChildSpec, ActorRef<Count>) {
    ChildSpec::actor(name, |_| Counter::default())
}

/// Starts a [`Tree`].
///
/// ```
/// use impetus_supervision::ActorState;
///
/// let tree = impetus_supervision::example::tree()?;
/// let status = tree.running.board().get(&"counter".into());
/// assert_eq!(status.map(|counter| counter.state), Some(ActorState::Running));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As for [`SystemBuilder::start`](crate::SystemBuilder::start).
pub fn tree() -> Result<Tree, StartError> {
    let (spec, counter) = counter("counter");
    let executor = TestExecutor::new();
    let running = executor
        .system()
        .start(SupervisorSpec::new("root").child(spec))?;
    executor.settle();
    Ok(Tree {
        executor,
        running,
        counter,
    })
}

// === impl Count ===

impl Message for Count {
    fn label(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Total(_) => "total",
            Self::Break(_) => "break",
            Self::Stall => "stall",
        }
    }
}

// === impl Counter ===

impl Actor for Counter {
    type Msg = Count;

    async fn handle(&mut self, msg: Count, _ctx: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {
            Count::Add(n) => self.total += n,
            Count::Total(reply) => reply.send(self.total),
            Count::Break(reason) => return Err(ActorError::failed(reason)),
            Count::Stall => std::future::pending().await,
        }
        Ok(())
    }

    fn status(&self) -> StatusReport {
        StatusReport {
            note: Some(format!("total {}", self.total)),
            ..StatusReport::default()
        }
    }
}
