//! Why the last run ended: `last-run.json` in the data folder.
//!
//! A server that Kubernetes restarts has forgotten why. So each run keeps one
//! small file: that it runs, when it was last seen, what its health was, its
//! last events, a verdict if it gave itself up, and at an orderly end the
//! reason and how its steps went. The next run reads the file before it writes its own and shows it
//! as `previous_run`. A file without an end was left by a run that was killed.
//!
//! **Invariant.** The disk is never on anybody's path. One plain thread does
//! all reading and writing; [`Recorder::note`] leaves the newest state in a
//! slot and rings a bell of one place, so that a disk that hangs costs one
//! state's worth of memory and no waiting. Only the start (for the old file)
//! and [`Recorder::finish`] wait, each with a deadline.
//!
//! **How it fails.** A disk that is full or read-only becomes one log line when
//! it begins to fail, and one when it recovers. A file that cannot be
//! understood is set aside as `last-run.json.corrupt`, and said so. A file is
//! replaced as a whole (written beside, synced, renamed), so a crash leaves
//! the old one or the new one. What a hung disk delivers too late for the
//! start is logged instead.

mod record;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;
use tracing::warn;

use crate::data_disk::DataDisk;

pub use record::PreviousRun;
use writer::{Outcome, Writer};

/// Events that are kept.
pub const EVENTS_KEPT: usize = 50;

/// Tells the wall time; injected so that tests can say what it is.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What a recorder needs.
#[derive(Clone)]
pub struct RecorderSettings {
    /// The data folder; made when it does not exist.
    pub dir: PathBuf,
    /// How long the start waits for what the last run left behind.
    pub read_within: Duration,
    /// The wall clock.
    pub wall: WallClock,
    /// Where it is left how much room there is beside the file.
    pub disk: Arc<DataDisk>,
}

/// What there is to say about the present run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunState {
    /// The health as last evaluated.
    pub health: Option<String>,
    /// The latest events, newest last; the last [`EVENTS_KEPT`] are kept.
    pub events: Vec<Value>,
    /// The steps of the end so far, the one under way included.
    pub steps: Vec<Value>,
}

/// Keeps the file of the present run.
///
/// Dropped without [`finish`](Self::finish), it leaves a file without an end.
#[derive(Debug)]
pub struct Recorder {
    slot: Arc<Mutex<Slot>>,
    bell: Sender<()>,
    outcome: Receiver<Outcome>,
}

/// The end was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum NotRecorded {
    /// The disk did not answer in time.
    #[error("the disk did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// The file could not be written.
    #[error("{0}")]
    Failed(#[from] std::io::Error),
    /// There is no thread that could write.
    #[error("nothing was recorded in this run")]
    NoWriter,
}

/// What waits to be written: only the newest counts.
#[derive(Debug, Default)]
struct Slot {
    state: Option<RunState>,
    /// Why the server gives itself up, or that it does not after all.
    verdict: Option<Option<String>>,
    /// The reason of the orderly end; nothing is written after it.
    end: Option<String>,
}

// === impl Recorder ===

impl Recorder {
    /// Reads what the last run left behind and begins the record of this one.
    ///
    /// Waits `read_within` at most. There is no previous run when there is no
    /// file, when it cannot be understood, or when the disk is too slow.
    pub fn start(settings: RecorderSettings) -> (Self, Option<PreviousRun>) {
        let (bell, rung) = bounded(1);
        let (report, outcome) = bounded(1);
        let (found, previous) = bounded(1);
        let slot = Arc::new(Mutex::new(Slot::default()));
        let within = settings.read_within;

        let inbox = Arc::clone(&slot);
        let thread = thread::Builder::new().name("last-run".to_owned());
        let spawned = thread.spawn(move || {
            let mut writer = Writer::begin(&settings, &found);
            while rung.recv().is_ok() {
                let Slot {
                    state,
                    verdict,
                    end,
                } = std::mem::take(&mut *lock(&inbox));
                if let Some(verdict) = verdict {
                    writer.judge(verdict);
                }
                if let Some(outcome) = writer.write(state, end) {
                    // Nobody waits any more once the deadline of `finish` has passed.
                    let _ = report.send(outcome);
                    return;
                }
            }
        });
        if let Err(error) = spawned {
            warn!(%error, "this run is not recorded, no thread for it");
        }

        let previous = previous.recv_timeout(within).unwrap_or_else(|error| {
            if error.is_timeout() {
                let waited = humantime::format_duration(within);
                warn!(%waited, "record of the last run not read in time");
            }
            None
        });
        let recorder = Self {
            slot,
            bell,
            outcome,
        };
        (recorder, previous)
    }

    /// Leaves the state of the run to be written. Never blocks.
    ///
    /// A state that has not been written yet is replaced by a newer one.
    pub fn note(&self, state: RunState) {
        lock(&self.slot).state = Some(state);
        self.ring();
    }

    /// Leaves it to be written why the server gives itself up, or, with `None`, that it does not
    /// after all. Never blocks, and stands whatever states are noted later.
    pub fn judge(&self, verdict: Option<String>) {
        lock(&self.slot).verdict = Some(verdict);
        self.ring();
    }

    /// Records the orderly end and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// When it is not there within that time, or cannot be written.
    pub fn finish(&self, reason: impl Into<String>, within: Duration) -> Result<(), NotRecorded> {
        lock(&self.slot).end = Some(reason.into());
        self.ring();
        match self.outcome.recv_timeout(within) {
            Ok(written) => Ok(written?),
            Err(error) if error.is_timeout() => Err(NotRecorded::Timeout(within)),
            Err(_) => Err(NotRecorded::NoWriter),
        }
    }

    fn ring(&self) {
        // A full bell has been rung and not heard yet; without a listener there is nothing to write.
        let _ = self.bell.try_send(());
    }
}

/// Holds the slot for a moment; it has no invariant that a panic could have broken.
fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
