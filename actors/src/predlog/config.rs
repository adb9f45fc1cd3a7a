//! The bounds of the prediction log. Times are more than zero.

use std::path::PathBuf;
use std::time::Duration;

/// How the log stores, how much may wait, and how long anything may take.
#[derive(Clone, Debug)]
pub struct PredictionLogConfig {
    /// Folder of the database; made when it is not there.
    pub folder: PathBuf,
    /// The most batches that wait for the writer.
    pub inbox: usize,
    /// The most memory that waiting batches hold, in bytes.
    pub inbox_bytes: usize,
    /// When a transaction takes no more batches, in rows. The last batch may overrun it.
    pub commit_rows: usize,
    /// How long a transaction may take, its sync included.
    pub commit_within: Duration,
    /// How long opening may take, migrations included.
    pub open_within: Duration,
    /// How often an idle database is checked.
    pub check_every: Duration,
    /// How long a check may take.
    pub check_within: Duration,
    /// The pause before a database that failed is tried again; doubled up to `check_every`.
    pub retry_after: Duration,
    /// How long the database waits for another one's lock. Less than the deadlines above, so that
    /// a lock is reported as a lock and not as a silence.
    pub lock_wait: Duration,
    /// After this long without a commit a check writes, to prove that it still can.
    pub write_probe_after: Duration,
    /// Under this much room on the disk the log is unavailable, in bytes.
    pub disk_reserve: u64,
    /// The most connections that read.
    pub readers: u32,
    /// How long a reading may take.
    pub read_within: Duration,
    /// When a page of predictions is cut short, in bytes of their JSON.
    pub page_bytes: usize,
    /// The most threads of the writer that may be with the disk at once, answering or not.
    pub stuck_threads: usize,
}

impl PredictionLogConfig {
    /// Name of the database in its folder.
    pub const FILE: &str = "predictions.db";

    /// Returns the defaults for a database in `folder`.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            inbox: 1024,
            inbox_bytes: 16 << 20,
            commit_rows: 4096,
            commit_within: Duration::from_secs(5),
            open_within: Duration::from_secs(5),
            check_every: Duration::from_secs(2),
            check_within: Duration::from_secs(2),
            retry_after: Duration::from_millis(100),
            lock_wait: Duration::from_secs(1),
            write_probe_after: Duration::from_secs(30),
            disk_reserve: 256 << 10,
            readers: 2,
            read_within: Duration::from_secs(2),
            page_bytes: 8 << 20,
            stuck_threads: 8,
        }
    }

    /// Returns the path of the database.
    pub fn file(&self) -> PathBuf {
        self.folder.join(Self::FILE)
    }
}
