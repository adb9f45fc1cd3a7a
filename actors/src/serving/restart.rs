//! Why a worker had to be started anew.
//!
//! Whoever brings a worker to its end writes the reason into its place, and the incarnation that
//! comes next takes it from there and counts itself. So a restart is counted when it happens: not
//! while healing is paused, and not for a worker that is given up.

use super::loss::Loss;

/// Why the worker before this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartReason {
    /// A signal of its own making, or an exit nobody asked for.
    Crash,
    /// It overran its execution budget, or was silent while idle.
    Hang,
    /// It took more memory than it may.
    Memory,
    /// Somebody else ended it.
    Outside,
    /// Nobody knows: the actor that looked after it was lost with it.
    Unknown,
    /// It made room for a fresh one at its soft limit of memory.
    Recycled,
    /// It never came to serve.
    FailedStart,
    /// It was stopped in order: by an operator, or together with its supervisor.
    Stopped,
}

// === impl RestartReason ===

impl RestartReason {
    /// Every reason, in its order.
    pub const ALL: [Self; 8] = [
        Self::Crash,
        Self::Hang,
        Self::Memory,
        Self::Outside,
        Self::Unknown,
        Self::Recycled,
        Self::FailedStart,
        Self::Stopped,
    ];

    /// Returns the reason as metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Memory => "memory",
            Self::Outside => "outside",
            Self::Unknown => "unknown",
            Self::Recycled => "recycled",
            Self::FailedStart => "failed_start",
            Self::Stopped => "stopped",
        }
    }
}

impl From<&Loss> for RestartReason {
    fn from(loss: &Loss) -> Self {
        match loss {
            Loss::Crash(_) => Self::Crash,
            Loss::Hang(_) => Self::Hang,
            Loss::Memory(_) => Self::Memory,
            Loss::Outside(_) => Self::Outside,
            Loss::Unknown => Self::Unknown,
        }
    }
}
