//! The server's verdict on itself: when it is beyond healing, that is said, written down where the
//! kubelet looks for it, and in the end acted upon.
//!
//! Liveness that fails is a request to be restarted. Whoever grants it may do so by SIGKILL, so the
//! reason is written at the moment of the verdict and not at the end: to the log, to the history,
//! to `last-run.json` and to the termination log. If nobody restarts the server within
//! `lifecycle.exit_after_verdict`, it ends by itself; a server that knows that it is broken and
//! stays is worse than one that is gone. A server that comes back to life by itself takes its
//! verdict back.
//!
//! **Invariant.** The thread that watches depends on nothing it judges: it is outside every
//! runtime, reads the few facts that liveness is made of, and neither writes a file nor waits for
//! anybody, but for one deadline right before the end. Files are written by threads of their own.
//! So root, request workers and the main thread may all be blocked, and the disk may hang as well.
//!
//! **How it fails.** A termination log that cannot be written is one line in the log. A process that
//! was frozen as a whole is not given up for it, see [`judge`].

mod judge;
mod termination_log;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use impetus_supervision::{ActorId, Event};
use serde_json::Value;
use tracing::{error, info, warn};

use self::judge::{Judge, Patience, Step};
use self::termination_log::TerminationLog;
use crate::exit::Exit;
use crate::health::HealthPlane;
use crate::last_run::{EVENTS_KEPT, Recorder, RunState};

/// How often the thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the record of the end may take.
const RECORD_WITHIN: Duration = Duration::from_secs(1);
/// What the log's own thread gets for the last line. Waiting until it has been written could last
/// for ever.
const LAST_LINE_WITHIN: Duration = Duration::from_millis(100);

/// The verdict that stands, if one does; written by the watch alone.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Mutex<Option<String>>>);

/// What the watch needs.
pub struct VerdictWatch {
    /// Where the facts are read.
    pub plane: Arc<HealthPlane>,
    /// Where the verdict is kept for the next run.
    pub recorder: Arc<Recorder>,
    /// The file that the kubelet reads; empty for none.
    pub termination_log: PathBuf,
    /// How long a server that is not alive waits to be restarted; `None` for ever.
    pub exit_after: Option<Duration>,
    /// The longest time that an orderly end may take.
    pub ending_takes: Duration,
}

/// Has the watch look at once.
#[derive(Debug, Clone)]
pub struct Bell(Thread);

struct Running {
    plane: Arc<HealthPlane>,
    recorder: Arc<Recorder>,
    termination_log: TerminationLog,
    standing: Standing,
}

// === impl Standing ===

impl Standing {
    /// Returns the reason of the verdict that stands.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

// === impl Bell ===

impl Bell {
    /// Has the watch look at once.
    pub fn ring(&self) {
        self.0.unpark();
    }
}

// === impl VerdictWatch ===

impl VerdictWatch {
    /// Starts the thread. It runs until the process ends.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(self) -> io::Result<(Standing, Bell)> {
        let standing = Standing::default();
        let running = Running {
            termination_log: TerminationLog::start(self.termination_log)?,
            plane: self.plane,
            recorder: self.recorder,
            standing: standing.clone(),
        };
        let judge = Judge::new(
            running.plane.rules().clone(),
            Patience {
                exit_after: self.exit_after,
                ending_takes: self.ending_takes + RECORD_WITHIN,
            },
        );
        let thread = thread::Builder::new()
            .name("verdict".to_owned())
            .spawn(move || running.watch(judge))?;
        Ok((standing, Bell(thread.thread().clone())))
    }
}

// === impl Running ===

impl Running {
    fn watch(self, mut judge: Judge) {
        let mut last = Instant::now();
        loop {
            thread::park_timeout(LOOK_EVERY);
            let facts = self.plane.vital_facts();
            let now = Instant::now();
            match judge.look(facts, now - last) {
                None => {}
                Some(Step::Fallen(reason)) => self.fallen(&reason),
                Some(Step::Recovered(reason)) => self.recovered(&reason),
                Some(Step::Leave(reason)) => self.leave(&reason),
            }
            last = now;
        }
    }

    fn fallen(&self, reason: &str) {
        let events = self.events();
        let at = self.plane.wall();
        self.standing.set(Some(reason.to_owned()));
        self.termination_log.say(reason, at, &events);
        error!(reason, "the server is no longer alive");
        self.recorder.judge(Some(reason.to_owned()));
        self.note(&format!("no longer alive: {reason}"), Some("unhealthy"));
    }

    fn recovered(&self, reason: &str) {
        self.standing.set(None);
        self.termination_log.empty();
        warn!(reason, "the server is alive again");
        self.recorder.judge(None);
        // What its health is now, the next evaluation says.
        self.note(&format!("alive again after: {reason}"), None);
    }

    fn leave(&self, reason: &str) -> ! {
        let exit = Exit::GaveUp;
        error!(
            reason,
            code = exit.code(),
            "gave up and nobody restarted it, ending now"
        );
        let record = format!("gave up and nobody restarted it: {reason}");
        if let Err(error) = self.recorder.finish(record, RECORD_WITHIN) {
            warn!(%error, "the end could not be recorded");
        }
        thread::park_timeout(LAST_LINE_WITHIN);
        exit.now()
    }

    /// Adds to the history, and to the record of this run.
    fn note(&self, message: &str, health: Option<&str>) {
        if let Some(board) = self.plane.sources().board.get() {
            board.note(&ActorId::from("root"), message);
        } else {
            info!("{message}");
        }
        let events = self.events();
        self.recorder.note(RunState {
            health: health.map(str::to_owned),
            events: events
                .into_iter()
                .map(|event| serde_json::to_value(event).unwrap_or(Value::Null))
                .collect(),
            steps: self.plane.steps(),
        });
    }

    fn events(&self) -> Vec<Event> {
        let board = self.plane.sources().board.get();
        board
            .map(|board| board.events(EVENTS_KEPT))
            .unwrap_or_default()
    }
}
