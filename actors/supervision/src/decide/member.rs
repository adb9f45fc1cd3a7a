//! One child, as far as decisions go.

use std::time::Duration;

use super::Key;
use super::stop::Then;
use crate::backoff::Delays;
use crate::intensity::Window;
use crate::{ActorId, ActorState, Intensity, Restart, Shutdown};

/// What a child spec says that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) significant: bool,
    pub(crate) intensity: Intensity,
    pub(crate) cool_down: Duration,
}

/// One child.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: Key,
    pub(crate) id: ActorId,
    pub(crate) policy: Policy,
    pub(crate) phase: Phase,
    pub(crate) window: Window,
    pub(crate) delays: Delays,
    /// Its incarnation has settled: those that start after it need wait no longer.
    pub(crate) settled: bool,
    /// It has been running once, or its first start has failed.
    pub(crate) tried: bool,
    /// It was abandoned at the leak cap: it starts again only when that has left nothing behind, or there is room.
    pub(crate) gated: bool,
    /// Somebody has asked for its start, which therefore does not wait for healing to be resumed.
    pub(crate) asked: bool,
}

/// Where a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for its turn.
    Queued,
    Starting,
    Running {
        since: Duration,
    },
    Stopping {
        by: Duration,
        then: Then,
    },
    BackingOff {
        until: Duration,
    },
    /// Given up until its cool-down has passed.
    Failed {
        until: Duration,
    },
    /// Significant, and given up for good.
    GivenUp,
    /// Ended for good, as its restart policy says.
    Done,
    /// Not running, because of others.
    Down,
}

// === impl Member ===

impl Member {
    pub(crate) fn new(key: Key, id: ActorId, policy: Policy, delays: Delays) -> Self {
        Self {
            key,
            id,
            policy,
            phase: Phase::Queued,
            window: Window::new(policy.intensity),
            delays,
            settled: false,
            tried: false,
            gated: false,
            asked: false,
        }
    }

    /// Forgets all failures.
    pub(crate) fn forgive(&mut self) {
        self.window.reset();
        self.delays.reset();
        self.gated = false;
    }
}

// === impl Phase ===

impl Phase {
    /// Returns true while there is an incarnation.
    pub(crate) fn is_live(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Running { .. } | Self::Stopping { .. }
        )
    }

    /// Returns when something falls due by itself.
    pub(crate) fn due(self) -> Option<Duration> {
        match self {
            Self::Stopping { by: at, .. }
            | Self::BackingOff { until: at }
            | Self::Failed { until: at } => Some(at),
            _ => None,
        }
    }

    /// Returns the phase as the board shows it.
    pub(crate) fn state(self) -> ActorState {
        match self {
            Self::Queued | Self::Starting => ActorState::Starting,
            Self::Running { .. } => ActorState::Running,
            Self::Stopping { .. } => ActorState::Stopping,
            Self::BackingOff { .. } => ActorState::BackingOff,
            Self::Failed { .. } | Self::GivenUp => ActorState::Failed,
            Self::Done | Self::Down => ActorState::Stopped,
        }
    }
}
