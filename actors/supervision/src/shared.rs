//! What all supervisors and incarnations of one system have in common.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::executor::Executor;
use crate::ledger::Ledger;
use crate::link::Link;
use crate::sync::lock;
use crate::{ActorId, Clock, ExitReason, FaultKit, Healing, StatusBoard, Stopped, Verdict};

/// A system's common parts.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) board: StatusBoard,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) faults: FaultKit,
    pub(crate) healing: Healing,
    /// From which jitter is computed.
    pub(crate) seed: u64,
    /// What the stop of the whole system has stopped so far; none while it is not being stopped.
    stopped: Mutex<Option<Vec<Stopped>>>,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(
        executor: Arc<dyn Executor>,
        board: StatusBoard,
        healing: Healing,
        (leak_cap, seed): (usize, u64),
    ) -> Self {
        Self {
            clock: Arc::clone(board.clock()),
            executor,
            faults: FaultKit::new(board.clone()),
            healing,
            ledger: Arc::new(Ledger::new(leak_cap, Arc::clone(board.clock()))),
            board,
            seed,
            stopped: Mutex::new(None),
        }
    }

    /// Does what follows from the end of an incarnation, whoever watches it: what it adopted is let go of, and its
    /// supervisor is told.
    ///
    /// The root's children are left running when the root itself fails: nobody will replace them, and until the
    /// process is restarted they are what still answers.
    pub(crate) fn bury(&self, link: &Arc<Link>, reason: &ExitReason) {
        let is_root = link.entry().parent().is_none();
        let failed_root = is_root && reason.is_abnormal() && !link.stop_asked();
        if failed_root {
            self.board.give_up(Verdict {
                actor: link.fence().id().clone(),
                reason: format!("the root supervisor ended: {reason}"),
                at: self.board.wall(),
            });
        } else {
            self.ledger.enter(&link.release());
        }
        link.rest();
        link.end(reason.clone());
    }

    /// Begins to keep how children are stopped.
    pub(crate) fn begin_stop(&self) {
        lock(&self.stopped).get_or_insert_default();
    }

    /// Keeps for the stop report how a child was stopped.
    pub(crate) fn note_stopped(&self, id: &ActorId, in_order: bool, took: Duration) {
        if let Some(stopped) = &mut *lock(&self.stopped) {
            stopped.push(Stopped {
                id: id.clone(),
                in_order,
                took,
            });
        }
    }

    pub(crate) fn take_stopped(&self) -> Vec<Stopped> {
        lock(&self.stopped).take().unwrap_or_default()
    }
}
