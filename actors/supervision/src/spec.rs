//! Child specs: everything a supervisor knows about a child.
//!
//! A spec is a value with reasoned defaults, changed by chained methods. It owns the child's inbox and its seat, so
//! the [`ActorRef`] that comes with it works before the first incarnation starts and after the last one has ended.

use std::sync::Arc;
use std::time::Duration;

use crate::executor::Body;
use crate::fence::Seat;
use crate::inbox::{Inbox, Mailbox};
use crate::incarnation::{self, Conception, Limits};
use crate::link::Link;
use crate::roster::{Nested, Roster};
use crate::shared::Shared;
use crate::supervisor::{MAX_POLL, SupervisorActor};
use crate::{
    Actor, ActorId, ActorRef, Backoff, Birth, Intensity, Restart, Shutdown, Significance,
    SupervisorRef,
};

mod supervisor;

pub use supervisor::SupervisorSpec;

/// How a child is built, watched, restarted and stopped.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::{Restart, Shutdown, Significance};
///
/// let (spec, _counter) = impetus_supervision::example::counter("counter");
/// let spec = spec
///     .restart(Restart::Transient)
///     .shutdown(Shutdown::Within(Duration::from_secs(2)))
///     .significance(Significance::Significant)
///     .capacity(64)
///     .tick(Duration::from_secs(1));
/// # drop(spec);
/// ```
pub struct ChildSpec {
    pub(crate) seat: Arc<Seat>,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) plan: Arc<dyn Plan>,
    pub(crate) settings: Settings,
    /// The children of a child that is a supervisor.
    pub(crate) nested: Option<Nested>,
}

/// What can be chosen about a child.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) significance: Significance,
    pub(crate) intensity: Intensity,
    pub(crate) backoff: Backoff,
    pub(crate) cool_down: Duration,
    pub(crate) limits: Limits,
    pub(crate) status_ttl: Duration,
    pub(crate) listed_under: Option<ActorId>,
}

/// How an incarnation of a child is made, whatever the actor's type.
pub(crate) trait Plan: Send + Sync {
    fn body(&self, birth: Birth, link: Arc<Link>, shared: Arc<Shared>, limits: Limits) -> Body;
}

struct ActorPlan<A: Actor> {
    factory: Arc<dyn Fn(&Birth) -> A + Send + Sync>,
    myself: ActorRef<A::Msg>,
}

// === impl ChildSpec ===

