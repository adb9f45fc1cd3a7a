//! The bounds of the prediction log. Times are more than zero.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
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
    /// How long bringing an older file up to date may take.
    pub migrate_within: Duration,
    /// How long predictions that nobody waits for may wait to be committed together.
    pub flush_interval: Duration,
    /// The most predictions that wait in memory without anybody waiting for them.
    pub buffer_rows: usize,
    /// What is removed, and when.
    pub retention: Retention,
    /// Where predictions go from the file; they stay in it when there is no sink.
    pub sink: Option<SinkSettings>,
    /// How changes in what models say are watched; not at all when absent.
    pub drift: Option<DriftSettings>,
}

/// How long predictions are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// How long; for ever when absent.
    pub keep_for: Option<Duration>,
    /// The most bytes that all of them take; any when absent.
    pub keep_bytes: Option<u64>,
}

/// A sink, and what the forwarder does when it is not there.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Which sink.
    pub target: SinkTarget,
    /// How long one batch may take.
    pub within: Duration,
    /// How often a batch that failed is tried again at once.
    pub retries: u32,
    /// The pause before the first of these; doubled for each further one.
    pub retry_after: Duration,
    /// The pause between attempts after these.
    pub cool_down: Duration,
    /// The most bytes that may wait in the file.
    pub max_backlog: u64,
    /// How long a prediction waits before it is given up; for ever when absent.
    pub max_age: Option<Duration>,
}

/// The sinks.
#[derive(Clone, Debug)]
pub enum SinkTarget {
    /// A PostgreSQL database.
    Postgres(PostgresSettings),
    /// The logging service of another Impetus.
    Impetus(ImpetusSettings),
}

/// How PostgreSQL is reached.
#[derive(Clone)]
pub struct PostgresSettings {
    /// `postgres://user@host/database`, a password included if it has one. Not to be shown.
    pub url: Arc<str>,
    /// A file with the password, read at each connection.
    pub password_file: Option<PathBuf>,
    /// A file with authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// The most rows of one transaction.
    pub rows: usize,
}

/// How another Impetus is reached.
#[derive(Clone)]
pub struct ImpetusSettings {
    /// `http://host:port`, perhaps with a name and a password. Not to be shown.
    pub url: Arc<str>,
    /// A file with authorities to trust besides the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Predictions of one request.
    pub batch: usize,
    /// How long predictions wait for a batch to fill.
    pub batch_timeout: Duration,
}

/// What is compared to tell whether a model's answers change.
#[derive(Clone, Copy, Debug)]
pub struct DriftSettings {
    /// The time up to now.
    pub window: Duration,
    /// The time before it.
    pub reference: Duration,
    /// The fewest predictions in each.
    pub min_predictions: u64,
    /// How often.
    pub every: Duration,
}

// === impl PredictionLogConfig ===

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
            migrate_within: Duration::from_secs(900),
            flush_interval: Duration::from_millis(50),
            buffer_rows: 16_384,
            retention: Retention::default(),
            sink: None,
            drift: None,
        }
    }

    /// Returns the path of the database.
    pub fn file(&self) -> PathBuf {
        self.folder.join(Self::FILE)
    }
}

// === impl SinkTarget ===

impl SinkTarget {
    /// Returns how many predictions are handed over at once, and how long they wait to be so many.
    pub(crate) fn batch(&self) -> (usize, Duration) {
        match self {
            Self::Postgres(settings) => (settings.rows, Duration::ZERO),
            Self::Impetus(settings) => (settings.batch, settings.batch_timeout),
        }
    }
}

// === impl PostgresSettings ===

impl fmt::Debug for PostgresSettings {
    /// Leaves the URL out, for it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

// === impl ImpetusSettings ===

impl fmt::Debug for ImpetusSettings {
    /// Leaves the URL out, for it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpetusSettings")
            .field("ca_file", &self.ca_file)
            .field("batch", &self.batch)
            .field("batch_timeout", &self.batch_timeout)
            .finish_non_exhaustive()
    }
}
