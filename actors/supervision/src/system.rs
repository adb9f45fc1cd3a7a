//! A running tree: how it is started, read, and stopped.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::board::StatusBoard;
use crate::clock::timeout;
use crate::executor::{ArbiterExecutor, Executor, LaunchError};
use crate::link::Link;
use crate::roster::{Child, Duplicate};
use crate::shared::Shared;
use crate::supervisor::act::{incarnate, launch};
use crate::watchdog::{Watchdog, WatchdogPlan};
use crate::{
    ActorId, ActorState, ChildSpec, Clock, ExitReason, FaultKit, Significance, SupervisorRef,
    SupervisorSpec, SystemClock, Timestamp,
};

/// Where a tree begins: [`System::builder`].
#[derive(Debug)]
pub enum System {}

/// The choices about a tree as a whole.
pub struct SystemBuilder {
    clock: Option<Arc<dyn Clock>>,
    executor: Option<Arc<dyn Executor>>,
    leak_cap: usize,
    event_capacity: usize,
    seed: u64,
    watchdog: Option<WatchdogPlan>,
}

/// A running tree. Dropping it abandons whatever still runs; [`Running::stop`] is the orderly way.
pub struct Running {
    shared: Arc<Shared>,
    root: Arc<Child>,
    root_link: Arc<Link>,
    root_ref: SupervisorRef,
    root_changed: watch::Receiver<()>,
    watchdog: std::sync::Mutex<Option<Watchdog>>,
}

/// Why a tree could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two actors have the same name.
    #[error("two actors are named {0}")]
    Duplicate(ActorId),
    /// The root supervisor could not be launched.
    #[error("the root supervisor could not be launched")]
    Launch(#[source] LaunchError),
    /// The watchdog's thread could not be started.
    #[error("the watchdog could not be started")]
    Watchdog(#[source] std::io::Error),
}

/// What the system has to say about itself when it cannot heal any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The actor that was given up, or the root.
    pub actor: ActorId,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// How a stop went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StopReport {
    /// Everything stopped in order, within its deadline.
    pub clean: bool,
    /// What was stopped, in the order in which it was.
    pub stopped: Vec<Stopped>,
}

/// How one actor was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// The actor.
    pub id: ActorId,
    /// It stopped as it was meant to; otherwise it was abandoned.
    pub in_order: bool,
    /// How long it took.
    pub took: Duration,
}

// === impl System ===

impl System {
    /// Returns a builder with the defaults: real time, arbiters, at most 32 leaked threads, the last 512 events.
    pub fn builder() -> SystemBuilder {
        SystemBuilder {
            clock: None,
            executor: None,
            leak_cap: 32,
            event_capacity: 512,
            seed: 0,
            watchdog: None,
        }
    }
}

// === impl SystemBuilder ===

impl SystemBuilder {
    /// Sets the clock (default: [`SystemClock`]).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets where incarnations run (default: [`ArbiterExecutor`]).
    #[must_use]
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Sets how many abandoned threads are borne before what blocks is no longer replaced (default 32).
    #[must_use]
    pub fn leak_cap(mut self, cap: usize) -> Self {
        self.leak_cap = cap;
        self
    }

    /// Sets how many events are kept (default 512).
    #[must_use]
    pub fn event_capacity(mut self, capacity: usize) -> Self {
        self.event_capacity = capacity;
        self
    }

    /// Sets the seed that backoff jitter is computed from (default 0). Processes that may fail together should have
    /// different ones.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a plain thread that calls `on_verdict` once, when a significant child of the root is given up or the root
    /// supervisor has not turned for `limit`.
    #[must_use]
    pub fn watchdog(
        mut self,
        limit: Duration,
        on_verdict: impl FnOnce(Verdict) + Send + 'static,
    ) -> Self {
        self.watchdog = Some(WatchdogPlan {
            limit,
            on_verdict: Box::new(on_verdict),
        });
        self
    }

