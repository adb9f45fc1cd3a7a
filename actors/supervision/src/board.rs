//! The status board: what is known about every actor, in memory, readable at any time.
//!
//! Nobody is asked when the board is read. Incarnations write their own lines as they work, supervisors write the
//! states, and a reader copies. A line counts as heard of only when the actor's own work path wrote it, under its
//! fence; an actor that is silent beyond its time to live, and not inside a deadline it declared, reads as
//! `unknown`, which is computed at reading and so cannot be forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard};
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::watch;

use crate::event::{Event, EventKind};
use crate::history::{Capacity, Happening, History};
use crate::sync::lock;
use crate::{ActorId, ActorStatus, Clock, Generation, Timestamp, Verdict};

mod entry;

pub(crate) use entry::{Entry, EntrySpec};

/// A read-only handle to the status of every actor of a system.
///
/// ```
/// let tree = impetus_supervision::example::tree()?;
/// let board = tree.running.board();
/// // Any thread may hold one.
/// std::thread::spawn(move || board.snapshot()).join().map_err(|_| "panicked")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StatusBoard {
    inner: Arc<BoardInner>,
}

struct BoardInner {
    clock: Arc<dyn Clock>,
    entries: RwLock<Vec<Arc<Entry>>>,
    history: History,
    verdict: Mutex<Option<Verdict>>,
    /// Wakes the watchdog when there is a verdict.
    bell: OnceLock<Sender<()>>,
    /// When the root's loop last turned.
    root_turned: Mutex<Option<Duration>>,
    started: watch::Sender<bool>,
}

// === impl StatusBoard ===

impl StatusBoard {
    pub(crate) fn new(clock: Arc<dyn Clock>, capacity: Capacity) -> Self {
        let inner = BoardInner {
            clock,
            entries: RwLock::new(Vec::new()),
            history: History::new(capacity),
            verdict: Mutex::new(None),
            bell: OnceLock::new(),
            root_turned: Mutex::new(None),
            started: watch::Sender::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns every actor's status, each followed by those listed under it, in the order of their specs.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    ///
    /// let names: Vec<String> = board.snapshot().iter().map(|actor| actor.name.to_string()).collect();
    /// assert_eq!(names, ["root", "counter"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Vec<ActorStatus> {
        let now = self.inner.clock.now();
        let statuses: Vec<ActorStatus> = self
            .entries()
            .iter()
            .map(|entry| entry.status(now))
            .collect();
        in_tree_order(statuses)
    }

    /// Returns one actor's status.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    /// assert!(board.get(&"counter".into()).is_some());
    /// assert!(board.get(&"nobody".into()).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, id: &ActorId) -> Option<ActorStatus> {
        let entry = self.find(id)?;
        Some(entry.status(self.inner.clock.now()))
    }

