//! Whether an operator has taken the server out of traffic.
//!
//! Not a phase of the process ([`Lifecycle`](super::Lifecycle)): a phase only goes forward and leads to the end, this
//! can be taken back and leads nowhere. The server serves on; only its readiness says no.

use std::sync::atomic::{AtomicBool, Ordering};

/// The operator's switch; written by the admin endpoint alone.
#[derive(Debug, Default)]
pub struct OperatorDrain(AtomicBool);

// === impl OperatorDrain ===

impl OperatorDrain {
    /// Takes the server out of traffic, or puts it back.
    pub fn set(&self, drained: bool) {
        self.0.store(drained, Ordering::Release);
    }

    /// Tells whether the server has been taken out of traffic.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