impl ChildSpec {
    /// Returns the spec of an actor, and the handle to its inbox.
    ///
    /// `factory` builds every incarnation, on the incarnation's own thread.
    ///
    /// ```
    /// use impetus_supervision::ChildSpec;
    /// use impetus_supervision::example::{Count, Counter};
    ///
    /// let (spec, counter) = ChildSpec::actor("counter", |_birth| Counter::default());
    /// counter.try_send(Count::Add(1))?;
    /// # drop(spec);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn actor<A: Actor>(
        id: impl Into<ActorId>,
        factory: impl Fn(&Birth) -> A + Send + Sync + 'static,
    ) -> (Self, ActorRef<A::Msg>) {
        let seat = Arc::new(Seat::new(id.into()));
        let inbox = Arc::new(Inbox::new(Arc::clone(&seat)));
        let myself = ActorRef::new(Arc::clone(&inbox));
        let plan = ActorPlan {
            factory: Arc::new(factory),
            myself: myself.clone(),
        };
        let spec = Self {
            seat,
            mailbox: inbox,
            plan: Arc::new(plan),
            settings: Settings::default(),
            nested: None,
        };
        (spec, myself)
    }

    /// Returns the spec of a supervisor that is itself supervised, and the handle to it.
    ///
    /// ```
    /// use impetus_supervision::example::counter;
    /// use impetus_supervision::{ChildSpec, SupervisorSpec};
    ///
    /// let (leaf, _) = counter("leaf");
    /// let (branch, branch_ref) = ChildSpec::supervisor(SupervisorSpec::new("branch").child(leaf));
    /// let root = SupervisorSpec::new("root").child(branch);
    /// assert_eq!(branch_ref.id().as_str(), "branch");
    /// # drop(root);
    /// ```
    pub fn supervisor(spec: SupervisorSpec) -> (Self, SupervisorRef) {
        let SupervisorSpec {
            id,
            strategy,
            children,
        } = spec;
        let roster = Arc::new(Roster::new(strategy, children));
        let built_from = Arc::clone(&roster);
        let (mut spec, inbox) =
            Self::actor(id, move |_| SupervisorActor::new(Arc::clone(&built_from)));
        let handle = SupervisorRef::new(inbox, Arc::downgrade(&roster));
        spec.nested = Some(Nested {
            roster,
            handle: handle.clone(),
        });
        spec.settings.limits.tick = Some(MAX_POLL);
        // As long as its children take, each of which has a deadline; it is abandoned when it stops turning.
        spec.settings.shutdown = Shutdown::Within(Duration::MAX);
        (spec, handle)
    }

    /// Sets when an ended child is started again (default: always).
    ///
    /// ```
    /// use impetus_supervision::Restart;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.restart(Restart::Transient);
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.settings.restart = restart;
        self
    }

    /// Sets how the child is stopped (default: asked, and abandoned after 5 s; a supervisor has as long as its children
    /// take together).
    ///
    /// ```
    /// use impetus_supervision::Shutdown;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.shutdown(Shutdown::Brutal);
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.settings.shutdown = shutdown;
        self
    }

    /// Sets what follows when the child cannot be kept alive (default: insignificant).
    ///
    /// ```
    /// use impetus_supervision::Significance;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.significance(Significance::Significant);
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn significance(mut self, significance: Significance) -> Self {
        self.settings.significance = significance;
        self
    }

    /// Sets how many messages the inbox holds (default 1024, at least 1).
    ///
    /// ```
    /// let (spec, counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.capacity(16);
    /// assert_eq!(counter.capacity(), 16);
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        self.mailbox.set_capacity(capacity.max(1));
        self
    }

    /// Sets how many messages the priority lane holds (default 64, at least 1).
    ///
    /// ```
    /// use impetus_supervision::example::{Count, counter};
    ///
    /// let (spec, counter) = counter("counter");
    /// let spec = spec.priority_capacity(1);
    /// assert!(counter.try_send_priority(Count::Add(1)).is_ok());
    /// assert!(counter.try_send_priority(Count::Add(1)).is_err());
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn priority_capacity(self, capacity: usize) -> Self {
        self.mailbox.set_priority_capacity(capacity.max(1));
        self
    }

    /// Sets the restart intensity (default: 5 in 30 s).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::Intensity;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.intensity(Intensity::try_new(3, Duration::from_secs(10))?);
    /// # drop(spec);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.settings.intensity = intensity;
        self
    }

    /// Sets the restart backoff (default: immediate, then 100 ms to 30 s, ± 20%, forgotten after 60 s).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::Backoff;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.backoff(Backoff::try_new(Duration::from_secs(1), Duration::from_secs(60), 0.1, Duration::from_secs(120))?);
    /// # drop(spec);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Sets after how long an insignificant child that was given up is tried again (default 30 s).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.cool_down(Duration::from_secs(5));
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.settings.cool_down = cool_down;
        self
    }

    /// Sets how long a message or a tick may take unless it says otherwise (default 10 s).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.handle_deadline(Duration::from_millis(500));
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn handle_deadline(mut self, deadline: Duration) -> Self {
        self.settings.limits.handle = deadline;
        self
    }

    /// Sets how long the factory and `started` may take together (default 30 s).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.start_deadline(Duration::from_secs(120));
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.settings.limits.start = deadline;
        self
    }

    /// Sets how often [`Actor::tick`] runs (default: never). A supervisor keeps its own beat.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.tick(Duration::from_secs(1));
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn tick(mut self, every: Duration) -> Self {
        if self.nested.is_none() {
            self.settings.limits.tick = Some(every);
        }
        self
    }

    /// Sets after how long a silent actor reads as unknown (default 10 s).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (spec, _counter) = impetus_supervision::example::counter("counter");
    /// let spec = spec.status_ttl(Duration::from_secs(3));
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn status_ttl(mut self, ttl: Duration) -> Self {
        self.settings.status_ttl = ttl;
        self
    }

    /// Sets under which actor the status board lists the child (default: its supervisor).
    ///
    /// ```
    /// use impetus_supervision::example::counter;
    /// use impetus_supervision::{SupervisorSpec, TestExecutor};
    ///
    /// let (loader, _) = counter("loader");
    /// let (worker, _) = counter("worker");
    /// let spec = SupervisorSpec::new("root").child(loader).child(worker.listed_under("loader"));
    /// let running = TestExecutor::new().system().start(spec)?;
    /// assert_eq!(running.board().children_of(&"loader".into())[0].name.as_str(), "worker");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn listed_under(mut self, parent: impl Into<ActorId>) -> Self {
        self.settings.listed_under = Some(parent.into());
        self
    }

    /// Returns the child's name.
    ///
    /// ```
    /// let (spec, _counter) = impetus_supervision::example::counter("clicks");
    /// assert_eq!(spec.id().as_str(), "clicks");
    /// ```
    pub fn id(&self) -> &ActorId {
        self.seat.id()
    }
}

impl Drop for ChildSpec {
    /// A spec that is gone will never have an incarnation again: whoever sends to it shall know.
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl std::fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", self.id())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            shutdown: Shutdown::default(),
            significance: Significance::default(),
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            cool_down: Duration::from_secs(30),
            limits: Limits {
                start: Duration::from_secs(30),
                handle: Duration::from_secs(10),
                tick: None,
            },
            status_ttl: Duration::from_secs(10),
            listed_under: None,
        }
    }
}

// === impl ActorPlan ===

impl<A: Actor> Plan for ActorPlan<A> {
    fn body(&self, birth: Birth, link: Arc<Link>, shared: Arc<Shared>, limits: Limits) -> Body {
        incarnation::body(Conception {
            factory: Arc::clone(&self.factory),
            birth,
            myself: self.myself.clone(),
            link,
            shared,
            limits,
        })
    }
}
