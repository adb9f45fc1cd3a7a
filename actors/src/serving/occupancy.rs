//! Who is inside a model: every request that was admitted and has not been let go.
//!
//! A model that is replaced stays until nobody is inside any more. Queue and ledger cannot tell: a
//! request that is on its way from the one to the other is in neither. So each carries a pass, from
//! its admission until it is dropped, wherever it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the passes that are out.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    inside: AtomicUsize,
    emptied: Notify,
}

/// The pass of one request.
#[derive(Debug)]
pub(super) struct Pass(Arc<Occupancy>);

// === impl Occupancy ===

impl Occupancy {
    pub(super) fn enter(self: &Arc<Self>) -> Pass {
        self.inside.fetch_add(1, Ordering::Relaxed);
        Pass(Arc::clone(self))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inside.load(Ordering::Acquire) == 0
    }

    /// Waits until nobody is inside.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

// === impl Pass ===

impl Drop for Pass {
    fn drop(&mut self) {
        if self.0.inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn it_is_empty_once_the_last_pass_is_given_back() {
        let occupancy = Arc::new(Occupancy::default());
        assert!(occupancy.emptied().now_or_never().is_some());
        let (first, second) = (occupancy.enter(), occupancy.enter());
        let mut emptied = std::pin::pin!(occupancy.emptied());
        assert!(emptied.as_mut().now_or_never().is_none());
        drop(first);
        assert!(emptied.as_mut().now_or_never().is_none());
        drop(second);
        assert!(emptied.as_mut().now_or_never().is_some());
    }
}
