//! The way from the first signal to the exit code.
//!
//! 1. Not ready, alive, and serving on, for the lame-duck time: load balancers see it and send
//!    their traffic elsewhere. Skipped when the server is not alive any more.
//! 2. No new connections; what is in flight is answered, up to a deadline.
//! 3. The actors stop in the reverse of their order; the prediction log commits what it has.
//! 4. The end is recorded.
//!
//! A second signal, or a step that overruns its deadline, ends the process with a code of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use impetus_supervision::Running;
use tracing::{error, info, warn};

use super::signals::Signals;
use super::{RECORD_WITHIN, run_state};
use crate::exit::Exit;
use crate::health::Phase;
use crate::http::AppState;
use crate::last_run::Recorder;
use crate::verdict::Standing;

/// How often what is in flight is looked at while draining.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A server on its way to the end.
pub(super) struct Ending {
    pub(super) state: AppState,
    /// Lives as long as the process: an end that is forced drops nothing on its way.
    pub(super) tree: &'static Running,
    pub(super) recorder: Arc<Recorder>,
    pub(super) standing: Standing,
}

// === impl Ending ===

impl Ending {
    /// Runs the server until a signal, and then ends it.
    pub(super) async fn run(self, http: Server, mut signals: Signals) -> Exit {
        let handle = http.handle();
        let mut serving = actix_web::rt::spawn(http);
        let name = tokio::select! {
            name = signals.next() => name,
            ended = &mut serving => {
                error!(?ended, "the http server has ended by itself");
                return self.record("the http server ended by itself", Exit::Internal);
            }
        };
        info!(signal = name, "told to end");
        let forced = signals.next();
        let orderly = self.end(&handle);
        tokio::pin!(orderly);
        tokio::select! {
            exit = &mut orderly => match exit {
                Exit::Clean | Exit::Internal => self.record(&format!("{name} received"), exit),
                exit => self.record(&format!("{name} received, and a deadline overrun"), exit),
            },
            again = forced => {
                warn!(signal = again, "told to end a second time, ending now");
                self.record(&format!("{name} received, and {again} a second time"), Exit::Forced)
            }
        }
    }

    /// Ends a server that was told to while it was still starting, and has not served.
    pub(super) async fn end_unserved(self, name: &str) -> Exit {
        info!(signal = name, "told to end while starting");
        let exit = if self.stop().await {
            Exit::Clean
        } else {
            Exit::Forced
        };
        self.record(&format!("{name} received while starting"), exit)
    }

    async fn end(&self, http: &ServerHandle) -> Exit {
        self.lame_duck().await;
        let gave_up = self.standing.reason().is_some();
        let drained = self.drain(http).await;
        let stopped = self.stop().await;
        http.stop(false).await;
        if !(drained && stopped) {
            Exit::Forced
        } else if gave_up {
            Exit::Internal
        } else {
            Exit::Clean
        }
    }

    async fn lame_duck(&self) {
        let lame_duck = self.state.config.lifecycle.lame_duck.get();
        self.state.lifecycle.advance(Phase::LameDuck);
        if self.state.plane.live().alive {
            info!(
                seconds = lame_duck.as_secs_f64(),
                "not ready any more, serving on"
            );
            tokio::time::sleep(lame_duck).await;
        }
    }

    async fn drain(&self, http: &ServerHandle) -> bool {
        let within = self.state.config.lifecycle.drain_timeout.get();
        self.state.lifecycle.advance(Phase::Draining);
        let traffic = &self.state.traffic;
        info!(in_flight = traffic.in_flight(), "draining");
        http.pause().await;
        let deadline = Instant::now() + within;
        while traffic.in_flight() > 0 {
            if Instant::now() >= deadline {
                warn!(
                    in_flight = traffic.in_flight(),
                    "requests are unanswered at the drain deadline"
                );
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    async fn stop(&self) -> bool {
        self.state.lifecycle.advance(Phase::Stopping);
        let lifecycle = &self.state.config.lifecycle;
        let within = lifecycle.stop_timeout.get() + lifecycle.flush_timeout.get();
        let report = self.tree.stop(within).await;
        if report.clean {
            info!("all actors have stopped");
        } else {
            warn!(?report, "some actors did not stop in time");
        }
        report.clean
    }

    fn record(&self, reason: &str, exit: Exit) -> Exit {
        let reason = match self.standing.reason() {
            None => reason.to_owned(),
            Some(verdict) => format!("{reason}, after giving up: {verdict}"),
        };
        self.recorder.note(run_state(&self.state.plane));
        if let Err(error) = self.recorder.finish(reason.clone(), RECORD_WITHIN) {
            warn!(%error, "the end could not be recorded");
        }
        info!(reason, code = exit.code(), "server ends");
        exit
    }
}
