//! Whether supervisors heal at the moment: the switch of whoever wants to look before anything is replaced.
//!
//! A person who is called to a failing system sometimes needs it to hold still: a dead worker that stays dead can be
//! looked at, one that is back after a millisecond cannot. So there is one switch for a whole tree, read by every
//! supervisor at each of its turns. While healing is paused nothing that has ended is started again and nothing is
//! judged to hang; first starts, orderly stops and whatever is asked for by name go on.
//!
//! **Invariant.** A pause has an end. It is given with its length, and it runs out by itself although nobody comes
//! back to end it, because a tree that never heals again would be worse than none.
//!
//! **How it fails.** It cannot: the switch is one number in memory. What was due during the pause was charged when it
//! happened, and starts at once when the pause is over.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::sync::lock;
use crate::{ActorId, Clock, StatusBoard, Timestamp};

/// The longest pause; a longer one is cut to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Pauses and resumes the healing of a tree.
///
/// A handle is cheap to clone, and all clones are the same switch. It belongs to one system, whose history tells what
/// was done with it.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::ActorState;
/// use impetus_supervision::example::{Count, tree};
///
/// let tree = tree()?;
/// let healing = tree.running.healing();
/// healing.pause(Duration::from_secs(600));
///
/// tree.counter.try_send(Count::Break("for a look"))?;
/// tree.executor.advance(Duration::from_secs(60));
/// let status = tree.running.board().get(&"counter".into()).ok_or("no such actor")?;
/// assert_eq!(status.state, ActorState::BackingOff);
/// assert_eq!(status.note.as_deref(), Some("waits until healing is resumed"));
///
/// healing.resume();
/// tree.executor.settle();
/// let status = tree.running.board().get(&"counter".into()).ok_or("no such actor")?;
/// assert_eq!((status.state, status.restarts), (ActorState::Running, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Healing {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    /// When the pause runs out, by the clock's own time.
    until: Mutex<Option<Duration>>,
    /// Makes supervisors look at once.
    changed: watch::Sender<()>,
    /// Where it is recorded, and under whose name.
    recorded: OnceLock<(StatusBoard, ActorId)>,
}

// === impl Healing ===

impl Healing {
    /// Returns a switch that stands at healing and measures pauses by `clock`, which must be the system's own.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use impetus_supervision::{Clock, Healing, SupervisorSpec, System, SystemClock};
    ///
    /// let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    /// let healing = Healing::new(Arc::clone(&clock));
    /// let builder = System::builder().clock(clock).healing(healing.clone());
    /// let running = builder.start(SupervisorSpec::new("root"))?;
    /// assert_eq!(healing.paused_for(), None);
    /// # drop(running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                until: Mutex::new(None),
                changed: watch::Sender::new(()),
                recorded: OnceLock::new(),
            }),
        }
    }

    /// Pauses healing for `within` from now on, whatever was left of an earlier pause; for a year at most.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let healing = tree.running.healing();
    /// healing.pause(Duration::from_secs(600));
    ///
    /// let last = tree.running.board().events(1).pop().ok_or("nothing has happened")?;
    /// assert_eq!(last.message, "healing is paused until 2025-01-01T00:10:00.000Z");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self, within: Duration) {
        let within = within.min(LONGEST_PAUSE);
        let until = self.inner.clock.now().saturating_add(within);
        *lock(&self.inner.until) = Some(until);
        self.record_pause();
        self.inner.changed.send_replace(());
    }

    /// Resumes healing; what fell due meanwhile starts at once. Does nothing when healing is not paused.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let healing = tree.running.healing();
    /// healing.pause(Duration::from_secs(600));
    /// healing.resume();
    /// assert_eq!(healing.paused_for(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self) {
        self.expire();
        if lock(&self.inner.until).take().is_some() {
            self.record("healing goes on: it was resumed");
        }
        self.inner.changed.send_replace(());
    }

    /// Returns how much of the pause is left; none while the tree heals.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let healing = tree.running.healing();
    /// healing.pause(Duration::from_secs(600));
    ///
    /// tree.executor.advance(Duration::from_secs(200));
    /// assert_eq!(healing.paused_for(), Some(Duration::from_secs(400)));
    /// tree.executor.advance(Duration::from_secs(400));
    /// assert_eq!(healing.paused_for(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn paused_for(&self) -> Option<Duration> {
        let until = (*lock(&self.inner.until))?;
        let left = until.saturating_sub(self.inner.clock.now());
        (!left.is_zero()).then_some(left)
    }

    /// Begins to record on a board, under the root's name, beginning with a pause that holds already.
    pub(crate) fn record_on(&self, board: StatusBoard, root: ActorId) {
        if self.inner.recorded.set((board, root)).is_ok() && self.paused_for().is_some() {
            self.record_pause();
        }
    }

    /// Records, once, that a pause has run out by itself.
    pub(crate) fn expire(&self) {
        let now = self.inner.clock.now();
        let ran_out = lock(&self.inner.until).take_if(|until| *until <= now);
        if ran_out.is_some() {
            self.record("healing goes on: the pause has run out");
        }
    }

    /// Returns a receiver that is told of each change by hand.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.inner.changed.subscribe()
    }

    fn record_pause(&self) {
        let left = self.paused_for().unwrap_or_default();
        let until = Timestamp::from(self.inner.clock.wall() + left);
        self.record(format!("healing is paused until {until}"));
    }

    fn record(&self, message: impl Into<String>) {
        if let Some((board, root)) = self.inner.recorded.get() {
            board.note(root, message);
        }
    }
}

impl std::fmt::Debug for Healing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Healing")
            .field("paused_for", &self.paused_for())
            .finish()
    }
}
