//! How far a download is: counters that whoever shows them reads at any time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::remote::Listing;

/// The counters of one download. Shared by `Arc`; every field may be read while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_done: AtomicU64,
    /// One more than the bytes in all, or 0 where they are not known.
    bytes_in_all: AtomicU64,
    files_done: AtomicU64,
    files_in_all: AtomicU64,
    resumed: AtomicU64,
    retries: AtomicU32,
    current: Mutex<String>,
}

/// What the counters said at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProgressNow {
    /// Bytes that have come, those of earlier attempts included.
    pub bytes_done: u64,
    /// Bytes in all, where the remote said it.
    pub bytes_in_all: Option<u64>,
    /// Files that are whole and verified.
    pub files_done: u64,
    /// Files in all.
    pub files_in_all: u64,
    /// Bytes that were there already when the download began.
    pub resumed: u64,
    /// How often a file had to be tried again.
    pub retries: u32,
    /// The file that was begun last.
    pub current: String,
}

// === impl Progress ===

impl Progress {
    /// Reads the counters.
    #[must_use]
    pub fn now(&self) -> ProgressNow {
        ProgressNow {
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_in_all: self.bytes_in_all.load(Ordering::Relaxed).checked_sub(1),
            files_done: self.files_done.load(Ordering::Relaxed),
            files_in_all: self.files_in_all.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            current: self.lock().clone(),
        }
    }

    pub(super) fn begin(&self, listing: &Listing) {
        let in_all = listing.size().map_or(0, |size| size.saturating_add(1));
        self.bytes_in_all.store(in_all, Ordering::Relaxed);
        let files = listing.files.len() as u64;
        self.files_in_all.store(files, Ordering::Relaxed);
        for counter in [&self.bytes_done, &self.files_done, &self.resumed] {
            counter.store(0, Ordering::Relaxed);
        }
        self.retries.store(0, Ordering::Relaxed);
        self.lock().clear();
    }

    pub(super) fn file_begun(&self, path: &str) {
        path.clone_into(&mut self.lock());
    }

    pub(super) fn file_done(&self) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that were there already.
    pub(super) fn found(&self, bytes: u64) {
        self.resumed.fetch_add(bytes, Ordering::Relaxed);
        self.came(bytes);
    }

    /// Counts bytes that came, and returns how many there are now.
    pub(super) fn came(&self, bytes: u64) -> u64 {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Takes back bytes that turned out to be of no use.
    pub(super) fn lost(&self, bytes: u64) {
        self.bytes_done.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
