//! The listening side: who is let in, and what ends a connection.
//!
//! Each connection is a task. It ends when its client goes, when nothing has been asked on it for
//! long, when its client does not take its answers, or when the server ends. Whoever can still be
//! spoken to is told first (GOAWAY), so that no call is lost on the way: when the server becomes a
//! lame duck, and again when it takes no new work any more. Connections are taken until the very
//! end, as HTTP's are: who comes late gets an answer that says why.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use super::edge::{Edge, Shared};
use super::gate::{Admission, Gate, Place};
use super::standing::{Patience, Standing, Verdict};
use crate::config::Config;
use crate::health::Phase;
use crate::http::{Closed, find_half_open};

/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long nobody is let in when the operating system has no descriptor left.
const REST: Duration = Duration::from_millis(100);
/// How long a client may take to go that was told to.
const GO_WITHIN: Duration = Duration::from_secs(5);
/// Bytes that may be on their way to the server on one stream and on one connection: a tensor of
/// some megabytes does not wait for its client to hear that there is room.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The largest frame that a client may send: fewer of them for the same tensor.
const FRAME: u32 = 256 << 10;

/// What lets connections in.
pub(super) struct Listener {
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Gate,
    pub(super) stop: watch::Receiver<bool>,
}

/// One connection, before it is served.
struct Arrival {
    socket: TcpStream,
    place: Place,
    standing: Arc<Standing>,
}

// === impl Listener ===

impl Listener {
    /// Lets connections in until the server stops.
    pub(super) async fn run(self, listener: StdListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let this = Arc::new(self);
        let mut stop = this.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut stop) => return Ok(()),
            };
            match accepted {
                Ok((socket, peer)) => this.admit(socket, peer),
                Err(error) => {
                    warn!(%error, "a grpc connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        let state = &self.shared.state;
        let late = state.lifecycle.phase() >= Phase::Draining;
        let Some((place, admission)) = self.gate.enter(late) else {
            debug!("too many grpc connections, one is refused");
            return;
        };
        if admission == Admission::Probes {
            debug!("every place is taken, a grpc connection is let in for probes alone");
        }
        let half_open_after = state.config.http.half_open_timeout.get();
        let watched = find_half_open(&socket, half_open_after);
        if let Err(error) = watched.and_then(|()| socket.set_nodelay(true)) {
            warn!(%error, "a grpc connection cannot be watched, closing it");
            return;
        }
        let is_local = peer.ip().to_canonical().is_loopback();
        let arrival = Arrival {
            socket,
            place,
            standing: Arc::new(Standing::new(admission, is_local)),
        };
        let this = Arc::clone(self);
        tokio::spawn(async move { this.serve(arrival).await });
    }

    async fn serve(&self, arrival: Arrival) {
        let Arrival {
            socket,
            place: _place,
            standing,
        } = arrival;
        let config = &self.shared.state.config;
        if !has_spoken(&socket, config.http.client_header_timeout.get()).await {
            debug!("a grpc client said nothing, closing its connection");
            return;
        }
        let edge = Edge::new(Arc::clone(&self.shared), Arc::clone(&standing));
        let connection = protocol(config).serve_connection(TokioIo::new(socket), edge);
        let mut connection = pin!(connection);
        let mut phase = self.shared.state.lifecycle.watch();
        let mut stop = self.stop.clone();
        let mut watch = Watch::new(config, standing);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    debug!(?ended, "a grpc connection has ended");
                    return;
                }
                verdict = watch.next() => match verdict {
                    Verdict::Well => {}
                    Verdict::Idle => connection.as_mut().graceful_shutdown(),
                    Verdict::Stays => return,
                    Verdict::Stuck => {
                        debug!("closing the grpc connection of a client that is too slow");
                        self.shared.state.traffic.count_closed(Closed::WriteTimeout);
                        return;
                    }
                },
                _ = phase.changed() => connection.as_mut().graceful_shutdown(),
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    // What is left are streams that would never end by themselves.
                    let _ = timeout(super::STOP_WITHIN, connection).await;
                    return;
                }
            }
        }
    }
}

/// Waits for the first byte of a client: one of HTTP/2 speaks first, and at once.
async fn has_spoken(socket: &TcpStream, within: Duration) -> bool {
    let first = timeout(within, socket.peek(&mut [0])).await;
    matches!(first, Ok(Ok(1)))
}

/// Waits until the server stops, or until nobody is there any more who could tell.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Looks at a connection again and again.
struct Watch {
    standing: Arc<Standing>,
    patience: Patience,
    ticks: tokio::time::Interval,
    last: Instant,
    told_to_go: Option<Instant>,
}

// === impl Watch ===

impl Watch {
    fn new(config: &Config, standing: Arc<Standing>) -> Self {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            standing,
            patience: Patience {
                idle: config.grpc.idle_timeout.get(),
                take: config.http.write_timeout.get(),
            },
            ticks,
            last: Instant::now(),
            told_to_go: None,
        }
    }

    async fn next(&mut self) -> Verdict {
        self.ticks.tick().await;
        let now = Instant::now();
        let stood_still = (now - self.last).saturating_sub(LOOK_EVERY * 2);
        self.last = now;
        if !stood_still.is_zero() {
            self.standing.give_back(stood_still);
        }
        let verdict = self.standing.look(now, self.patience);
        match (verdict, self.told_to_go) {
            (Verdict::Idle, None) => self.told_to_go = Some(now),
            (Verdict::Idle, Some(told)) if now - told > GO_WITHIN => return Verdict::Stays,
            _ => {}
        }
        verdict
    }
}

fn protocol(config: &Config) -> http2::Builder<TokioExecutor> {
    let grpc = &config.grpc;
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .max_concurrent_streams(grpc.max_concurrent_streams)
        .keep_alive_interval(grpc.keepalive_interval.get())
        .keep_alive_timeout(grpc.keepalive_timeout.get())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    protocol
}
