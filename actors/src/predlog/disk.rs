//! Questions to the disk, asked on threads that may never come back.
//!
//! A disk that hangs (a network volume, a dying device) holds whatever thread asked it something,
//! beyond any deadline and any signal. So nothing here is asked on a runtime's own threads: its
//! blocking pool would be waited for when the runtime ends, and the actor's end with it. Each
//! question gets a plain thread, the asker stops waiting when it likes, and the threads that stay
//! away are counted: past a bound no more are sent after them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::StoreError;

/// Counts the threads that one writer has in the hands of the disk.
#[derive(Clone, Debug)]
pub(crate) struct ThreadBudget {
    in_use: Arc<AtomicUsize>,
    limit: usize,
}

/// One thread's place in the budget, given back when the thread is done.
#[derive(Debug)]
pub(crate) struct ThreadPermit {
    in_use: Arc<AtomicUsize>,
}

/// Which file a path leads to; another one under the same path is not the one that was opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// What the disk says about an existing database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskFacts {
    pub(crate) identity: FileIdentity,
    /// Room for an ordinary user, in bytes; `None` where the file system does not count.
    pub(crate) free_bytes: Option<u64>,
    /// The database and its write-ahead log, in bytes.
    pub(crate) size_bytes: u64,
}

// === impl ThreadBudget ===

impl ThreadBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            in_use: Arc::default(),
            limit,
        }
    }

    /// Takes a place for one more thread, or says that too many hang already.
    pub(crate) fn take(&self) -> Result<ThreadPermit, StoreError> {
        let take = |in_use| (in_use < self.limit).then_some(in_use + 1);
        match self
            .in_use
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
        {
            Ok(_) => Ok(ThreadPermit {
                in_use: Arc::clone(&self.in_use),
            }),
            Err(in_use) => Err(StoreError::lost(format!(
                "{in_use} threads wait for a disk that hangs"
            ))),
        }
    }

    /// Waits until no thread is with the disk any more, those of connections included.
    pub(crate) async fn all_back(&self) {
        /// A thread ends at its own pace and tells nobody.
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        while self.in_use.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Runs `work` on a thread of its own. There is no deadline here; whoever has one drops the
    /// future, and the thread goes on without being waited for.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.take()?;
        let (answer, answered) = oneshot::channel();
        let spawned = thread::Builder::new()
            .name("predlog-disk".into())
            .spawn(move || {
                let result = work();
                // Given back first: whoever has the answer may count on the place.
                drop(permit);
                // An asker that no longer waits has reported the delay itself.
                let _unheard = answer.send(result);
            });
        spawned.map_err(|error| StoreError::lost(format!("{doing}: no thread: {error}")))?;
        match answered.await {
            Ok(result) => result.map_err(|error| StoreError::lost(format!("{doing}: {error}"))),
            Err(_) => Err(StoreError::lost(format!("{doing}: the thread panicked"))),
        }
    }
}

impl Drop for ThreadPermit {
    fn drop(&mut self) {
        self.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Makes sure that `folder` is there and that the database in it is, or can be, a file. The
/// system's own words are clearer than the database's "unable to open".
///
/// A database that exists is not opened: closing any descriptor of a file gives up the process's
/// locks on it (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
pub(crate) fn prepare(folder: &Path, database: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match fs::metadata(database) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(io::Error::other(format!(
            "{} is not a file",
            database.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(database)
            .map(drop),
        Err(error) => Err(error),
    }
}

/// The most damaged files that are kept: a disk that damages every file must not be filled with them.
const MOST_SET_ASIDE: usize = 8;

/// Gives a damaged database and what belongs to it another name, and returns that of the database.
pub(crate) fn set_aside(database: &Path, stamp: &str) -> io::Result<PathBuf> {
    let folder = database.parent().unwrap_or(Path::new("."));
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let mark = format!("{name}.damaged-");
    let kept = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(&mark) && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .count();
    if kept >= MOST_SET_ASIDE {
        return Err(io::Error::other(format!(
            "{kept} damaged files are kept already ({mark}*): look at the disk, then remove them"
        )));
    }
    let target = folder.join(format!("{mark}{stamp}"));
    for suffix in ["-wal", "-shm", ""] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        match fs::rename(with(database), with(&target)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
    }
    File::open(folder)?.sync_all()?;
    Ok(target)
}

/// Syncs the folder, without which a new file in it may be gone after a loss of power, and returns
/// what the disk says about `database`.
pub(crate) fn settle(folder: &Path, database: &Path) -> io::Result<DiskFacts> {
    File::open(folder)?.sync_all()?;
    inspect(database)
}

/// Returns what the disk says about `database`.
pub(crate) fn inspect(database: &Path) -> io::Result<DiskFacts> {
    let metadata = fs::metadata(database)?;
    let room = rustix::fs::statvfs(database)?;
    let free_bytes = (room.f_blocks > 0).then(|| room.f_bavail.saturating_mul(room.f_frsize));
    let identity = FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    Ok(DiskFacts {
        identity,
        free_bytes,
        size_bytes: metadata.len().saturating_add(ahead(database)?),
    })
}

/// Returns the size of the write-ahead log, which is not there before something has been written.
fn ahead(database: &Path) -> io::Result<u64> {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    match fs::metadata(name) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
