//! The downloads there are and were: what people see of them, and where they are cancelled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use impetus_supervision::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::sources::arrival::Arrival;

/// How many are remembered, the oldest of those that are over being forgotten first.
const REMEMBERED: usize = 256;

/// Every download that is remembered.
#[derive(Debug, Default)]
pub(super) struct Records {
    all: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last_id: u64,
    /// What is counted of those that are over.
    over: Counted,
    records: VecDeque<Arc<Download>>,
}

/// What is counted of downloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those whose files are here.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
    /// Bytes of all of these.
    pub bytes: u64,
    /// Those that are under way.
    pub running: usize,
}

/// One download.
#[derive(Debug)]
pub struct Download {
    id: u64,
    name: String,
    source: String,
    began: Timestamp,
    now: Mutex<Now>,
    cancelled: watch::Sender<bool>,
}

#[derive(Debug)]
struct Now {
    state: DownloadState,
    version: Option<String>,
    reason: String,
    ended: Option<Timestamp>,
    arrival: Option<Arc<Arrival>>,
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    /// Its source has not said yet which version it is, or others are before it.
    Queued,
    /// Its files come.
    Running,
    /// Its files are here.
    Done,
    /// It has failed, and is tried again by another download after a pause.
    Failed,
    /// Somebody has cancelled it; it begins again when it is asked for again.
    Cancelled,
}

/// What is shown of a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DownloadStatus {
    /// Its number, by which it is cancelled.
    pub id: u64,
    /// The name under which the model is served.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    /// Which version it is, once that is known.
    #[schema(required)]
    pub version: Option<String>,
    /// How far it is.
    pub state: DownloadState,
    /// Why it is in that state; empty when there is nothing to say.
    pub reason: String,
    /// Bytes that are here.
    pub bytes_done: u64,
    /// Bytes in all, as far as they are known.
    pub bytes_total: u64,
    /// Files that are here.
    pub files_done: u64,
    /// Files in all.
    pub files_total: u64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub began: Timestamp,
    /// When it was over.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
}

// === impl DownloadState ===

impl DownloadState {
    /// Returns the name used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

// === impl Counted ===

impl Counted {
    /// Returns how many downloads have ended so.
    #[must_use]
    pub fn of(self, end: DownloadState) -> u64 {
        match end {
            DownloadState::Done => self.done,
            DownloadState::Failed => self.failed,
            DownloadState::Cancelled => self.cancelled,
            DownloadState::Queued | DownloadState::Running => 0,
        }
    }
}

// === impl Records ===

impl Records {
    /// Adds a download that waits, or returns the one that there is for that name and is not over.
    pub(super) fn queue(&self, name: &str, source: &str, at: Timestamp) -> Arc<Download> {
        let mut all = self.all();
        let is_it = |d: &&Arc<Download>| d.name == name && d.source == source && !d.is_over();
        if let Some(there) = all.records.iter().find(is_it) {
            return Arc::clone(there);
        }
        all.last_id += 1;
        let download = Arc::new(Download::new(all.last_id, name, source, at));
        if all.records.len() >= REMEMBERED {
            let over = all.records.iter().position(|download| download.is_over());
            // With that many under way, the oldest is forgotten though it goes on.
            all.records.remove(over.unwrap_or_default());
        }
        all.records.push_back(Arc::clone(&download));
        download
    }

    /// Returns all, the newest first.
    pub(super) fn statuses(&self) -> Vec<DownloadStatus> {
        let all = self.all();
        all.records.iter().rev().map(|d| d.status()).collect()
    }

    /// Notes how a download has ended.
    pub(super) fn end(
        &self,
        download: &Download,
        state: DownloadState,
        reason: &str,
        at: Timestamp,
    ) {
        if download.end(state, reason, at) {
            let bytes = download.status().bytes_done;
            let over = &mut self.all().over;
            over.bytes += bytes;
            match state {
                DownloadState::Done => over.done += 1,
                DownloadState::Cancelled => over.cancelled += 1,
                _ => over.failed += 1,
            }
        }
    }

    /// Returns what is counted.
    pub(super) fn counted(&self) -> Counted {
        let all = self.all();
        let running = all.records.iter().filter(|download| download.is_running());
        Counted {
            running: running.count(),
            ..all.over
        }
    }

