//! A running tree: how it is started, read, and stopped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::board::StatusBoard;
use crate::clock::timeout;
use crate::link::Link;
use crate::roster::Child;
use crate::shared::Shared;
use crate::sync::lock;
use crate::watchdog::Watchdog;
use crate::{
    ActorId, ActorState, ExitReason, FaultKit, Healing, SupervisorError, SupervisorRef, Timestamp,
};

mod builder;

pub use builder::{StartError, SystemBuilder};

/// Where a tree begins: [`System::builder`].
///
/// ```
/// use impetus_supervision::{SupervisorSpec, System};
///
/// let running = System::builder().start(SupervisorSpec::new("root"))?;
/// assert_eq!(running.verdict(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum System {}

/// A running tree. Dropping it abandons whatever still runs; [`Running::stop`] is the orderly way.
///
/// ```
/// use std::time::Duration;
///
/// let tree = impetus_supervision::example::tree()?;
/// let report = tree.executor.run_until(tree.running.stop(Duration::from_secs(5)));
/// assert!(report.clean);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Running {
    shared: Arc<Shared>,
    root: Arc<Child>,
    root_link: Arc<Link>,
    root_ref: SupervisorRef,
    root_changed: watch::Receiver<()>,
    watchdog: Mutex<Option<Watchdog>>,
}

/// What the system has to say about itself when it cannot heal any more.
///
/// ```
/// use impetus_supervision::example::counter;
/// use impetus_supervision::{Fault, Significance, SupervisorSpec, TestExecutor};
///
/// let (vital, _) = counter("vital");
/// let executor = TestExecutor::new();
/// let spec = SupervisorSpec::new("root").child(vital.significance(Significance::Significant));
/// let running = executor.system().start(spec)?;
/// running.faults().arm(&"vital".into(), Fault::Error, 6);
/// executor.advance(std::time::Duration::from_secs(10));
/// assert_eq!(running.verdict().map(|verdict| verdict.actor.to_string()), Some("vital".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// use std::time::Duration;
///
/// let tree = impetus_supervision::example::tree()?;
/// let report = tree.executor.run_until(tree.running.stop(Duration::from_secs(5)));
/// assert_eq!((report.clean, report.stopped.len()), (true, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StopReport {
    /// Everything stopped in order, within its deadline.
    pub clean: bool,
    /// What was stopped, in the order in which it was.
    pub stopped: Vec<Stopped>,
}

/// How one actor was stopped.
///
/// ```
/// use std::time::Duration;
///
/// let tree = impetus_supervision::example::tree()?;
/// let report = tree.executor.run_until(tree.running.stop(Duration::from_secs(5)));
/// assert_eq!(report.stopped[0].id.as_str(), "counter");
/// assert!(report.stopped[0].in_order);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// The actor.
    pub id: ActorId,
    /// It stopped as it was meant to; otherwise it was abandoned.
    pub in_order: bool,
    /// How long it took; serialised in seconds.
    #[serde(rename = "took_seconds", serialize_with = "in_seconds")]
    pub took: Duration,
}

// === impl System ===

impl System {
    /// Returns a builder with the defaults: real time, arbiters, at most 32 leaked threads, the last 64
    /// events of each actor and 4096 in all.
    ///
    /// ```
    /// use impetus_supervision::{SupervisorSpec, System};
    ///
    /// let running = System::builder().start(SupervisorSpec::new("root"))?;
    /// # drop(running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> SystemBuilder {
        SystemBuilder::new()
    }
}

// === impl Running ===

impl Running {
    /// Returns the status board.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// assert_eq!(tree.running.board().snapshot().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn board(&self) -> StatusBoard {
        self.shared.board.clone()
    }

    /// Returns the handle to the root supervisor.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// assert_eq!(tree.running.root().id().as_str(), "root");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root(&self) -> SupervisorRef {
        self.root_ref.clone()
    }

    /// Returns the kit that injects faults.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let faults = tree.running.faults();
    /// faults.disarm(&"counter".into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn faults(&self) -> FaultKit {
        self.shared.faults.clone()
    }

    /// Returns the switch by which healing is paused and resumed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let healing = tree.running.healing();
    /// healing.pause(Duration::from_secs(60));
    /// assert_eq!(tree.running.healing().paused_for(), Some(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn healing(&self) -> Healing {
        self.shared.healing.clone()
    }

    /// Returns how many abandoned threads have not ended.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// assert_eq!(tree.running.leaked(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leaked(&self) -> usize {
        self.shared.ledger.count()
    }

    /// Starts one actor afresh, wherever in the tree it is: after an orderly stop if it is running, and with its failures
    /// forgotten, so that one that cools down or was given up starts at once. Also while healing is paused.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let soon = Duration::from_secs(5);
    ///
    /// tree.executor.run_until(tree.running.restart(&"counter".into(), soon))?;
    /// assert_eq!(tree.counter.generation().map(|generation| generation.get()), Some(2));
    /// assert!(tree.executor.run_until(tree.running.restart(&"root".into(), soon)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`SupervisorRef::restart_below`]; [`SupervisorError::Itself`] for the root.
    pub async fn restart(&self, id: &ActorId, within: Duration) -> Result<(), SupervisorError> {
        self.root_ref.restart_below(id, within).await
    }

    /// Returns the system's verdict on itself, if there is one.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// assert_eq!(tree.running.verdict(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verdict(&self) -> Option<Verdict> {
        self.shared.board.given_up()
    }

    /// Waits until every child of the root has been settled once: running, or its first start failed.
    ///
    /// ```
    /// use impetus_supervision::example::counter;
    /// use impetus_supervision::{SupervisorSpec, TestExecutor};
    ///
    /// let executor = TestExecutor::new();
    /// let spec = SupervisorSpec::new("root").child(counter("counter").0);
    /// let running = executor.system().start(spec)?;
    /// executor.run_until(running.started());
    /// assert!(running.board().started());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn started(&self) {
        let mut started = self.shared.board.watch_started();
        // The sender lives in the board, which `self` keeps alive.
        let _ = started.wait_for(|started| *started).await;
    }

    /// Stops the tree: children in reverse order, each within its own deadline, all within `within`. What has not
    /// stopped by then is fenced and abandoned. Inboxes close.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let report = tree.executor.run_until(tree.running.stop(Duration::from_secs(5)));
    /// assert!(report.clean);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn stop(&self, within: Duration) -> StopReport {
        drop(lock(&self.watchdog).take());
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
        self.shared.ledger.enter(&abandoned);
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

fn in_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
