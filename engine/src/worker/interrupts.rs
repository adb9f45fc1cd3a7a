//! Making one run end early, and only that one.
//!
//! The server says on a line of its own which run nobody waits for any more, because the inference
//! thread, which reads everything else, is busy with just that run. The watching thread passes it
//! on to here. A run is named, so that a word which comes too late strikes nobody else, and one
//! that comes too early waits for its run, which is then not begun at all.
//!
//! Runs are begun in the order of their numbers, which only grow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::runtime::Interrupt;

/// Runs that may wait to be found unwanted: more than a worker ever holds.
const MOST_UNWANTED: usize = 64;

/// What the watching thread and the inference thread share.
#[derive(Clone, Default)]
pub(super) struct Interrupts {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    interrupt: Option<Interrupt>,
    running: Option<u64>,
    last_begun: u64,
    struck: bool,
    unwanted: VecDeque<u64>,
}

// === impl Interrupts ===

impl Interrupts {
    /// Replaces what makes a run of the loaded model end early.
    pub(super) fn set(&self, interrupt: Option<Interrupt>) {
        self.lock().interrupt = interrupt;
    }

    /// Begins a run; returns false if nobody wants it any more.
    pub(super) fn begin(&self, run: u64) -> bool {
        let mut state = self.lock();
        state.last_begun = run;
        let known = state.unwanted.len();
        state.unwanted.retain(|unwanted| *unwanted > run);
        if state.unwanted.len() < known {
            return false;
        }
        state.running = Some(run);
        true
    }

    /// Ends the run that was begun; returns whether it was struck, so that the model has to be made
    /// fit for the next one.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        state.running = None;
        std::mem::take(&mut state.struck)
    }

    /// Makes a run end early, or never begin; one that is over is left in peace.
    pub(super) fn strike(&self, run: u64) {
        let mut state = self.lock();
        if state.running == Some(run) {
            state.struck = true;
            if let Some(interrupt) = &state.interrupt {
                interrupt();
            }
        } else if run > state.last_begun && state.unwanted.len() < MOST_UNWANTED {
            state.unwanted.push_back(run);
        }
    }

    /// Makes whatever runs end early: the connection is gone.
    pub(super) fn strike_any(&self) {
        if let Some(interrupt) = &self.lock().interrupt {
            interrupt();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing inside these sections leaves the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counted() -> (Interrupts, Arc<AtomicUsize>) {
        let interrupts = Interrupts::default();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        interrupts.set(Some(Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })));
        (interrupts, count)
    }

    #[test]
    fn only_the_run_that_was_named_is_struck() {
        let (interrupts, struck) = counted();
        assert!(interrupts.begin(7));
        interrupts.strike(6);
        assert_eq!(struck.load(Ordering::SeqCst), 0);
        interrupts.strike(7);
        assert_eq!(struck.load(Ordering::SeqCst), 1);
        assert!(interrupts.end());
        assert!(interrupts.begin(8));
        assert!(!interrupts.end(), "the strike was for the run before");
    }

    #[test]
    fn a_run_that_was_struck_before_it_began_is_never_begun() {
        let (interrupts, struck) = counted();
        assert!(interrupts.begin(1));
        interrupts.strike(2);
        assert!(!interrupts.end());
        assert!(!interrupts.begin(2));
        assert!(interrupts.begin(3));
        assert_eq!(struck.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_comes_after_the_end_is_forgotten() {
        let (interrupts, struck) = counted();
        assert!(interrupts.begin(5));
        assert!(!interrupts.end());
        interrupts.strike(5);
        assert!(interrupts.begin(6));
        assert_eq!(struck.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_flood_of_words_about_runs_to_come_is_bounded() {
        let (interrupts, _) = counted();
        for run in 1..10_000 {
            interrupts.strike(run);
        }
        assert_eq!(interrupts.lock().unwanted.len(), MOST_UNWANTED);
    }
}
