//! One client's connection: whose turn it is, and what ends it.
//!
//! actix ends a connection whose first head is slow to come and one on which nothing happens. It
//! waits for ever for a client that does not take its answer, for the rest of a body that was
//! answered before it had come, and for the rest of a head once there has been a request before.
//! So each connection has a record of whose turn it is and since when, and a second descriptor of
//! its socket. A task on the worker's own event loop looks at the records and shuts down the
//! sockets of clients that have let their turn pass; actix then meets a closed socket, and lets go
//! of all it holds for it.
//!
//! **Invariant:** the clock runs only while it is the client that has to do something. It stands
//! while the server computes, and time in which the event loop itself stood still is given back.
//!
//! A client that is gone without a word is found by the kernel: see [`half_open`].

mod half_open;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::{HttpRequest, rt};
use rustix::net::{Shutdown, shutdown, sockopt};
use tokio::task::JoinHandle;
use tracing::{debug, error, warn};

use super::server::DISCONNECT_WITHIN;
use super::{Closed, Traffic};
use crate::config::HttpConfig;
use crate::health::{Lifecycle, Phase};
pub(crate) use half_open::find as find_half_open;

/// How often a worker looks at its connections.
const LOOK_EVERY: Duration = Duration::from_millis(250);

thread_local! {
    /// The connections of this thread's worker. Those that have ended leave at the next look.
    static CLIENTS: RefCell<Vec<Weak<Client>>> = const { RefCell::new(Vec::new()) };
}

/// A client at the other end of a connection.
pub(super) struct Client {
    /// Keeps the socket from being closed as long as a request of it is left.
    socket: OwnedFd,
    turn: Cell<Turn>,
    /// Whether the request has a body whose end is not known and has not been seen.
    unread: Cell<bool>,
    /// Whether it has connected only when no new work was taken any more.
    late: bool,
}

/// Whose turn it is, and since when if it is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The client is to send a request.
    Asking(Instant),
    /// The server is to answer.
    Answering,
    /// The client is to take a part of the answer.
    Taking(Instant),
    /// The client is to go: it was answered before its body had come.
    Leaving(Instant),
}

/// How long a client's turns may last.
#[derive(Clone, Copy, Debug)]
struct Limits {
    ask: Duration,
    take: Duration,
    leave: Duration,
}

/// The task that looks at a worker's connections; ends when it is dropped.
pub(super) struct Lookout(JoinHandle<()>);

/// Returns what is to be done with each connection as it comes.
pub(super) fn greeter(
    http: &HttpConfig,
    lifecycle: Arc<Lifecycle>,
) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static {
    let half_open_after = http.half_open_timeout.get();
    move |stream, data| {
        let Some(stream) = stream.downcast_ref::<TcpStream>() else {
            error!("a connection is no tcp stream, its client is not watched");
            return;
        };
        let late = lifecycle.phase() >= Phase::Draining;
        match Client::greet(stream, half_open_after, late) {
            Ok(client) => {
                data.insert(client);
            }
            Err(error) => {
                warn!(%error, "a connection cannot be watched, closing it");
                close(stream);
            }
        }
    }
}

// === impl Client ===

impl Client {
    fn greet(stream: &TcpStream, half_open_after: Duration, late: bool) -> io::Result<Rc<Self>> {
        find_half_open(stream, half_open_after)?;
        // The end of an answer is not held back until the client has acknowledged what came before,
        // which clients put off for 40 ms. (actix's own switch has no effect on such a server.)
        stream.set_nodelay(true)?;
        let client = Rc::new(Self {
            socket: stream.as_fd().try_clone_to_owned()?,
            turn: Cell::new(Turn::Asking(Instant::now())),
            unread: Cell::new(false),
            late,
        });
        CLIENTS.with_borrow_mut(|clients| clients.push(Rc::downgrade(&client)));
        Ok(client)
    }

