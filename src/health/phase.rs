//! Where the process is between its start and its end.

use std::sync::atomic::{AtomicU8, Ordering};

/// A step in the life of the process; steps only go forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Serves, or is on the way there.
    Serving = 0,
    /// Has been told to end; says that it is not ready, and serves on so that load balancers can
    /// take it out.
    LameDuck = 1,
    /// Takes no new connections and answers what is in flight.
    Draining = 2,
    /// Stops its actors.
    Stopping = 3,
}

/// The phase, shared by everybody; written by the one who runs the process.
#[derive(Debug, Default)]
pub struct Lifecycle(AtomicU8);

// === impl Phase ===

impl Phase {
    /// Returns the name used in answers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Returns the phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::LameDuck,
            2 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// Goes on to `phase`; going back is not possible and does nothing.
    pub fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