    /// Returns the statuses of those listed under `id`.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    /// assert_eq!(board.children_of(&"root".into()).len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn children_of(&self, id: &ActorId) -> Vec<ActorStatus> {
        let now = self.inner.clock.now();
        self.entries()
            .iter()
            .filter(|entry| entry.parent() == Some(id))
            .map(|entry| entry.status(now))
            .collect()
    }

    /// Asks every live actor for a status. Never waits: answers appear on the board as they come.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    ///
    /// tree.executor.advance(std::time::Duration::from_secs(5));
    /// board.ring_all();
    /// tree.executor.settle();
    /// assert_eq!(board.age(&"counter".into()), Some(std::time::Duration::ZERO));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ring_all(&self) {
        for entry in self.entries().iter() {
            entry.ring();
        }
    }

    /// Returns how long ago the root supervisor's own loop last turned; none before it has.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    ///
    /// assert!(board.root_age() < Some(std::time::Duration::from_secs(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root_age(&self) -> Option<Duration> {
        let turned = self.last_root_turn()?;
        Some(self.inner.clock.now().saturating_sub(turned))
    }

    /// Returns how long ago the actor's own work path last wrote its status; none before it has.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    ///
    /// tree.executor.advance(std::time::Duration::from_secs(5));
    /// assert_eq!(board.age(&"counter".into()), Some(std::time::Duration::from_secs(5)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn age(&self, id: &ActorId) -> Option<Duration> {
        self.find(id)?.age(self.inner.clock.now())
    }

    /// Returns the system's verdict on itself, if there is one.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    /// assert_eq!(board.given_up(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn given_up(&self) -> Option<Verdict> {
        lock(&self.inner.verdict).clone()
    }

    /// Returns the last `limit` events of all actors, newest last.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    ///
    /// let last = board.events(1).pop().ok_or("nothing has happened")?;
    /// assert_eq!(last.message, "generation 1 runs");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self, limit: usize) -> Vec<Event> {
        self.inner.history.last(limit)
    }

    /// Returns the last `limit` events of one actor, newest last; also of one that is no longer there.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// tree.counter.try_send(Count::Break("a reason"))?;
    /// tree.executor.settle();
    ///
    /// let events = tree.running.board().events_of(&"counter".into(), 2);
    /// let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    /// assert_eq!(kinds, ["exited", "restarted"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events_of(&self, actor: &ActorId, limit: usize) -> Vec<Event> {
        self.inner.history.last_of(actor, limit)
    }

    /// Returns the first `limit` events whose number is greater than `seq`, oldest first. Events that are gone by then
    /// are left out: numbers tell how many those were.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    ///
    /// let seen = board.events(1).pop().map_or(0, |event| event.seq);
    /// board.note(&"counter".into(), "has something to say");
    /// let news = board.events_since(seen, 100);
    /// assert_eq!((news.len(), news[0].seq), (1, seen + 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events_since(&self, seq: u64, limit: usize) -> Vec<Event> {
        self.inner.history.since(seq, limit)
    }

    /// Records something about an actor that others ought to find in its history, under its present generation.
    ///
    /// ```
    /// use impetus_supervision::EventKind;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    /// board.note(&"counter".into(), "counts slower than it did");
    ///
    /// let last = board.events(1).pop().ok_or("nothing has happened")?;
    /// assert_eq!((last.kind, last.generation.get()), (EventKind::Note, 1));
    /// assert_eq!(last.message, "counts slower than it did");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn note(&self, actor: &ActorId, message: impl Into<String>) {
        let generation = self.generation_of(actor);
        self.record(actor, generation, EventKind::Note, message);
    }

    /// Returns a receiver of the number of events so far, which is also the number of the last one, by which to wait for the next one.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// let mut events = tree.running.board().watch_events();
    /// events.mark_unchanged();
    /// tree.counter.try_send(Count::Break("a reason"))?;
    /// tree.executor.run_until(events.changed())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch_events(&self) -> watch::Receiver<u64> {
        self.inner.history.watch()
    }

    /// Returns true once every child of the root has been settled once: running, or its first start failed.
    ///
    /// ```
    /// let tree = impetus_supervision::example::tree()?;
    /// let board = tree.running.board();
    /// assert!(board.started());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn started(&self) -> bool {
        *self.inner.started.borrow()
    }

    // What the runtime writes.

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    pub(crate) fn record(
        &self,
        actor: &ActorId,
        generation: Generation,
        kind: EventKind,
        message: impl Into<String>,
    ) {
        self.inner.history.record(Happening {
            at: self.wall(),
            actor: actor.clone(),
            generation,
            kind,
            message: message.into(),
        });
    }

    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from(self.inner.clock.wall())
    }

    pub(crate) fn root_turned(&self) {
        *lock(&self.inner.root_turned) = Some(self.inner.clock.now());
    }

    pub(crate) fn set_started(&self) {
        self.inner
            .started
            .send_if_modified(|started| !std::mem::replace(started, true));
    }

    pub(crate) fn watch_started(&self) -> watch::Receiver<bool> {
        self.inner.started.subscribe()
    }

    /// Records the verdict. The first one stands.
    pub(crate) fn give_up(&self, verdict: Verdict) {
        let Verdict { actor, reason, .. } = verdict.clone();
        lock(&self.inner.verdict).get_or_insert(verdict);
        let generation = self.generation_of(&actor);
        let message = format!("given up for good: {reason}");
        self.record(&actor, generation, EventKind::Escalated, message);
        if let Some(bell) = self.inner.bell.get() {
            // Full means that it has been rung already.
            let _ = bell.try_send(());
        }
    }

    /// Sets what is rung when there is a verdict.
    pub(crate) fn set_bell(&self, bell: Sender<()>) {
        // Set once, by the system's start.
        let _ = self.inner.bell.set(bell);
    }

    /// Returns when the root's loop last turned.
    pub(crate) fn last_root_turn(&self) -> Option<Duration> {
        *lock(&self.inner.root_turned)
    }

    /// Adds a line, unless the name is taken.
    pub(crate) fn add(&self, entry: Arc<Entry>) -> bool {
        let mut entries = self
            .inner
            .entries
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if entries.iter().any(|known| known.id() == entry.id()) {
            return false;
        }
        entries.push(entry);
        true
    }

    pub(crate) fn remove(&self, id: &ActorId) {
        let mut entries = self
            .inner
            .entries
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.retain(|entry| entry.id() != id);
    }

    fn generation_of(&self, id: &ActorId) -> Generation {
        self.find(id)
            .map_or(Generation::NONE, |entry| entry.generation())
    }

    pub(crate) fn find(&self, id: &ActorId) -> Option<Arc<Entry>> {
        self.entries()
            .iter()
            .find(|entry| entry.id() == id)
            .cloned()
    }

    fn entries(&self) -> RwLockReadGuard<'_, Vec<Arc<Entry>>> {
        self.inner
            .entries
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for StatusBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusBoard")
            .field("actors", &self.entries().len())
            .field("started", &self.started())
            .finish_non_exhaustive()
    }
}

/// Puts each status right before those listed under it; one whose parent is unknown counts as a root.
fn in_tree_order(statuses: Vec<ActorStatus>) -> Vec<ActorStatus> {
    let mut places: HashMap<ActorId, Vec<usize>> = HashMap::new();
    let names: HashSet<&ActorId> = statuses.iter().map(|status| &status.name).collect();
    let mut roots = Vec::new();
    for (place, status) in statuses.iter().enumerate() {
        let parent = status
            .parent
            .as_ref()
            .filter(|parent| names.contains(parent));
        match parent {
            Some(parent) => places.entry(parent.clone()).or_default().push(place),
            None => roots.push(place),
        }
    }
    let mut slots: Vec<Option<ActorStatus>> = statuses.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(slots.len());
    let mut pending: Vec<usize> = roots.into_iter().rev().collect();
    while let Some(place) = pending.pop() {
        let Some(status) = slots[place].take() else {
            continue;
        };
        let below = places.remove(&status.name).unwrap_or_default();
        pending.extend(below.into_iter().rev());
        ordered.push(status);
    }
    // Lines that list each other as parents hang on no root; they are shown all the same.
    ordered.extend(slots.into_iter().flatten());
    ordered
}