    /// Starts the tree and returns at once; its children start in order in the background.
    ///
    /// # Errors
    /// [`StartError`] when two actors have one name, or the first threads cannot be had.
    pub fn start(self, spec: SupervisorSpec) -> Result<Running, StartError> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let executor = self
            .executor
            .unwrap_or_else(|| Arc::new(ArbiterExecutor::new()));
        let board = StatusBoard::new(clock, self.event_capacity);
        let shared = Arc::new(Shared::new(
            executor,
            board.clone(),
            self.leak_cap,
            self.seed,
        ));
        let (spec, root_ref) = ChildSpec::supervisor(spec);
        let spec = spec.significance(Significance::Significant);
        let root = Child::enter(0, spec, None, &shared)
            .map_err(|Duplicate(id)| StartError::Duplicate(id))?;
        let (changed, root_changed) = watch::channel(());
        let notify = Arc::new(move || {
            changed.send_replace(());
        });
        let root_link = incarnate(&root, &shared, notify);
        launch(&root, &root_link, &shared).map_err(StartError::Launch)?;
        let id = root.spec.id().clone();
        let watchdog = self
            .watchdog
            .map(|plan| Watchdog::start(plan, id, board))
            .transpose();
        let mut running = Running {
            shared,
            root: Arc::new(root),
            root_link,
            root_ref,
            root_changed,
            watchdog: std::sync::Mutex::new(None),
        };
        // From here on a failure drops the running tree, which takes it down again.
        running.watchdog = std::sync::Mutex::new(watchdog.map_err(StartError::Watchdog)?);
        Ok(running)
    }
}

impl std::fmt::Debug for SystemBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemBuilder")
            .field("leak_cap", &self.leak_cap)
            .field("event_capacity", &self.event_capacity)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

// === impl Running ===

impl Running {
    /// Returns the status board.
    pub fn board(&self) -> StatusBoard {
        self.shared.board.clone()
    }

    /// Returns the handle to the root supervisor.
    pub fn root(&self) -> SupervisorRef {
        self.root_ref.clone()
    }

    /// Returns the kit that injects faults.
    pub fn faults(&self) -> FaultKit {
        self.shared.faults.clone()
    }

    /// Returns how many abandoned threads have not ended.
    pub fn leaked(&self) -> usize {
        self.shared.ledger.count()
    }

    /// Returns the system's verdict on itself, if there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        self.shared.board.given_up()
    }

    /// Waits until every child of the root has been settled once: running, or its first start failed.
    pub async fn started(&self) {
        let mut started = self.shared.board.watch_started();
        // The sender lives in the board, which `self` keeps alive.
        let _ = started.wait_for(|started| *started).await;
    }

    /// Stops the tree: children in reverse order, each within its own deadline, all within `within`. What has not
    /// stopped by then is fenced and abandoned. Inboxes close.
    pub async fn stop(&self, within: Duration) -> StopReport {
        drop(crate::sync::lock(&self.watchdog).take());
        self.shared.begin_stop();
        self.root_link.ask_to_stop();
        let mut changed = self.root_changed.clone();
        let ended =
            async { while self.root_link.exit().is_none() && changed.changed().await.is_ok() {} };
        let clock = &*self.shared.clock;
        let in_time = timeout(clock, within, ended).await.is_ok();
        let mut stopped = self.shared.take_stopped();
        let left = self.abandon();
        stopped.extend(left.iter().map(|link| Stopped {
            id: link.fence().id().clone(),
            in_order: false,
            took: within,
        }));
        let clean = in_time && stopped.iter().all(|child| child.in_order);
        StopReport { clean, stopped }
    }

    /// Lets go of all that still runs. Returns it.
    fn abandon(&self) -> Vec<Arc<Link>> {
        let alive = self.root_link.exit().is_none();
        let mut abandoned = self.root_link.release();
        if alive {
            abandoned.extend(self.root_link.abandon());
        }
        self.shared.ledger.enter(abandoned.iter().cloned());
        self.root.close();
        let reason = self.root_link.exit().unwrap_or(ExitReason::Killed);
        self.root.entry.ended(reason, self.shared.board.wall());
        self.root.entry.set_state(ActorState::Stopped);
        abandoned
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.abandon());
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("root", self.root_ref.id())
            .field("board", &self.shared.board)
            .finish_non_exhaustive()
    }
}
