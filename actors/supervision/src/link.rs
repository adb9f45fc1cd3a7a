//! The link between one incarnation and the supervisor that watches it.
//!
//! The two never wait for each other. The incarnation writes what it is doing and, last, why it ended; the
//! supervisor reads, and may ask it to stop or abandon it. Ends are state and not messages, so none is lost when an
//! inbox is full. Abandoning is a fixed sequence: revoke the lease, tell the executor to drop the task, abandon the
//! children the incarnation adopted. None of it needs the victim's thread, and the supervisor goes on at once.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::board::Entry;
use crate::executor::Incarnation;
use crate::fence::Fence;
use crate::sync::lock;
use crate::{Clock, ExitReason, Generation, Timestamp};

/// One incarnation as its supervisor sees it.
pub(crate) struct Link {
    fence: Fence,
    clock: Arc<dyn Clock>,
    entry: Arc<Entry>,
    /// Tells the supervisor that there is something to read.
    notify: Arc<dyn Fn() + Send + Sync>,
    progress: Mutex<Option<Progress>>,
    stage: AtomicU8,
    turns: AtomicU64,
    stop_asked: watch::Sender<bool>,
    /// Whether the end of the incarnation is not its own doing.
    excused: AtomicBool,
    exit: Mutex<Option<ExitReason>>,
    remains: Arc<Remains>,
    control: Mutex<Control>,
}

/// What may be left of an incarnation when it is over: all that the ledger has to know about it.
#[derive(Default)]
pub(crate) struct Remains {
    handle: Mutex<Option<Box<dyn Incarnation>>>,
    reported: AtomicBool,
}

/// What an incarnation works on and until when.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) item: Cow<'static, str>,
    pub(crate) since: Duration,
    pub(crate) by: Duration,
}

/// How far an incarnation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Launched = 0,
    /// `started` has returned.
    Started = 1,
    /// A supervisor's children have each been tried once; an actor settles by starting.
    Settled = 2,
}

#[derive(Default)]
struct Control {
    abandoned: bool,
    adopted: Vec<Arc<Link>>,
}

// === impl Link ===

