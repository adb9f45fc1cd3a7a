//! The fault kit: failures on demand.
//!
//! A healing system that is only ever seen well has not been tested. Every incarnation's loop asks the kit once per
//! turn whether a fault is armed for it (one relaxed load while none is), and commits it there, in its own thread
//! and under its own deadlines, so that what follows is exactly what would follow the real thing. It works in release
//! binaries and on supervisors, the root among them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::EventKind;
use crate::sync::lock;
use crate::{ActorId, StatusBoard};

/// A failure to be injected.
///
/// ```
/// use impetus_supervision::Fault;
///
/// let tree = impetus_supervision::example::tree()?;
/// let faults = tree.running.faults();
///
/// faults.arm(&"counter".into(), Fault::Kill, 1);
/// tree.executor.settle();
/// assert_eq!(tree.counter.generation().map(|generation| generation.get()), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The actor panics.
    Panic,
    /// The actor's handler returns an error.
    Error,
    /// The actor's thread blocks for so long, in real time.
    Block(Duration),
    /// The actor waits for something that never comes; its thread stays free.
    Starve,
    /// The incarnation's task is dropped, without a word.
    Kill,
}

/// Arms faults for the actors of one system.
///
/// ```
/// use impetus_supervision::Fault;
///
/// let tree = impetus_supervision::example::tree()?;
/// let faults = tree.running.faults();
///
/// faults.arm(&"counter".into(), Fault::Panic, 1);
/// tree.executor.settle();
/// let status = tree.running.board().get(&"counter".into()).ok_or("no such actor")?;
/// assert_eq!(status.last_exit.map(|exit| exit.reason.kind()), Some("panic"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FaultKit {
    armory: Arc<Armory>,
}

struct Armory {
    board: StatusBoard,
    /// How many actors have something armed, so that a turn without faults costs one load.
    count: AtomicUsize,
    armed: Mutex<HashMap<ActorId, Armed>>,
}

struct Armed {
    fault: Fault,
    times: u32,
}

// === impl FaultKit ===

impl FaultKit {
    pub(crate) fn new(board: StatusBoard) -> Self {
        Self {
            armory: Arc::new(Armory {
                board,
                count: AtomicUsize::new(0),
                armed: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// Arms `fault` for the next `times` turns of the actor's loop, in however many incarnations those are, and
    /// wakes it. Replaces what was armed for it.
    ///
    /// ```
    /// use impetus_supervision::Fault;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let faults = tree.running.faults();
    ///
    /// faults.arm(&"counter".into(), Fault::Error, 2);
    /// tree.executor.advance(std::time::Duration::from_secs(1));
    /// assert_eq!(tree.counter.generation().map(|generation| generation.get()), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn arm(&self, id: &ActorId, fault: Fault, times: u32) {
        if times == 0 {
            self.disarm(id);
            return;
        }
        {
            let mut armed = lock(&self.armory.armed);
            armed.insert(id.clone(), Armed { fault, times });
            self.armory.count.store(armed.len(), Ordering::SeqCst);
        }
        if let Some(entry) = self.armory.board.find(id) {
            let message = format!("fault armed: {fault:?}");
            let generation = entry.generation();
            self.armory
                .board
                .record(id, generation, EventKind::Note, message);
            entry.mailbox().nudge();
        }
    }

    /// Takes back what is armed for the actor.
    ///
    /// ```
    /// use impetus_supervision::Fault;
    ///
    /// let tree = impetus_supervision::example::tree()?;
    /// let faults = tree.running.faults();
    ///
    /// faults.arm(&"counter".into(), Fault::Panic, 1);
    /// faults.disarm(&"counter".into());
    /// tree.executor.settle();
    /// assert_eq!(tree.counter.generation().map(|generation| generation.get()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disarm(&self, id: &ActorId) {
        let mut armed = lock(&self.armory.armed);
        armed.remove(id);
        self.armory.count.store(armed.len(), Ordering::SeqCst);
    }

    /// Returns the fault the actor has to commit now.
    pub(crate) fn strike(&self, id: &ActorId) -> Option<Fault> {
        if self.armory.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut armed = lock(&self.armory.armed);
        let due = armed.get_mut(id)?;
        let fault = due.fault;
        due.times -= 1;
        if due.times == 0 {
            armed.remove(id);
            self.armory.count.store(armed.len(), Ordering::SeqCst);
        }
        Some(fault)
    }
}

impl std::fmt::Debug for FaultKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let armed = self.armory.count.load(Ordering::SeqCst);
        f.debug_struct("FaultKit").field("armed", &armed).finish()
    }
}