    /// Returns those that wait.
    pub(super) fn queued(&self) -> Vec<Arc<Download>> {
        let all = self.all();
        all.records
            .iter()
            .filter(|d| d.is_queued())
            .cloned()
            .collect()
    }

    /// Returns the one with that number.
    pub(super) fn get(&self, id: u64) -> Option<Arc<Download>> {
        let all = self.all();
        all.records.iter().find(|d| d.id == id).cloned()
    }

    fn all(&self) -> MutexGuard<'_, Inner> {
        // Nothing inside these sections can leave the records half-changed.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Download ===

impl Download {
    fn new(id: u64, name: &str, source: &str, began: Timestamp) -> Self {
        Self {
            id,
            name: name.to_owned(),
            source: source.to_owned(),
            began,
            now: Mutex::new(Now {
                state: DownloadState::Queued,
                version: None,
                reason: String::new(),
                ended: None,
                arrival: None,
            }),
            cancelled: watch::Sender::new(false),
        }
    }

    /// Returns the name under which the model is served.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what is shown of it.
    #[must_use]
    pub fn status(&self) -> DownloadStatus {
        let now = self.now();
        let (bytes_done, bytes_total) = now.arrival.as_ref().map(|a| a.bytes()).unwrap_or_default();
        let progress = now.arrival.as_ref().map(|arrival| arrival.progress().now());
        let progress = progress.unwrap_or_default();
        DownloadStatus {
            id: self.id,
            name: self.name.clone(),
            source: self.source.clone(),
            version: now.version.clone(),
            state: now.state,
            reason: now.reason.clone(),
            bytes_done,
            bytes_total,
            files_done: progress.files_done,
            files_total: progress.files_in_all,
            began: self.began,
            ended: now.ended,
        }
    }

    /// Ends it. It can be resumed by asking for it again.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Waits until somebody cancels it.
    pub(super) async fn until_cancelled(&self) {
        let mut cancelled = self.cancelled.subscribe();
        // It cannot be closed: the sender is here.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    }

    pub(super) fn run(&self, version: String, arrival: Arc<Arrival>) {
        let mut now = self.now();
        now.state = DownloadState::Running;
        now.reason.clear();
        now.version = Some(version);
        now.arrival = Some(arrival);
    }

    /// Notes how it ended, unless it had: the first end is the one that counts. Tells whether this is it.
    fn end(&self, state: DownloadState, reason: &str, at: Timestamp) -> bool {
        let mut now = self.now();
        let first = now.ended.is_none();
        if first {
            now.state = state;
            now.reason = reason.to_owned();
            now.ended = Some(at);
        }
        first
    }

    /// Notes why it waits.
    pub(super) fn wait(&self, reason: String) {
        self.now().reason = reason;
    }

    pub(super) fn is_queued(&self) -> bool {
        self.now().state == DownloadState::Queued
    }

    fn is_running(&self) -> bool {
        self.now().state == DownloadState::Running
    }

    pub(super) fn is_over(&self) -> bool {
        self.now().ended.is_some()
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        Timestamp::from(std::time::SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_download_that_is_asked_for_twice_is_one_until_it_is_over() {
        let records = Records::default();
        let first = records.queue("a", "s3://b/a", at());
        assert!(Arc::ptr_eq(&first, &records.queue("a", "s3://b/a", at())));
        records.end(&first, DownloadState::Failed, "no", at());
        records.end(&first, DownloadState::Done, "", at());
        let counted = Counted {
            failed: 1,
            ..Counted::default()
        };
        assert_eq!(records.counted(), counted);
        let second = records.queue("a", "s3://b/a", at());
        let statuses = records.statuses();
        assert_eq!(statuses.len(), 2);
        assert_eq!(
            (statuses[0].id, statuses[0].state),
            (2, DownloadState::Queued)
        );
        assert_eq!(
            (statuses[1].id, statuses[1].state),
            (1, DownloadState::Failed)
        );
        assert!(Arc::ptr_eq(&second, &records.get(2).unwrap()));
    }

    #[test]
    fn those_that_are_over_are_forgotten_first() {
        let records = Records::default();
        let running = records.queue("running", "s3://b/a", at());
        for number in 0..REMEMBERED * 2 {
            let name = format!("m{number}");
            let download = records.queue(&name, "s3://b/a", at());
            records.end(&download, DownloadState::Done, "", at());
        }
        assert_eq!(records.statuses().len(), REMEMBERED);
        assert!(records.get(running.status().id).is_some());
    }
}
