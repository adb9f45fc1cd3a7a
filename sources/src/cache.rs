//! The folder that downloads end in, shared by every process and pod that mounts it.
//!
//! ```text
//! ROOT/NAME/KEY/                     an entry: the files of a model and its manifest
//! ROOT/.staging/NAME/KEY/HOLDER/     a download under way
//! ROOT/.pins/NAME/KEY/HOLDER         a model that somebody has loaded
//! ROOT/.trash/HOLDER/                what is being deleted
//! ROOT/.drafts/HOLDER/               what is about to appear somewhere else
//! ```
//!
//! The volume may be a network's, whose locks are not to be trusted and whose pods have clocks of
//! their own. So **nothing here locks a file or compares clocks**. What decides is `rename` of a
//! folder, which exactly one of several contenders succeeds in:
//!
//! - an entry appears whole or not at all, because it is renamed into its place;
//! - a download belongs to the holder that its folder is named after. Taking it over is renaming it,
//!   so whoever held it before finds its paths gone: it can neither go on nor finish by mistake,
//!   however long it was paused ("fencing");
//! - an entry is evicted by being renamed into the trash.
//!
//! A holder shows that it lives by rewriting a small file now and then. Others call it dead once they
//! have seen, for a whole [`CacheSettings::ttl`] on their own monotonic clock, that the file says the
//! same. An observer that has just started therefore believes everybody alive.
//!
//! Every method waits without blocking its thread; what blocks is done where it may. Dropping a
//! [`Staging`] or a [`Pin`] gives it back with one quick call to the file system.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::fetch::Manifest;

mod beat;
mod disk;
mod entry;
mod name;
mod pin;
mod room;
mod staging;

use beat::Watch;
pub use entry::{Entry, Key};
pub use pin::Pin;
pub use room::{Freed, Usage};
pub use staging::{Staged, Staging};

const STAGING: &str = ".staging";
const PINS: &str = ".pins";
const TRASH: &str = ".trash";
const DRAFTS: &str = ".drafts";
/// How often within a lease's time a holder is looked at.
const LOOKS: u32 = 20;

/// How a cache is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Its folder; it is made where it does not exist.
    pub root: PathBuf,
    /// How many bytes it may hold.
    pub bytes: u64,
    /// What tells this process from every other that shares the folder, for good: a UUID of its
    /// own. Letters, digits and `-`, 64 at most.
    pub owner: String,
    /// How long a holder may be silent before it counts as dead. Holders renew three times as often.
    pub ttl: Duration,
    /// After how long an abandoned download is deleted, by the file system's own clock.
    pub abandoned: Duration,
}

/// A cache. Cheap to clone; the clones are one.
#[derive(Debug, Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: CacheSettings,
    holders: AtomicU64,
    watch: Watch,
}

