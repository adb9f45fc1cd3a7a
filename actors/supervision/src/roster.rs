//! A supervisor's children, as they are known to every incarnation of it.
//!
//! The roster outlives the supervisor's incarnations: a supervisor that is itself restarted starts the same children
//! again, those added since included. A spec enters the system through here: it gets its line on the board, which is
//! also what keeps names unique.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::board::{Entry, EntrySpec};
use crate::decide::Key;
use crate::shared::Shared;
use crate::sync::lock;
use crate::{ActorId, ChildSpec, Significance, Strategy, SupervisorRef};

/// A supervisor's strategy and children.
pub(crate) struct Roster {
    pub(crate) strategy: Strategy,
    /// Specs that have not entered a system yet.
    specs: Mutex<Vec<ChildSpec>>,
    children: Mutex<Vec<Arc<Child>>>,
    next_key: AtomicU64,
}

/// A child that has entered a system.
pub(crate) struct Child {
    pub(crate) key: Key,
    pub(crate) spec: ChildSpec,
    pub(crate) entry: Arc<Entry>,
}

/// What a child that is a supervisor has below it, and how that supervisor is asked.
pub(crate) struct Nested {
    pub(crate) roster: Arc<Roster>,
    pub(crate) handle: SupervisorRef,
}

/// The name is taken.
#[derive(Debug)]
pub(crate) struct Duplicate(pub(crate) ActorId);

// === impl Roster ===

impl Roster {
    pub(crate) fn new(strategy: Strategy, specs: Vec<ChildSpec>) -> Self {
        Self {
            strategy,
            specs: Mutex::new(specs),
            children: Mutex::new(Vec::new()),
            next_key: AtomicU64::new(0),
        }
    }

    pub(crate) fn children(&self) -> Vec<Arc<Child>> {
        lock(&self.children).clone()
    }

    pub(crate) fn find(&self, id: &ActorId) -> Option<Arc<Child>> {
        let children = lock(&self.children);
        children.iter().find(|child| child.spec.id() == id).cloned()
    }

    /// Brings a spec, and everything below it, into the system as a child of `supervisor`.
    pub(crate) fn enter(
        &self,
        spec: ChildSpec,
        supervisor: &ActorId,
        shared: &Shared,
    ) -> Result<Arc<Child>, Duplicate> {
        let key = self.next_key.fetch_add(1, Ordering::SeqCst);
        let child = Arc::new(Child::enter(key, spec, Some(supervisor), shared)?);
        lock(&self.children).push(Arc::clone(&child));
        Ok(child)
    }

    pub(crate) fn forget(&self, key: Key) {
        let forgotten = {
            let mut children = lock(&self.children);
            let place = children.iter().position(|child| child.key == key);
            place.map(|place| children.remove(place))
        };
        drop(forgotten);
    }

    fn enter_all(&self, supervisor: &ActorId, shared: &Shared) -> Result<(), Duplicate> {
        let specs = std::mem::take(&mut *lock(&self.specs));
        for spec in specs {
            self.enter(spec, supervisor, shared)?;
        }
        Ok(())
    }
}

// === impl Child ===

impl Child {
    /// Gives a spec, and everything below it, a place in the system.
    pub(crate) fn enter(
        key: Key,
        spec: ChildSpec,
        supervisor: Option<&ActorId>,
        shared: &Shared,
    ) -> Result<Self, Duplicate> {
        let settings = &spec.settings;
        let entry = Arc::new(Entry::new(EntrySpec {
            id: spec.id().clone(),
            parent: settings.listed_under.clone().or(supervisor.cloned()),
            significant: settings.significance == Significance::Significant,
            ttl: settings.status_ttl,
            mailbox: Arc::clone(&spec.mailbox),
            ledger: Arc::clone(&shared.ledger),
        }));
        if !shared.board.add(Arc::clone(&entry)) {
            return Err(Duplicate(spec.id().clone()));
        }
        spec.mailbox.bind(Arc::clone(&shared.clock));
        let child = Self { key, spec, entry };
        let below = child.spec.nested.as_ref();
        if let Some(Err(duplicate)) =
            below.map(|below| below.roster.enter_all(child.spec.id(), shared))
        {
            child.leave(shared);
            return Err(duplicate);
        }
        Ok(child)
    }

    /// Takes the child, and everything below it, out of the system; inboxes close.
    pub(crate) fn leave(&self, shared: &Shared) {
        if let Some(below) = &self.spec.nested {
            for child in below.roster.children() {
                child.leave(shared);
            }
        }
        shared.board.remove(self.spec.id());
        self.spec.mailbox.close();
    }

    /// Closes the inboxes of the child and of everything below it.
    pub(crate) fn close(&self) {
        if let Some(below) = &self.spec.nested {
            for child in below.roster.children() {
                child.close();
            }
        }
        self.spec.mailbox.close();
    }
}
