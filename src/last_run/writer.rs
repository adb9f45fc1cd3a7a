//! The thread that reads the old file and writes the new one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Sender;
use tracing::{info, warn};

use super::record::{PreviousRun, Record};
use super::store::{ReadError, Store};
use super::{RecorderSettings, RunState, WallClock};
use crate::data_disk::DataDisk;

/// How writing the end went.
pub(super) type Outcome = io::Result<()>;

/// The state of the thread.
pub(super) struct Writer {
    store: Store,
    dir: PathBuf,
    disk: Arc<DataDisk>,
    wall: WallClock,
    record: Record,
    /// What the disk's last failure said, while it fails.
    complaint: Option<String>,
}

// === impl Writer ===

impl Writer {
    /// Hands over what the last run left behind, then marks this one as running.
    pub(super) fn begin(settings: &RecorderSettings, found: &Sender<Option<PreviousRun>>) -> Self {
        let mut writer = Self {
            store: Store::new(&settings.dir),
            dir: settings.dir.clone(),
            disk: Arc::clone(&settings.disk),
            wall: settings.wall.clone(),
            record: Record::begin((settings.wall)()),
            complaint: None,
        };
        let previous = writer.previous();
        if let Err(late) = found.send(previous)
            && let Some(previous) = late.into_inner()
        {
            warn!(
                reason = previous.reason,
                "record of the last run read too late to be shown"
            );
        }
        writer.save();
        writer
    }

    /// Takes over a verdict, or takes it back; the next write has it.
    pub(super) fn judge(&mut self, verdict: Option<String>) {
        self.record.judge(verdict);
    }

    /// Writes a state, an end or both; returns how it went if it was the end.
    pub(super) fn write(
        &mut self,
        state: Option<RunState>,
        end: Option<String>,
    ) -> Option<Outcome> {
        let now = (self.wall)();
        if let Some(state) = state {
            self.record.take(state);
        }
        self.record.seen(now);
        let Some(reason) = end else {
            self.save();
            return None;
        };
        self.record.end(reason, now);
        Some(self.store.write(&self.record))
    }

    fn previous(&self) -> Option<PreviousRun> {
        let file = self.store.path();
        match self.store.read() {
            Ok(record) => record.map(PreviousRun::from),
            Err(error @ ReadError::Unreadable(_)) => {
                warn!(file = %file.display(), %error, "record of the last run lost");
                None
            }
            Err(error @ ReadError::Corrupt(_)) => {
                match self.store.set_aside() {
                    Ok(aside) => {
                        let aside = aside.display();
                        warn!(%error, %aside, "record of the last run set aside");
                    }
                    Err(reason) => {
                        warn!(%error, %reason, "record of the last run lost");
                    }
                }
                None
            }
        }
    }

    /// Writes the record, looks at what room that leaves, and says so when the disk begins or ceases to fail.
    fn save(&mut self) {
        let complaint = self
            .store
            .write(&self.record)
            .err()
            .map(|error| error.to_string());
        self.disk.look(&self.dir);
        if complaint == self.complaint {
            return;
        }
        let file = self.store.path();
        let file = file.display();
        match &complaint {
            Some(reason) => warn!(%file, reason, "record of this run not written"),
            None => info!(%file, "record of this run written again"),
        }
        self.complaint = complaint;
    }
}
