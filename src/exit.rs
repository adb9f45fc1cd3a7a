//! Why the process ended, as the one number that a shell, a unit file or the
//! kubelet sees of it.
//!
//! The numbers from 64 up are those of `sysexits.h`, so that an operator can
//! tell a typing error in a manifest (64: starting again cannot help) from a
//! port that is still taken (69: starting again may help) and both from a
//! server that gave itself up (70) without reading a line of log. A code is
//! chosen from this enum alone: by `main`, or by [`Exit::now`] where `main` may be blocked. No other
//! module ends the process with a number of its own.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | orderly end; for `impetus status`: healthy or degraded |
//! | 1 | `impetus status`: the server says that it is unhealthy; `impetus predictions`: it cannot read its log; `impetus chat`: it cannot answer; `impetus doctor`: a server of this configuration cannot do what it is to do |
//! | 2 | `impetus status`, `impetus predictions`, `impetus chat`: no server answered |
//! | 64 | wrong usage or wrong configuration; the lines on stderr name each key |
//! | 69 | something needed at the start is not to be had, such as the port |
//! | 70 | told to end after it had given itself up, or an internal error |
//! | 75 | the end was forced: second signal, or a drain deadline that passed |
//! | 76 | gave itself up, and nobody restarted it in time |
//!
//! 75 and 76 mean here what this table says and not what `sysexits.h` has under them.

use std::process::ExitCode;

/// The ways in which the process can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Everything was answered, written and stopped in order.
    Clean,
    /// The server answered that it is unhealthy, or cannot do what it was asked for.
    Unhealthy,
    /// Nothing answered under that address in time.
    Unreachable,
    /// The command line or the configuration is wrong; see stderr.
    Usage,
    /// An address cannot be listened on, or another resource is missing at the start.
    Unavailable,
    /// Told to end after the server had given itself up, or an error that it cannot explain.
    Internal,
    /// The orderly end was cut short by a second signal or by its deadline.
    Forced,
    /// The server gave itself up, and nobody restarted it in time.
    GaveUp,
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
            Self::GaveUp => 76,
        }
    }

    /// Ends the process on the spot, from any thread, whatever the others are blocked in.
    ///
    /// Neither destructors nor handlers of `atexit` run, for they may wait for one that is blocked.
    /// Workers end with the thread that started them, by their parent-death signal.
    pub fn now(self) -> ! {
        impetus_engine::exit_now(self.code().into())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
