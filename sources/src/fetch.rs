//! Downloads that pick up where they were left.
//!
//! What is listed at a [`Remote`] is brought into a folder, several files at a time. A file grows as
//! a part beside a note of what it is a part of, both below [`WORK_FOLDER`]; when it is whole and its
//! digest is the one that was promised, it is made durable and takes its name. So whatever ends a
//! download early (the future is dropped, the process is killed, the disk is full) leaves parts that
//! the next call goes on with, and nothing that looks like a file of the model without being one.
//!
//! **A part is taken up only if it certainly belongs to what is listed now**: the note must name the
//! same size and entity tag, and there must be a size, and a tag or a checksum, at all. The bytes that are there
//! already are hashed again. After a crash of the machine a part may be long enough and yet have
//! holes, so one that was begun before the machine was last started counts only where a checksum
//! will judge the whole.
//!
//! An interrupted connection, a silent one and a body that ends early are tried again, each after a
//! longer pause, for as long as some [`PROGRESS`] is made between two failures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};

use crate::remote::{Listing, Remote, RemoteError, RemoteFile};

mod digest;
mod file;
mod manifest;
mod part;
mod progress;
mod writer;

pub(crate) use digest::sha256;
pub use digest::{Digests, Hasher};
pub use manifest::{MANIFEST, Manifest, ManifestFile};
pub use progress::{Progress, ProgressNow};

/// The folder below the target in which parts lie while a download is under way.
pub const WORK_FOLDER: &str = ".impetus-fetch";

/// How many bytes must have come since the last failure for the count of attempts to start anew.
pub const PROGRESS: u64 = 1 << 20;

/// What is to be downloaded, and where to.
#[derive(Debug, Clone)]
pub struct FetchOrder {
    /// The files, as the remote listed them.
    pub listing: Listing,
    /// The folder that is to hold them; it is made where it does not exist.
    pub into: PathBuf,
    /// Where they come from, in words for the manifest.
    pub from: String,
    /// The time now for the manifest, in seconds since 1970.
    pub at: u64,
}

/// The bounds of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// How many files are read at a time.
    pub parallel: usize,
    /// How many files a model may have.
    pub files: usize,
    /// How many bytes a model may have.
    pub bytes: u64,
    /// How long a connection may say nothing.
    pub stall: Duration,
    /// How often in a row a file is tried again without progress.
    pub retries: u32,
    /// The pause before the first new attempt; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long all of it may take.
    pub within: Duration,
}

/// Why a download did not succeed. What has come is kept, but for a file whose checksum is wrong.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The remote said so.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A connection said nothing for too long, more often than is tried.
    #[error("{path} came to a halt: nothing was received for {seconds} s; try again later")]
    Stalled {
        /// The file.
        path: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// A file has another length than was said, more often than is tried.
    #[error("{path} has {found} bytes where {expected} were announced; list it again")]
    Length {
        /// The file.
        path: String,
        /// What was said, in bytes.
        expected: u64,
        /// What came, in bytes; of a longer one no more than the first that is too many.
        found: u64,
    },
    /// A file's content is not what it must be; it has been removed.
    #[error(
        "{path} does not have the content that was promised: its checksum is {found}, not {expected}; it has been removed"
    )]
    Checksum {
        /// The file.
        path: String,
        /// The digest that was promised, in hexadecimal digits.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// The disk is full.
    #[error(
        "the disk of {} is full{}; make room and try again, what has come is kept",
        at.display(), wanted(*.needed, *.free)
    )]
    DiskFull {
        /// The folder.
        at: PathBuf,
        /// How many bytes were still to come, where that is known.
        needed: Option<u64>,
        /// How many bytes are free, where that is known.
        free: Option<u64>,
    },
    /// The disk does not do what it must.
    #[error("{} cannot be {doing}: {why}", at.display())]
    Disk {
        /// The file or folder.
        at: PathBuf,
        /// What was tried, in the past participle.
        doing: &'static str,
        /// What the system says.
        why: String,
    },
    /// The model has more files, or more bytes, than the limits allow.
    #[error("it has {found} {what}, which is more than the {most} that the limits allow")]
    TooMuch {
        /// `files` or `bytes`.
        what: &'static str,
        /// How many there are, as far as was seen.
        found: u64,
        /// How many there may be.
        most: u64,
    },
    /// The listing names something that cannot be a file of a model.
    #[error("{path:?} cannot be a file of a model: {why}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It took too long altogether.
    #[error("the download is not done after {seconds} s; what has come is kept, try again")]
    TooLong {
        /// How long it may take, in seconds.
        seconds: u64,
    },
}

