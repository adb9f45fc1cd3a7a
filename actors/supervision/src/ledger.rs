//! The ledger of abandoned threads.
//!
//! A blocked thread can be fenced, not ended. Each one costs a thread, its stack and its descriptors until it ends
//! by itself, so they are counted, and past the cap a supervisor stops replacing what blocks. An incarnation stands
//! in the ledger from the moment it is abandoned until its thread is really gone; a mere async stall is dropped
//! within microseconds and leaves no trace.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::link::{Link, Remains};
use crate::sync::lock;
use crate::{ActorId, Clock};

/// How long the thread of an incarnation that ended by itself may take to end before it counts.
const ENDING_TAKES: Duration = Duration::from_secs(1);

/// Incarnations that are over and whose threads have not ended.
pub(crate) struct Ledger {
    cap: usize,
    clock: Arc<dyn Clock>,
    pages: Mutex<Vec<Page>>,
}

/// Holds no link, which would hold the board, which holds the ledger.
struct Page {
    id: ActorId,
    remains: Arc<Remains>,
    counts_from: Duration,
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new(cap: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            cap,
            clock,
            pages: Mutex::new(Vec::new()),
        }
    }

    /// Enters incarnations that have been abandoned. They count at once.
    pub(crate) fn enter(&self, links: &[Arc<Link>]) {
        let now = self.clock.now();
        for link in links {
            self.add(link, now);
        }
    }

    /// Enters an incarnation that ended by itself. It counts if its thread does not end soon.
    pub(crate) fn enter_ended(&self, link: &Link) {
        let counts_from = self.clock.now().saturating_add(ENDING_TAKES);
        self.add(link, counts_from);
    }

    pub(crate) fn count(&self) -> usize {
        self.count_where(|_| true)
    }

    pub(crate) fn count_of(&self, id: &ActorId) -> usize {
        self.count_where(|page| page.id == *id)
    }

    /// Returns true while another leak can be borne.
    pub(crate) fn has_room(&self) -> bool {
        self.count() < self.cap
    }

    fn add(&self, link: &Link, counts_from: Duration) {
        let remains = link.remains();
        if remains.is_gone() {
            return;
        }
        let mut pages = lock(&self.pages);
        if !pages.iter().any(|page| Arc::ptr_eq(&page.remains, remains)) {
            pages.push(Page {
                id: link.fence().id().clone(),
                remains: Arc::clone(remains),
                counts_from,
            });
        }
    }

    fn count_where(&self, counts: impl Fn(&Page) -> bool) -> usize {
        let now = self.clock.now();
        let mut pages = lock(&self.pages);
        pages.retain(|page| !page.remains.is_gone());
        pages
            .iter()
            .filter(|page| page.counts_from <= now && counts(page))
            .count()
    }
}
