//! The way from the first signal to the exit code.
//!
//! 1. Not ready, alive, and serving on, for the lame-duck time: load balancers see it and send
//!    their traffic elsewhere. Skipped when the server is not alive any more, and cut short when it
//!    ceases to be.
//! 2. New work is refused; what is in flight is answered, up to a deadline. Connections are taken as
//!    before: who comes late gets an answer that says why, and a probe on the main port its own.
//! 3. The predictions that wait are committed.
//! 4. The actors stop in the reverse of their order.
//! 5. The end is recorded.
//!
//! Each step is entered in [`Lifecycle`](crate::health::Lifecycle) with its deadline and left with its outcome, so that log,
//! status and `last-run.json` all tell the same; the health port answers until the last
//! moment.
//!
//! A second signal, or a step that overruns its deadline, ends the process with a code of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use impetus_supervision::{ActorId, Running, StopReport};
use tracing::{error, info, warn};

use super::signals::Signals;
use super::{RECORD_WITHIN, run_state};
use crate::exit::Exit;
use crate::grpc::GrpcServer;
use crate::health::{Outcome, Phase};
use crate::http::AppState;
use crate::last_run::Recorder;
use crate::verdict::Standing;

/// How often what is in flight is looked at while draining.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often it is looked at in the lame-duck time whether the server is alive still.
const ALIVE_EVERY: Duration = Duration::from_millis(100);

/// A server on its way to the end.
pub(super) struct Ending {
    pub(super) state: AppState,
    /// Lives as long as the process: an end that is forced drops nothing on its way.
    pub(super) tree: &'static Running,
    pub(super) grpc: &'static Option<GrpcServer>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) standing: Standing,
}

