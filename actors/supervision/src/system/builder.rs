//! The choices about a tree as a whole, and its start.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::{Running, Verdict};
use crate::board::StatusBoard;
use crate::executor::{ArbiterExecutor, Executor, LaunchError};
use crate::history::Capacity;
use crate::roster::{Child, Duplicate};
use crate::shared::Shared;
use crate::supervisor::act::{incarnate, launch};
use crate::watchdog::{Watchdog, WatchdogPlan};
use crate::{ActorId, ChildSpec, Clock, Healing, Significance, SupervisorSpec, SystemClock};

/// The choices about a tree as a whole.
///
/// ```
/// use impetus_supervision::System;
///
/// let builder = System::builder().leak_cap(8).event_capacity(100).seed(7);
/// # drop(builder);
/// ```
pub struct SystemBuilder {
    clock: Option<Arc<dyn Clock>>,
    executor: Option<Arc<dyn Executor>>,
    healing: Option<Healing>,
    leak_cap: usize,
    events: Capacity,
    seed: u64,
    watchdog: Option<WatchdogPlan>,
}

/// Why a tree could not be started.
///
/// ```
/// use impetus_supervision::example::counter;
/// use impetus_supervision::{StartError, SupervisorSpec, TestExecutor};
///
/// let spec = SupervisorSpec::new("root").child(counter("twin").0).child(counter("twin").0);
/// let refused = TestExecutor::new().system().start(spec);
/// assert!(matches!(refused, Err(StartError::Duplicate(id)) if id.as_str() == "twin"));
/// ```
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

// === impl SystemBuilder ===

impl SystemBuilder {
    pub(super) fn new() -> Self {
        Self {
            clock: None,
            executor: None,
            healing: None,
            leak_cap: 32,
            events: Capacity {
                per_actor: 64,
                in_all: 4096,
            },
            seed: 0,
            watchdog: None,
        }
    }

    /// Sets the clock (default: [`SystemClock`]).
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use impetus_supervision::{System, SystemClock};
    ///
    /// let builder = System::builder().clock(Arc::new(SystemClock::new()));
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets where incarnations run (default: [`ArbiterExecutor`]).
    ///
    /// ```
    /// use impetus_supervision::{System, TestExecutor};
    ///
    /// let executor = TestExecutor::new();
    /// let builder = System::builder().executor(executor.executor()).clock(executor.clock());
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Sets the switch by which healing is paused (default: one of the system's own, as [`Running::healing`] returns it).
    ///
    /// ```
    /// use impetus_supervision::{Healing, SupervisorSpec, TestExecutor};
    ///
    /// let executor = TestExecutor::new();
    /// let healing = Healing::new(executor.clock());
    /// let running = executor.system().healing(healing.clone()).start(SupervisorSpec::new("root"))?;
    /// healing.pause(std::time::Duration::from_secs(60));
    /// assert!(running.healing().paused_for().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn healing(mut self, healing: Healing) -> Self {
        self.healing = Some(healing);
        self
    }

    /// Sets how many abandoned threads are borne before what blocks is no longer replaced (default 32).
    ///
    /// ```
    /// use impetus_supervision::System;
    ///
    /// let builder = System::builder().leak_cap(4);
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn leak_cap(mut self, cap: usize) -> Self {
        self.leak_cap = cap;
        self
    }

    /// Sets how many events of all actors together are kept (default 4096); past it the oldest is dropped.
    ///
    /// ```
    /// use impetus_supervision::System;
    ///
    /// let builder = System::builder().event_capacity(64);
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn event_capacity(mut self, capacity: usize) -> Self {
        self.events.in_all = capacity;
        self
    }

    /// Sets how many events of each actor are kept (default 64), so that one that has much to tell pushes out nothing
    /// but its own.
    ///
    /// ```
    /// use impetus_supervision::System;
    ///
    /// let builder = System::builder().events_per_actor(16);
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn events_per_actor(mut self, capacity: usize) -> Self {
        self.events.per_actor = capacity;
        self
    }

    /// Sets the seed that backoff jitter is computed from (default 0). Processes that may fail together should have
    /// different ones.
    ///
    /// ```
    /// use impetus_supervision::System;
    ///
    /// let builder = System::builder().seed(u64::from(std::process::id()));
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a plain thread that calls `on_verdict` once, when a significant child of the root is given up or the root
    /// supervisor has not turned for `limit`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::{SupervisorSpec, System};
    ///
    /// let running = System::builder()
    ///     .watchdog(Duration::from_secs(15), |verdict| eprintln!("beyond healing: {}", verdict.reason))
    ///     .start(SupervisorSpec::new("root"))?;
    /// # drop(running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// use impetus_supervision::example::counter;
    /// use impetus_supervision::{SupervisorSpec, System};
    ///
    /// let (spec, _counter) = counter("counter");
    /// let running = System::builder().start(SupervisorSpec::new("root").child(spec))?;
    /// # drop(running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StartError`] when two actors have one name, or the first threads cannot be had.
    pub fn start(self, spec: SupervisorSpec) -> Result<Running, StartError> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let executor = self
            .executor
            .unwrap_or_else(|| Arc::new(ArbiterExecutor::new()));
        let healing = self
            .healing
            .unwrap_or_else(|| Healing::new(Arc::clone(&clock)));
        let board = StatusBoard::new(clock, self.events);
        let shared = Arc::new(Shared::new(
            executor,
            board.clone(),
            healing,
            (self.leak_cap, self.seed),
        ));
        let (spec, root_ref) = ChildSpec::supervisor(spec);
        let spec = spec.significance(Significance::Significant);
        let root = Child::enter(0, spec, None, &shared)
            .map_err(|Duplicate(id)| StartError::Duplicate(id))?;
        shared
            .healing
            .record_on(board.clone(), root.spec.id().clone());
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
            watchdog: Mutex::new(None),
        };
        // From here on a failure drops the running tree, which takes it down again.
        running.watchdog = Mutex::new(watchdog.map_err(StartError::Watchdog)?);
        Ok(running)
    }
}

impl std::fmt::Debug for SystemBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemBuilder")
            .field("leak_cap", &self.leak_cap)
            .field("events", &self.events)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
