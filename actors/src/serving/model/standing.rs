//! How a model stands beside the other versions of its name: on its way in, serving, on its way out.
//!
//! The loader decides; requests only read. A model that leaves is sealed first: whoever comes too
//! late is handed back and finds its successor, and whoever was inside is answered by this one. It
//! is taken out when nobody is inside any more.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::super::state::Standing;
use super::{ModelState, ServedModel};

// === impl ServedModel ===

impl ServedModel {
    /// Returns how it stands beside the other versions of its name.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            0 => Standing::Incoming,
            1 => Standing::Serving,
            _ => Standing::Retiring,
        }
    }

    /// Tells whether requests are to be led here.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.standing() != Standing::Retiring
    }

    /// Tells whether it is what its source asks for, as far as that is known.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Waits until nobody is inside any more, or that long.
    pub async fn emptied(&self, within: Duration) {
        let _ = tokio::time::timeout(within, self.occupancy.emptied()).await;
    }

    /// Tells whether nobody is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.occupancy.is_empty()
    }

    /// Waits until all its workers serve, or it is clear that they do not; returns its state then.
    /// Has no deadline of its own.
    pub async fn settled(&self) -> ModelState {
        let mut changes = self.changed.subscribe();
        loop {
            let state = self.state();
            let failed = self.problem.is_some() || state == ModelState::Failed;
            if failed || matches!(state, ModelState::Ready | ModelState::Unloading) {
                return state;
            }
            if changes.changed().await.is_err() {
                return state;
            }
        }
    }

    /// Waits until it serves, or it is clear that it does not; tells which.
    pub(crate) async fn in_service(&self) -> bool {
        let mut changes = self.changed.subscribe();
        loop {
            let serves = self.standing() == Standing::Serving && self.state() == ModelState::Ready;
            if serves {
                return true;
            }
            let hopeless = self.problem.is_some()
                || !self.is_offered()
                || matches!(self.state(), ModelState::Failed | ModelState::Unloading);
            if hopeless || changes.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits until it is out of service and its workers have ended.
    pub(crate) async fn gone(&self) {
        let mut changes = self.changed.subscribe();
        while !self.life().gone && changes.changed().await.is_ok() {}
    }

    pub(crate) fn note_gone(&self) {
        self.hand_over_counts();
        self.life().gone = true;
        self.note_change();
    }

    /// Returns how long ago it was told to take nothing new in; `None` before.
    pub(crate) fn retired_for(&self) -> Option<Duration> {
        self.life().retired.map(|at| at.elapsed())
    }

    pub(crate) fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Release);
    }

    /// Begins to serve beside, or instead of, the others of its name.
    pub(crate) fn take_over(&self) {
        self.standing
            .store(Standing::Serving as u8, Ordering::Release);
        self.note_change();
    }

    /// Takes nothing new in from now on; those inside are answered.
    pub(crate) fn retire(&self) {
        self.standing
            .store(Standing::Retiring as u8, Ordering::Release);
        self.life().retired.get_or_insert_with(Instant::now);
        self.queue.seal();
        self.note_change();
    }

    /// Tells whoever waits that a worker has come or gone.
    pub(in crate::serving) fn note_change(&self) {
        self.changed.send_replace(());
    }
}

pub(super) fn changes() -> watch::Sender<()> {
    watch::Sender::new(())
}