impl Link {
    pub(crate) fn new(
        fence: Fence,
        clock: Arc<dyn Clock>,
        entry: Arc<Entry>,
        notify: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            fence,
            clock,
            entry,
            notify,
            progress: Mutex::new(None),
            stage: AtomicU8::new(Stage::Launched as u8),
            turns: AtomicU64::new(0),
            stop_asked: watch::Sender::new(false),
            excused: AtomicBool::new(false),
            exit: Mutex::new(None),
            remains: Arc::default(),
            control: Mutex::new(Control::default()),
        }
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }

    pub(crate) fn generation(&self) -> Generation {
        self.fence.generation()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    // What the incarnation writes.

    pub(crate) fn declare(&self, item: impl Into<Cow<'static, str>>, within: Duration) {
        let since = self.clock.now();
        let progress = Progress {
            item: item.into(),
            since,
            by: since.saturating_add(within),
        };
        let replaced = lock(&self.progress).replace(progress);
        drop(replaced);
    }

    pub(crate) fn rest(&self) {
        let done = lock(&self.progress).take();
        drop(done);
    }

    pub(crate) fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reach(&self, stage: Stage) {
        let before = self.stage.fetch_max(stage as u8, Ordering::SeqCst);
        if before < stage as u8 {
            (self.notify)();
        }
    }

    pub(crate) fn excuse(&self) {
        self.excused.store(true, Ordering::SeqCst);
    }

    /// Records the end. The first report stands.
    pub(crate) fn end(&self, reason: ExitReason) {
        self.fence.revoke();
        lock(&self.exit).get_or_insert(reason);
        self.remains.reported.store(true, Ordering::SeqCst);
        (self.notify)();
    }

    // What the supervisor reads.

    pub(crate) fn progress(&self) -> Option<Progress> {
        lock(&self.progress).clone()
    }

    /// Returns what is overdue and by how much.
    pub(crate) fn overdue(&self, now: Duration) -> Option<(String, Duration)> {
        let progress = lock(&self.progress);
        let late = progress.as_ref().filter(|progress| now > progress.by)?;
        Some((late.item.to_string(), now - late.by))
    }

    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.progress).is_none()
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Launched,
            1 => Stage::Started,
            _ => Stage::Settled,
        }
    }

    pub(crate) fn exit(&self) -> Option<ExitReason> {
        lock(&self.exit).clone()
    }

    /// Tells whether the incarnation, which came to run, ended without being to blame.
    pub(crate) fn is_excused(&self) -> bool {
        self.stage() >= Stage::Settled && self.excused.load(Ordering::SeqCst)
    }

    pub(crate) fn remains(&self) -> &Arc<Remains> {
        &self.remains
    }

    // What the supervisor does.

    pub(crate) fn ask_to_stop(&self) {
        self.stop_asked.send_replace(true);
        self.entry.mailbox().nudge();
    }

    pub(crate) fn stop_asked(&self) -> bool {
        *self.stop_asked.borrow()
    }

    /// Waits until the incarnation is asked to stop.
    pub(crate) fn until_stop_asked(&self) -> impl Future<Output = ()> + use<> {
        let mut asked = self.stop_asked.subscribe();
        async move {
            // Without its link nobody can ask any more, and the incarnation is over.
            let _ = asked.wait_for(|asked| *asked).await;
        }
    }

    /// Drops the incarnation's task, and leaves it to the guard to say so.
    pub(crate) fn kill(&self) {
        self.remains.abort();
    }

    pub(crate) fn attach(&self, handle: Box<dyn Incarnation>) {
        let control = lock(&self.control);
        *lock(&self.remains.handle) = Some(handle);
        if control.abandoned {
            self.remains.abort();
        }
    }

    /// Takes the child's incarnation that `conceive` makes under this one, unless this one has been abandoned.
    ///
    /// One lock covers the check and the making, so a supervisor that wakes too late cannot take a lease away from
    /// its successor's children.
    pub(crate) fn adopt(&self, conceive: impl FnOnce() -> Arc<Link>) -> Option<Arc<Link>> {
        let mut control = lock(&self.control);
        if control.abandoned {
            return None;
        }
        control
            .adopted
            .retain(|other| other.exit().is_none() && other.fence.is_current());
        let child = conceive();
        control.adopted.push(Arc::clone(&child));
        Some(child)
    }

    /// Fences the incarnation off and lets go of it and of everything below it. Returns all that were let go of.
    pub(crate) fn abandon(self: &Arc<Self>) -> Vec<Arc<Link>> {
        self.fence.revoke();
        let adopted = {
            let mut control = lock(&self.control);
            control.abandoned = true;
            self.remains.abort();
            std::mem::take(&mut control.adopted)
        };
        self.entry.mailbox().nudge();
        let mut abandoned = vec![Arc::clone(self)];
        for child in adopted.iter().rev() {
            abandoned.extend(child.abandon());
            child.orphan();
        }
        abandoned
    }

    /// Shows on the board that the supervisor of this incarnation took it down with it.
    fn orphan(&self) {
        let at = Timestamp::from(self.clock.wall());
        self.entry.orphaned(self.generation(), at);
    }

    /// Lets go of everything below this incarnation, which itself has ended. Returns all that were let go of.
    pub(crate) fn release(&self) -> Vec<Arc<Link>> {
        let adopted = {
            let mut control = lock(&self.control);
            control.abandoned = true;
            std::mem::take(&mut control.adopted)
        };
        let mut abandoned = Vec::new();
        for child in adopted.iter().rev().filter(|child| child.exit().is_none()) {
            abandoned.extend(child.abandon());
            child.orphan();
        }
        abandoned
    }
}

// === impl Remains ===

impl Remains {
    /// Returns true once nothing of the incarnation is left, its thread included.
    pub(crate) fn is_gone(&self) -> bool {
        match &*lock(&self.handle) {
            Some(handle) => handle.is_gone(),
            // Never launched, or being launched at this moment: then its end has not been reported either.
            None => self.reported.load(Ordering::SeqCst),
        }
    }

    fn abort(&self) {
        if let Some(handle) = &*lock(&self.handle) {
            handle.abort();
        }
    }
}
