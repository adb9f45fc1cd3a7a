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
use crate::roster::Roster;
use crate::shared::Shared;
use crate::supervisor::{MAX_POLL, SupervisorActor};
use crate::{
    Actor, ActorId, ActorRef, Backoff, Birth, Intensity, Restart, Shutdown, Significance, Strategy,
    SupervisorRef,
};

/// How a child is built, watched, restarted and stopped.
pub struct ChildSpec {
    pub(crate) seat: Arc<Seat>,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) plan: Arc<dyn Plan>,
    pub(crate) settings: Settings,
    /// The children of a child that is a supervisor.
    pub(crate) nested: Option<Arc<Roster>>,
}

/// A supervisor: its name, its strategy and its children.
pub struct SupervisorSpec {
    pub(crate) id: ActorId,
    pub(crate) strategy: Strategy,
    pub(crate) children: Vec<ChildSpec>,
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
        spec.nested = Some(roster);
        spec.settings.limits.tick = Some(MAX_POLL);
        // As long as its children take, each of which has a deadline; it is abandoned when it stops turning.
        spec.settings.shutdown = Shutdown::Within(Duration::MAX);
        (spec, SupervisorRef::new(inbox))
    }

    /// Sets when an ended child is started again (default: always).
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.settings.restart = restart;
        self
    }

    /// Sets how the child is stopped (default: asked, and abandoned after 5 s; a supervisor has as long as its children
    /// take together).
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.settings.shutdown = shutdown;
        self
    }

    /// Sets what follows when the child cannot be kept alive (default: insignificant).
    #[must_use]
    pub fn significance(mut self, significance: Significance) -> Self {
        self.settings.significance = significance;
        self
    }

    /// Sets how many messages the inbox holds (default 1024, at least 1).
    #[must_use]
    pub fn capacity(self, capacity: usize) -> Self {
        self.mailbox.set_capacity(capacity.max(1));
        self
    }

    /// Sets how many messages the priority lane holds (default 64, at least 1).
    #[must_use]
    pub fn priority_capacity(self, capacity: usize) -> Self {
        self.mailbox.set_priority_capacity(capacity.max(1));
        self
    }

    /// Sets the restart intensity (default: 5 in 30 s).
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.settings.intensity = intensity;
        self
    }

    /// Sets the restart backoff (default: immediate, then 100 ms to 30 s, ± 20%, forgotten after 60 s).
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Sets after how long an insignificant child that was given up is tried again (default 30 s).
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.settings.cool_down = cool_down;
        self
    }

    /// Sets how long a message or a tick may take unless it says otherwise (default 10 s).
    #[must_use]
    pub fn handle_deadline(mut self, deadline: Duration) -> Self {
        self.settings.limits.handle = deadline;
        self
    }

    /// Sets how long the factory and `started` may take together (default 30 s).
    #[must_use]
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.settings.limits.start = deadline;
        self
    }

    /// Sets how often [`Actor::tick`] runs (default: never). A supervisor keeps its own beat.
    #[must_use]
    pub fn tick(mut self, every: Duration) -> Self {
        if self.nested.is_none() {
            self.settings.limits.tick = Some(every);
        }
        self
    }

    /// Sets after how long a silent actor reads as unknown (default 10 s).
    #[must_use]
    pub fn status_ttl(mut self, ttl: Duration) -> Self {
        self.settings.status_ttl = ttl;
        self
    }

    /// Sets under which actor the status board lists the child (default: its supervisor).
    #[must_use]
    pub fn listed_under(mut self, parent: impl Into<ActorId>) -> Self {
        self.settings.listed_under = Some(parent.into());
        self
    }

    /// Returns the child's name.
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

// === impl SupervisorSpec ===

impl SupervisorSpec {
    /// Returns a supervisor without children, whose strategy is one for one.
    pub fn new(id: impl Into<ActorId>) -> Self {
        Self {
            id: id.into(),
            strategy: Strategy::default(),
            children: Vec::new(),
        }
    }

    /// Sets which children are restarted when one ends.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Adds a child; children start in the order in which they are added and stop in reverse.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Returns the supervisor's name.
    pub fn id(&self) -> &ActorId {
        &self.id
    }
}

impl std::fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SupervisorSpec")
            .field("id", &self.id)
            .field("strategy", &self.strategy)
            .field("children", &self.children)
            .finish()
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