/// How an end went.
struct End {
    exit: Exit,
    /// Why the server had given itself up before, if it had.
    gave_up: Option<String>,
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
                return self.record("the http server ended by itself", Exit::Internal.into());
            }
        };
        info!(signal = name, "told to end");
        self.tell(&format!("{name} received"));
        let forced = signals.next();
        let orderly = self.end(&handle);
        tokio::pin!(orderly);
        tokio::select! {
            end = &mut orderly => match end.exit {
                Exit::Clean | Exit::Internal => self.record(&format!("{name} received"), end),
                _ => self.record(&format!("{name} received, and a deadline overrun"), end),
            },
            again = forced => {
                warn!(signal = again, "told to end a second time, ending now");
                self.leave(Outcome::CutShort, Some(format!("{again} a second time")));
                let reason = format!("{name} received, and {again} a second time");
                self.record(&reason, Exit::Forced.into())
            }
        }
    }

    /// Ends a server that was told to while it was still starting, and has not served.
    pub(super) async fn end_unserved(self, name: &str) -> Exit {
        info!(signal = name, "told to end while starting");
        self.tell(&format!("{name} received while starting"));
        let stopped = self.stop(Duration::ZERO).await;
        let exit = if stopped { Exit::Clean } else { Exit::Forced };
        self.record(&format!("{name} received while starting"), exit.into())
    }

    async fn end(&self, http: &ServerHandle) -> End {
        let not_alive = self.lame_duck().await;
        // The verdict is reached by a thread of its own, which may be about to.
        let gave_up = self.standing.reason().or(not_alive);
        let drained = self.drain().await;
        let (flushed, left) = self.flush().await;
        let stopped = self.stop(left).await;
        if let Some(grpc) = self.grpc {
            grpc.stop().await;
        }
        http.stop(false).await;
        let exit = if !(drained && flushed && stopped) {
            Exit::Forced
        } else if gave_up.is_some() {
            Exit::Internal
        } else {
            Exit::Clean
        };
        End { exit, gave_up }
    }

    /// Returns why the server is not alive, if it is not.
    async fn lame_duck(&self) -> Option<String> {
        let within = self.state.config.lifecycle.lame_duck.get();
        self.enter(Phase::LameDuck, within);
        let mut outcome = Outcome::Skipped;
        let until = Instant::now() + within;
        loop {
            if let Some(reason) = self.state.plane.live().reason() {
                self.leave(outcome, Some(format!("not alive: {reason}")));
                return Some(reason.to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.leave(Outcome::Done, None);
                return None;
            }
            outcome = Outcome::CutShort;
            tokio::time::sleep(left.min(ALIVE_EVERY)).await;
        }
    }

    async fn drain(&self) -> bool {
        let within = self.state.config.lifecycle.drain_timeout.get();
        self.enter(Phase::Draining, within);
        let traffic = &self.state.traffic;
        let deadline = Instant::now() + within;
        while traffic.in_flight() > 0 {
            if Instant::now() >= deadline {
                let detail = format!("{} requests are unanswered", traffic.in_flight());
                self.leave(Outcome::Overran, Some(detail));
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.leave(Outcome::Done, None);
        true
    }

    /// Returns whether everything has been committed, or was refused, and the time that is left over.
    async fn flush(&self) -> (bool, Duration) {
        let within = self.state.config.lifecycle.flush_timeout.get();
        self.enter(Phase::Flushing, within);
        let Some(predlog) = &self.state.predlog else {
            let detail = "there is no prediction log here".to_owned();
            self.leave(Outcome::Skipped, Some(detail));
            return (true, within);
        };
        let began = Instant::now();
        let flushed = predlog.flush(within).await;
        match flushed {
            Ok(()) => self.leave(Outcome::Done, None),
            Err(late) => self.leave(Outcome::Overran, Some(late.to_string())),
        }
        (flushed.is_ok(), within.saturating_sub(began.elapsed()))
    }

    /// Stops the actors; the time that the step before has left over is theirs as well.
    async fn stop(&self, left: Duration) -> bool {
        let within = self.state.config.lifecycle.stop_timeout.get() + left;
        self.enter(Phase::Stopping, within);
        let report = self.tree.stop(within).await;
        for child in &report.stopped {
            let (actor, seconds) = (&child.id, child.took.as_secs_f64());
            info!(%actor, seconds, in_order = child.in_order, "actor stopped");
        }
        match late(&report) {
            None => self.leave(Outcome::Done, Some("all actors have stopped".to_owned())),
            Some(detail) => self.leave(Outcome::Overran, Some(detail)),
        }
        report.clean
    }

    fn enter(&self, phase: Phase, within: Duration) {
        self.state.lifecycle.enter(phase, within);
        info!(
            step = phase.as_str(),
            within_seconds = within.as_secs_f64(),
            in_flight = self.state.traffic.in_flight(),
            "step of the end begins"
        );
        self.recorder.note(run_state(&self.state.plane));
    }

    fn leave(&self, outcome: Outcome, detail: Option<String>) {
        let Some(step) = self.state.lifecycle.leave(outcome, detail) else {
            return;
        };
        let (name, outcome, seconds) = (step.step, outcome.as_str(), step.seconds);
        let detail = step.detail.unwrap_or_default();
        if matches!(step.outcome, Outcome::Done | Outcome::Skipped) {
            info!(
                step = name,
                outcome, seconds, detail, "step of the end is over"
            );
        } else {
            warn!(
                step = name,
                outcome, seconds, detail, "step of the end is over"
            );
        }
        self.recorder.note(run_state(&self.state.plane));
    }

    /// Adds to the history.
    fn tell(&self, message: &str) {
        if let Some(board) = self.state.plane.sources().board.get() {
            board.note(&ActorId::from("root"), message);
        }
    }

    fn record(&self, reason: &str, end: End) -> Exit {
        let exit = end.exit;
        let reason = match end.gave_up.or_else(|| self.standing.reason()) {
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

// === impl End ===

impl From<Exit> for End {
    fn from(exit: Exit) -> Self {
        Self {
            exit,
            gave_up: None,
        }
    }
}

/// Names the actors that did not stop in time, if there are any.
fn late(report: &StopReport) -> Option<String> {
    let late = report.stopped.iter().filter(|child| !child.in_order);
    let names: Vec<&str> = late.map(|child| child.id.as_str()).collect();
    (!report.clean).then(|| format!("not stopped in time: {}", names.join(", ")))
}