/// Brings what is listed into a folder and returns what it came to, once all of it is durable.
///
/// Dropping the future ends the download; another call with the same order goes on with what is there.
///
/// # Errors
///
/// [`FetchError`] says what failed and what became of the bytes. [`RemoteError::Changed`] asks for
/// another listing: what is in the folder and still is the same is kept then too.
pub async fn fetch(
    remote: &dyn Remote,
    order: &FetchOrder,
    limits: &FetchLimits,
    progress: &Progress,
) -> Result<Manifest, FetchError> {
    check(&order.listing, limits)?;
    progress.begin(&order.listing);
    let all = bring(remote, order, limits, progress);
    let seconds = limits.within.as_secs();
    tokio::time::timeout(limits.within, all)
        .await
        .unwrap_or(Err(FetchError::TooLong { seconds }))
}

async fn bring(
    remote: &dyn Remote,
    order: &FetchOrder,
    limits: &FetchLimits,
    progress: &Progress,
) -> Result<Manifest, FetchError> {
    let (listing, into) = (order.listing.clone(), order.into.clone());
    blocking(move || part::prepare(&listing, &into)).await?;
    let fetching = file::Fetching {
        remote,
        into: &order.into,
        limits,
        progress,
    };
    let parallel = limits.parallel.max(1);
    let mut files: Vec<ManifestFile> = stream::iter(&order.listing.files)
        .map(|file| fetching.file(file))
        .buffer_unordered(parallel)
        .try_collect()
        .await?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let into = order.into.clone();
    let paths = files.iter().map(|file| file.path.clone()).collect();
    blocking(move || part::conclude(&into, paths)).await?;
    Ok(Manifest {
        from: order.from.clone(),
        at: order.at,
        files,
    })
}

/// Refuses a listing that is too large or that reaches out of its folder.
fn check(listing: &Listing, limits: &FetchLimits) -> Result<(), FetchError> {
    let too_much = |what, found, most| Err(FetchError::TooMuch { what, found, most });
    let files = &listing.files;
    if files.len() > limits.files {
        return too_much("files", files.len() as u64, limits.files as u64);
    }
    let known: u64 = files
        .iter()
        .filter_map(|file| file.size)
        .fold(0, u64::saturating_add);
    if known > limits.bytes {
        return too_much("bytes", known, limits.bytes);
    }
    let mut seen = std::collections::BTreeSet::new();
    for RemoteFile { path, .. } in files {
        let wrong = |why| {
            let path = path.clone();
            Err(FetchError::Path { path, why })
        };
        let top = path.split('/').next().unwrap_or_default();
        if !RemoteFile::is_safe(path) {
            return wrong("it does not stay below its folder on every system");
        }
        if top.starts_with(".impetus-") {
            return wrong("names that begin with .impetus- are for the server's own use");
        }
        if !seen.insert(path) {
            return wrong("it is listed twice");
        }
    }
    Ok(())
}

// === impl FetchLimits ===

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            parallel: 4,
            files: 10_000,
            bytes: 1 << 40,
            stall: Duration::from_secs(30),
            retries: 5,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(15),
            within: Duration::from_secs(6 * 60 * 60),
        }
    }
}

impl FetchLimits {
    /// Returns the pause before the attempt that follows this many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
        self.first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause)
    }
}

// === impl FetchError ===

impl FetchError {
    /// Tells whether the same may well succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Remote(error) => error.is_transient(),
            Self::Stalled { .. } | Self::Length { .. } | Self::TooLong { .. } => true,
            Self::Checksum { .. }
            | Self::DiskFull { .. }
            | Self::Disk { .. }
            | Self::TooMuch { .. }
            | Self::Path { .. } => false,
        }
    }

    /// Tells whether the remote is to be listed again before another attempt.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        matches!(self, Self::Remote(RemoteError::Changed { .. }))
    }

    fn disk(at: &Path, doing: &'static str, error: &std::io::Error) -> Self {
        let full = matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        let at = at.to_owned();
        if full {
            let free = part::free(&at);
            let needed = None;
            return Self::DiskFull { at, needed, free };
        }
        let why = error.to_string();
        Self::Disk { at, doing, why }
    }
}

fn wanted(needed: Option<u64>, free: Option<u64>) -> String {
    match (needed, free) {
        (Some(needed), Some(free)) => {
            format!(": {needed} bytes are still to come, {free} are free")
        }
        (Some(needed), None) => format!(": {needed} bytes are still to come"),
        (None, Some(free)) => format!(": {free} bytes are free"),
        (None, None) => String::new(),
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    spawn_blocking(what)
        .await
        .unwrap_or_else(|error| Err(ended(&error)))
}

/// What it means that a blocking part ended without a result.
fn ended(error: &JoinError) -> FetchError {
    FetchError::Disk {
        at: PathBuf::new(),
        doing: "worked on",
        why: error.to_string(),
    }
}
