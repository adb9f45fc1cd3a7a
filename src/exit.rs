//! Why the process ended, as the one number that a shell, a unit file or the
//! kubelet sees of it.
//!
//! The numbers from 64 up are those of `sysexits.h`, so that an operator can
//! tell a typing error in a manifest (64: starting again cannot help) from a
//! port that is still taken (69: starting again may help) and both from a
//! server that gave itself up (70) without reading a line of log. A code is
//! chosen in one place, `main`, from this enum alone; no other module calls
//! [`std::process::exit`] with a number of its own.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | orderly end; for `impetus status`: healthy or degraded |
//! | 1 | `impetus status` only: the server says that it is unhealthy |
//! | 2 | `impetus status` only: no server answered |
//! | 64 | wrong usage or wrong configuration; the lines on stderr name each key |
//! | 69 | something needed at the start is not to be had, such as the port |
//! | 70 | gave up: a significant actor could not be healed, or an internal error |
//! | 75 | the end was forced: second signal, or a drain deadline that passed |

use std::process::ExitCode;

/// The ways in which the process can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Everything was answered, written and stopped in order.
    Clean,
    /// `impetus status`: the server answered that it is unhealthy.
    Unhealthy,
    /// `impetus status`: nothing answered under that address in time.
    Unreachable,
    /// The command line or the configuration is wrong; see stderr.
    Usage,
    /// An address cannot be listened on, or another resource is missing at the start.
    Unavailable,
    /// The server gave up on itself, or hit an error that it cannot explain.
    Internal,
    /// The orderly end was cut short by a second signal or by its deadline.
    Forced,
}

// === impl Exit ===

impl Exit {
    /// Returns the number that the parent process sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Unhealthy => 1,
            Self::Unreachable => 2,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::Forced => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