/// Why a cache cannot do what it is asked.
#[derive(Debug, Error)]
pub enum CacheError {
    /// What is loaded, or under way, leaves too little room.
    #[error(
        "the cache {} has no room for {needed} bytes: it may hold {most}, and {held} are loaded or under way; raise its limit or unload a model",
        root.display()
    )]
    Full {
        /// Its folder.
        root: PathBuf,
        /// How many bytes were asked for.
        needed: u64,
        /// How many bytes it may hold.
        most: u64,
        /// How many bytes cannot be evicted now.
        held: u64,
    },
    /// Somebody else is downloading the same and has not finished in time.
    #[error(
        "{name} {key} is being downloaded by {holder}, which has not finished after {seconds} s; try again later"
    )]
    Busy {
        /// The entry's name.
        name: String,
        /// The entry's key.
        key: String,
        /// Who holds it.
        holder: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// It was taken over by another process, which took this one for dead.
    #[error("{name} {key} is not held by this process any more: another one has taken it over")]
    Lost {
        /// The entry's name.
        name: String,
        /// The entry's key.
        key: String,
    },
    /// A folder does not hold what its manifest says.
    #[error("{} does not hold what its manifest says: {why}", at.display())]
    Incomplete {
        /// The folder.
        at: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The settings cannot be used.
    #[error("the cache cannot be set up: {why}")]
    Settings {
        /// What is wrong.
        why: &'static str,
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
}

// === impl Cache ===

impl Cache {
    /// Opens a cache and makes its folder.
    ///
    /// # Errors
    ///
    /// [`CacheError::Settings`] and [`CacheError::Disk`].
    pub async fn open(settings: CacheSettings) -> Result<Self, CacheError> {
        let inner = Inner::try_new(settings)?;
        let cache = Self {
            inner: Arc::new(inner),
        };
        cache.blocking(Inner::make_folders).await?;
        Ok(cache)
    }

    /// Returns an entry, if there is a whole one, and notes that it was used.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`].
    pub async fn entry(&self, key: &Key) -> Result<Option<Entry>, CacheError> {
        let key = key.clone();
        self.blocking(move |inner| inner.entry(&key)).await
    }

    /// Returns every whole entry, in the order of names and keys. Does not count as use.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`].
    pub async fn entries(&self) -> Result<Vec<Entry>, CacheError> {
        self.blocking(Inner::entries).await
    }

    /// Takes the right to download an entry, or returns the entry where there is one.
    ///
    /// Where another process downloads the same, this waits until it has finished, has given up or
    /// counts as dead; its parts are gone on with then.
    ///
    /// # Errors
    ///
    /// [`CacheError::Busy`] once `within` is over, [`CacheError::Disk`].
    pub async fn stage(&self, key: &Key, within: Duration) -> Result<Staged, CacheError> {
        let ttl = self.inner.settings.ttl;
        let pause = (ttl / LOOKS).clamp(Duration::from_millis(5), Duration::from_millis(250));
        let deadline = Instant::now() + within;
        loop {
            let wanted = key.clone();
            let taken = self.blocking(move |inner| inner.take(&wanted)).await?;
            let holder = match taken {
                staging::Taken::There(entry) => return Ok(Staged::There(entry)),
                staging::Taken::Ours(holding) => {
                    return Ok(Staged::Ours(Staging::new(Arc::clone(&self.inner), holding)));
                }
                staging::Taken::Theirs(holder) => holder,
            };
            if Instant::now() >= deadline {
                return Err(CacheError::Busy {
                    name: key.name.clone(),
                    key: key.key.clone(),
                    holder,
                    seconds: within.as_secs(),
                });
            }
            sleep(pause.min(deadline - Instant::now())).await;
        }
    }

    /// Keeps an entry from being evicted, by any process, for as long as the pin is renewed.
    ///
    /// Returns nothing where there is no such entry (any more).
    ///
    /// # Errors
    ///
    /// [`CacheError::Busy`] where somebody has been evicting it for longer than a lease's time,
    /// [`CacheError::Disk`].
    pub async fn pin(&self, key: &Key) -> Result<Option<Pin>, CacheError> {
        pin::pin(&self.inner, key).await
    }

    /// Makes room for so many bytes, by evicting what was used least recently and is not pinned.
    ///
    /// Two processes that ask at once may both count on the same room.
    ///
    /// # Errors
    ///
    /// [`CacheError::Full`] where what may be evicted does not suffice; nothing is evicted then.
    pub async fn make_room(&self, bytes: u64) -> Result<Freed, CacheError> {
        self.blocking(move |inner| inner.make_room(bytes)).await
    }

    /// Removes an entry, unless it is pinned; tells whether it is gone.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`].
    pub async fn remove(&self, key: &Key) -> Result<bool, CacheError> {
        let key = key.clone();
        self.blocking(move |inner| inner.remove(&key)).await
    }

    /// Looks at everybody's signs of life, and deletes abandoned downloads, pins of the dead, and what
    /// was left in the trash. To be called now and then.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`].
    pub async fn sweep(&self) -> Result<(), CacheError> {
        self.blocking(Inner::sweep).await
    }

    /// Returns how much the cache holds.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`].
    pub async fn usage(&self) -> Result<Usage, CacheError> {
        self.blocking(Inner::usage).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Inner) -> Result<T, CacheError> + Send + 'static,
    ) -> Result<T, CacheError> {
        blocking(&self.inner, what).await
    }
}

// === impl Inner ===

impl Inner {
    fn try_new(settings: CacheSettings) -> Result<Self, CacheError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let owner = &settings.owner;
        if owner.is_empty() || owner.len() > 64 || !owner.chars().all(fits) {
            let why = "its owner must be 1 to 64 letters, digits and hyphens";
            return Err(CacheError::Settings { why });
        }
        if settings.ttl.is_zero() {
            let why = "the time after which a silent holder counts as dead must not be 0";
            return Err(CacheError::Settings { why });
        }
        Ok(Self {
            watch: Watch::new(settings.ttl),
            settings,
            holders: AtomicU64::new(0),
        })
    }

    fn make_folders(&self) -> Result<(), CacheError> {
        for folder in [STAGING, PINS, TRASH, DRAFTS] {
            disk::make_folder(&self.root().join(folder))?;
        }
        Ok(())
    }

    fn root(&self) -> &Path {
        &self.settings.root
    }

    /// Returns a name that nobody else has had or will have.
    fn holder(&self) -> String {
        let number = self.holders.fetch_add(1, Ordering::Relaxed);
        format!("{}.{number}", self.settings.owner)
    }

    /// Renames a folder into the trash, so that nobody sees it half deleted, and deletes it there.
    fn trash(&self, folder: &Path) -> Result<(), CacheError> {
        match self.throw_away(folder)? {
            Some(bin) => disk::delete_folder(&bin),
            None => Ok(()),
        }
    }

    /// Renames a folder into the trash; returns where it is there, if it was there at all.
    fn throw_away(&self, folder: &Path) -> Result<Option<PathBuf>, CacheError> {
        let bin = self.root().join(TRASH).join(self.holder());
        Ok(disk::rename(folder, &bin)?.then_some(bin))
    }
}

// === impl CacheError ===

impl CacheError {
    fn disk(at: &Path, doing: &'static str, error: &std::io::Error) -> Self {
        let at = at.to_owned();
        let why = error.to_string();
        Self::Disk { at, doing, why }
    }

    fn lost(key: &Key) -> Self {
        Self::Lost {
            name: key.name.clone(),
            key: key.key.clone(),
        }
    }

    /// Tells whether the same may well succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Lost { .. } | Self::Full { .. }
        )
    }
}

async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    what: impl FnOnce(&Inner) -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    let (inner, root) = (Arc::clone(inner), inner.root().to_owned());
    spawn_blocking(move || what(&inner))
        .await
        .unwrap_or_else(|error| {
            Err(CacheError::Disk {
                at: root,
                doing: "worked on",
                why: error.to_string(),
            })
        })
}

/// Checks that a folder holds every file of its manifest at its size.
fn hold_against(folder: &Path, manifest: &Manifest) -> Result<(), CacheError> {
    for file in &manifest.files {
        let found = std::fs::metadata(folder.join(&file.path)).map(|meta| meta.len());
        let why = match found {
            Ok(size) if size == file.size => continue,
            Ok(size) => format!("{} has {size} bytes instead of {}", file.path, file.size),
            Err(error) => format!("{}: {error}", file.path),
        };
        let at = folder.to_owned();
        return Err(CacheError::Incomplete { at, why });
    }
    Ok(())
}
