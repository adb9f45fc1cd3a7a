//! Why a worker was lost, as far as that speaks against what it ran.
//!
//! A request is refused for good only on evidence: the worker came to its end by its own doing while
//! it ran this request and no other. A signal that somebody else sent is no evidence, and where
//! nobody knows how the end came there is none either.

use std::fmt;

use impetus_supervision::ProcessEnd;
use rustix::process::Signal;

/// How a worker was lost, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// A signal of its own making, or an exit nobody asked for.
    Crash(String),
    /// It overran its execution budget and was killed for it.
    Hang(String),
    /// It took more memory than it may.
    Memory(String),
    /// Somebody else ended it.
    Outside(String),
    /// Whoever looked after it was given up before the end was known.
    Unknown,
}

/// Which batch a loss may be held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Whichever was running when the worker was lost.
    Running,
    /// This one, if it has not been answered meanwhile.
    Only(u64),
    /// None.
    Nobody,
}

/// Signals that a process raises against itself by what it does.
const OWN_MAKING: [i32; 7] = [
    Signal::ILL.as_raw(),
    Signal::TRAP.as_raw(),
    Signal::ABORT.as_raw(),
    Signal::BUS.as_raw(),
    Signal::FPE.as_raw(),
    Signal::SEGV.as_raw(),
    Signal::SYS.as_raw(),
];

const KILL: i32 = Signal::KILL.as_raw();

/// Exit code of a worker whose self-check failed.
const SELF_CHECK_FAILED: i32 = 69;
/// Exit code of a worker that was told what it should not have been told.
const PROTOCOL: i32 = 76;

// === impl Loss ===

impl Loss {
    /// Every kind, as [`kind`](Self::kind) names them.
    pub const KINDS: [&'static str; 5] = ["crash", "hang", "memory", "outside", "unknown"];

    /// Reads how a process that nobody here killed came to its end. `out_of_memory` says that the
    /// kernel killed somebody in this container for want of memory meanwhile.
    #[must_use]
    pub fn of(end: ProcessEnd, out_of_memory: bool) -> Self {
        match end {
            ProcessEnd::Signal(signal) if OWN_MAKING.contains(&signal) => {
                Self::Crash(end.to_string())
            }
            ProcessEnd::Signal(KILL) if out_of_memory => {
                Self::Memory("the kernel ended it for want of memory".to_owned())
            }
            ProcessEnd::Signal(_) => Self::Outside(end.to_string()),
            // What the worker says when its model or the server is at fault, not a request.
            ProcessEnd::Code(0 | SELF_CHECK_FAILED | PROTOCOL) | ProcessEnd::Unknown => {
                Self::Unknown
            }
            ProcessEnd::Code(_) => Self::Crash(end.to_string()),
        }
    }

    /// Tells whether it speaks against what the worker ran.
    #[must_use]
    pub fn is_evidence(&self) -> bool {
        matches!(self, Self::Crash(_) | Self::Hang(_) | Self::Memory(_))
    }

    /// Returns the kind as one word, fit for a metric's label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crash(_) => "crash",
            Self::Hang(_) => "hang",
            Self::Memory(_) => "memory",
            Self::Outside(_) => "outside",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(why) | Self::Hang(why) | Self::Memory(why) | Self::Outside(why) => {
                write!(f, "{}: {why}", self.kind())
            }
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_of_its_own_making_is_evidence_and_one_from_outside_is_none() {
        for signal in OWN_MAKING {
            assert!(Loss::of(ProcessEnd::Signal(signal), false).is_evidence());
        }
        for outside in [1, 2, 9, 15] {
            let loss = Loss::of(ProcessEnd::Signal(outside), false);
            assert_eq!((loss.kind(), loss.is_evidence()), ("outside", false));
        }
    }

    #[test]
    fn a_kill_is_evidence_only_when_memory_ran_out() {
        let loss = Loss::of(ProcessEnd::Signal(9), true);
        assert_eq!((loss.kind(), loss.is_evidence()), ("memory", true));
    }

    #[test]
    fn an_end_that_nobody_saw_proves_nothing() {
        assert!(!Loss::of(ProcessEnd::Unknown, true).is_evidence());
        for code in [0, SELF_CHECK_FAILED, PROTOCOL] {
            assert!(!Loss::of(ProcessEnd::Code(code), false).is_evidence());
        }
        assert!(Loss::of(ProcessEnd::Code(70), false).is_evidence());
    }
}