    /// Returns the client that sent a request.
    pub(super) fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        request.conn_data::<Rc<Self>>().cloned()
    }

    /// Tells whether it has connected only when no new work was taken any more.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Notes that it has sent the head of a request, and whether its body comes in chunks: actix
    /// waits for the end of such a body for ever.
    pub(super) fn has_asked(&self, chunked: bool) {
        self.turn.set(Turn::Answering);
        self.unread.set(chunked);
    }

    /// Notes that the body of its request was read to the end.
    pub(super) fn body_was_read(&self) {
        self.unread.set(false);
    }

    /// Tells whether the connection is of no more use: what comes next on it is the rest of a body.
    pub(super) fn is_to_leave(&self) -> bool {
        self.unread.get()
    }

    /// Notes that there is a part of the answer for it to take.
    pub(super) fn takes(&self) {
        self.turn.set(Turn::Taking(Instant::now()));
    }

    /// Notes that it has to wait for the server.
    pub(super) fn waits(&self) {
        self.turn.set(Turn::Answering);
    }

    /// Notes that the answer has been handed over.
    pub(super) fn was_answered(&self) {
        let now = Instant::now();
        self.turn.set(if self.unread.get() {
            Turn::Leaving(now)
        } else {
            Turn::Asking(now)
        });
    }

    /// Shuts the connection down if the client has let its turn pass.
    fn look(&self, now: Instant, limits: &Limits, traffic: &Traffic) {
        let turn = self.turn.get();
        if !turn.has_passed(now, limits) {
            return;
        }
        debug!(?turn, "closing the connection of a client that is too slow");
        if let Turn::Taking(_) = turn {
            traffic.count_closed(Closed::WriteTimeout);
        }
        close(&self.socket);
        self.turn.set(Turn::Answering);
    }
}

// === impl Turn ===

impl Turn {
    fn has_passed(self, now: Instant, limits: &Limits) -> bool {
        let (since, within) = match self {
            Self::Answering => return false,
            Self::Asking(since) => (since, limits.ask),
            Self::Taking(since) => (since, limits.take),
            Self::Leaving(since) => (since, limits.leave),
        };
        now.saturating_duration_since(since) > within
    }

    /// Gives back time in which the server was not there to see what the client did.
    fn later(self, by: Duration) -> Self {
        match self {
            Self::Answering => self,
            Self::Asking(since) => Self::Asking(since + by),
            Self::Taking(since) => Self::Taking(since + by),
            Self::Leaving(since) => Self::Leaving(since + by),
        }
    }
}

// === impl Limits ===

impl Limits {
    fn of(http: &HttpConfig) -> Self {
        Self {
            // actix ends a connection that is silent for the first of these. One on which a head
            // has begun by then has the second to complete it.
            ask: http.keep_alive.get() + http.client_header_timeout.get(),
            take: http.write_timeout.get(),
            leave: DISCONNECT_WITHIN,
        }
    }
}

// === impl Lookout ===

impl Lookout {
    /// Starts looking at the connections of the calling worker.
    pub(super) fn start_here(http: &HttpConfig, traffic: Arc<Traffic>) -> Self {
        let limits = Limits::of(http);
        Self(rt::spawn(async move {
            let mut last = Instant::now();
            loop {
                rt::time::sleep(LOOK_EVERY).await;
                let now = Instant::now();
                // What is due has not been done either while the loop stood still.
                let stood_still = (now - last).saturating_sub(LOOK_EVERY * 2);
                last = now;
                CLIENTS.with_borrow_mut(|clients| {
                    clients.retain(|client| {
                        let Some(client) = client.upgrade() else {
                            return false;
                        };
                        client.turn.set(client.turn.get().later(stood_still));
                        client.look(now, &limits, &traffic);
                        true
                    });
                });
            }
        }))
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends a connection at once: what its client has not taken would keep the kernel's buffers full.
fn close(socket: impl AsFd) {
    // Either fails only when the connection has ended already.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    let _ = shutdown(&socket, Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        ask: Duration::from_secs(80),
        take: Duration::from_secs(30),
        leave: Duration::from_secs(1),
    };

    #[test]
    fn each_turn_of_the_client_has_its_limit_and_the_servers_has_none() {
        let began = Instant::now();
        let after =
            |turn: Turn, seconds| turn.has_passed(began + Duration::from_secs(seconds), &LIMITS);
        for (turn, seconds) in [
            (Turn::Asking(began), 80),
            (Turn::Taking(began), 30),
            (Turn::Leaving(began), 1),
        ] {
            assert!(!after(turn, seconds), "{turn:?}");
            assert!(after(turn, seconds + 1), "{turn:?}");
        }
        assert!(!after(Turn::Answering, 1_000_000));
    }

    #[test]
    fn time_in_which_the_event_loop_stood_still_is_not_the_clients() {
        let began = Instant::now();
        let stood_still = Duration::from_secs(100);
        let turn = Turn::Taking(began).later(stood_still);
        assert!(!turn.has_passed(began + stood_still + LIMITS.take, &LIMITS));
        assert!(turn.has_passed(began + stood_still + LIMITS.take * 2, &LIMITS));
    }
}
