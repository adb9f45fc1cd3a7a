//! Clients that are gone without a word: a cable, a machine, a network that has lost the state.
//!
//! Only the kernel can find out. It asks a silent client whether it is there, and gives up on one
//! that neither answers nor acknowledges what was sent to it. Where the second can be said (on
//! Linux), it also ends a connection whose client is there and takes nothing for as long.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// How often a silent client is asked before it is given up.
const QUESTIONS: u32 = 3;

/// The shortest time the kernel can be told.
const SHORTEST: Duration = Duration::from_secs(1);

/// When a silent client is asked whether it is there.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    silent_for: Duration,
    every: Duration,
}

/// Has the kernel end a connection `within` that time after its client is gone.
pub(crate) fn find(socket: impl AsFd, within: Duration) -> io::Result<()> {
    let socket = socket.as_fd();
    let plan = Plan::of(within);
    sockopt::set_tcp_keepidle(socket, plan.silent_for)?;
    sockopt::set_tcp_keepintvl(socket, plan.every)?;
    sockopt::set_tcp_keepcnt(socket, QUESTIONS)?;
    sockopt::set_socket_keepalive(socket, true)?;
    platform::give_up_on_unacknowledged(socket, within)
}

// === impl Plan ===

impl Plan {
    /// One half of the time is silence, the other that of the questions.
    fn of(within: Duration) -> Self {
        Self {
            silent_for: (within / 2).max(SHORTEST),
            every: (within / (2 * QUESTIONS)).max(SHORTEST),
        }
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use super::{AsFd, Duration, io, sockopt};

    pub(super) fn give_up_on_unacknowledged(socket: impl AsFd, within: Duration) -> io::Result<()> {
        let millis = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        Ok(sockopt::set_tcp_user_timeout(socket, millis)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::{AsFd, Duration, io};

    /// The kernel keeps its own time here.
    pub(super) fn give_up_on_unacknowledged(_: impl AsFd, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_questions_come_in_the_second_half_and_never_faster_than_the_kernel_can() {
        let plan = |silent_for, every| Plan {
            silent_for: Duration::from_secs(silent_for),
            every: Duration::from_secs(every),
        };
        assert_eq!(Plan::of(Duration::from_secs(60)), plan(30, 10));
        assert_eq!(Plan::of(Duration::from_secs(1)), plan(1, 1));
    }

    #[test]
    fn an_accepted_connection_has_the_options_that_find_a_client_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(!sockopt::socket_keepalive(&accepted).unwrap());
        find(&accepted, Duration::from_secs(60)).unwrap();
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        let asked = |seconds| Duration::from_secs(seconds);
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), asked(30));
        assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap(), asked(10));
        assert_eq!(sockopt::tcp_keepcnt(&accepted).unwrap(), 3);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&accepted).unwrap(), 60_000);
    }
}
