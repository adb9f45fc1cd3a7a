//! Downloads under way: who has the right to one, and how it becomes an entry.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{info, warn};

use super::entry::USED;
use super::{CacheError, DRAFTS, Entry, Inner, Key, STAGING, beat, blocking, disk, hold_against};
use crate::fetch::{MANIFEST, Manifest};

/// The file in which a holder gives its signs of life.
pub(super) const LEASE: &str = ".impetus-lease";
/// The holder's name of a download that was given back.
const NOBODY: &str = "free";

/// What came of asking for the right to download.
#[derive(Debug)]
pub enum Staged {
    /// There is such an entry already.
    There(Entry),
    /// The right is this process's.
    Ours(Staging),
}

/// The right to download one entry. Dropped, it is given back, and the folder is kept for whoever
/// goes on with it.
#[derive(Debug)]
pub struct Staging {
    inner: Arc<Inner>,
    holding: Holding,
    beats: AtomicU64,
    done: bool,
}

/// A download that is held.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    key: Key,
    /// The folder of this key, in which there is one folder, named after who holds it.
    home: PathBuf,
    /// The folder that the files go to.
    path: PathBuf,
}

pub(super) enum Taken {
    There(Entry),
    Ours(Holding),
    Theirs(String),
}

// === impl Staging ===

impl Staging {
    pub(super) fn new(inner: Arc<Inner>, holding: Holding) -> Self {
        Self {
            inner,
            holding,
            beats: AtomicU64::new(1),
            done: false,
        }
    }

    /// Returns the folder to download into. What another process has brought lies there already.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.holding.path
    }

    /// Shows that this process lives and works on it. To be called three times within a lease's time.
    ///
    /// # Errors
    ///
    /// [`CacheError::Lost`] where another process has taken it over: the download is to be stopped.
    pub async fn renew(&self) -> Result<(), CacheError> {
        let number = self.beats.fetch_add(1, Ordering::Relaxed);
        let holding = self.holding.clone();
        blocking(&self.inner, move |_| holding.renew(number)).await
    }

    /// Makes an entry of it. Where there is one already, that one is returned and this one deleted.
    ///
    /// # Errors
    ///
    /// [`CacheError::Lost`], [`CacheError::Incomplete`] where a file of the manifest is not there at
    /// its size, [`CacheError::Disk`].
    pub async fn commit(mut self, manifest: Manifest) -> Result<Entry, CacheError> {
        let holding = self.holding.clone();
        let entry = blocking(&self.inner, move |inner| holding.commit(inner, &manifest)).await?;
        self.done = true;
        Ok(entry)
    }

    /// Deletes what has come and gives the right back.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`].
    pub async fn discard(mut self) -> Result<(), CacheError> {
        let holding = self.holding.clone();
        self.done = true;
        blocking(&self.inner, move |inner| {
            inner.trash(&holding.path)?;
            holding.leave();
            Ok(())
        })
        .await
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let Holding { home, path, .. } = &self.holding;
        match disk::rename(path, &home.join(NOBODY)) {
            Ok(true) => {}
            Ok(false) => info!(staging = %path.display(), "it has been taken over already"),
            Err(error) => {
                warn!(%error, "a download could not be given back; its lease will expire")
            }
        }
    }
}

// === impl Holding ===

impl Holding {
    fn renew(&self, number: u64) -> Result<(), CacheError> {
        beat::beat(&self.path.join(LEASE), number).map_err(|error| self.or_lost(error))
    }

    /// Tells a folder that is held by another from a disk that fails.
    fn or_lost(&self, error: CacheError) -> CacheError {
        match self.path.try_exists() {
            Ok(false) => CacheError::lost(&self.key),
            _ => error,
        }
    }

    fn commit(&self, inner: &Inner, manifest: &Manifest) -> Result<Entry, CacheError> {
        let settled = hold_against(&self.path, manifest).and_then(|()| {
            let record = Entry::record(&self.key, manifest);
            disk::write_durably(&self.path.join(MANIFEST), &record)?;
            disk::write(&self.path.join(USED), b"\n")?;
            disk::delete_file(&self.path.join(LEASE))?;
            disk::sync_folder(&self.path)
        });
        settled.map_err(|error| self.or_lost(error))?;
        let place = inner.place(&self.key);
        let shelf = place.parent().unwrap_or(&place);
        disk::make_folder(shelf)?;
        if !self.move_to(&place, inner)? {
            return self.there_instead(inner);
        }
        disk::sync_folder(shelf)?;
        disk::sync_folder(inner.root())?;
        self.leave();
        inner
            .entry(&self.key)?
            .ok_or_else(|| CacheError::Incomplete {
                at: place,
                why: "it was changed by another process as soon as it was there".to_owned(),
            })
    }

    /// Renames the folder into its place, and tells whether it is there and not another one.
    fn move_to(&self, place: &Path, inner: &Inner) -> Result<bool, CacheError> {
        // What is there and is no entry is in the way: it was damaged.
        if place.exists() && Entry::read(place.to_owned()).is_none() {
            warn!(entry = %place.display(), "replacing an entry that is damaged");
            inner.trash(place)?;
        }
        match fs::rename(&self.path, place) {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => Ok(false),
                ErrorKind::NotFound => Err(CacheError::lost(&self.key)),
                _ => Err(CacheError::disk(place, "put in its place", &error)),
            },
        }
    }

    fn there_instead(&self, inner: &Inner) -> Result<Entry, CacheError> {
        inner.trash(&self.path)?;
        self.leave();
        let lost = || CacheError::lost(&self.key);
        inner.entry(&self.key)?.ok_or_else(lost)
    }

    /// Removes the folder of the key, if it is empty; somebody may have begun anew in it.
    fn leave(&self) {
        let _ = fs::remove_dir(&self.home);
    }
}

// === impl Inner ===

impl Inner {
    /// Takes a download if nobody alive has it.
    pub(super) fn take(&self, key: &Key) -> Result<Taken, CacheError> {
        if let Some(entry) = self.entry(key)? {
            return Ok(Taken::There(entry));
        }
        let taken = self.contend(key)?;
        if let Taken::Ours(holding) = &taken
            && let Some(entry) = self.entry(key)?
        {
            // Whoever had it before finished it just then.
            self.trash(&holding.path)?;
            holding.leave();
            return Ok(Taken::There(entry));
        }
        Ok(taken)
    }

    fn contend(&self, key: &Key) -> Result<Taken, CacheError> {
        let home = key.below(&self.root().join(STAGING));
        let Some(held) = disk::children(&home)?.pop() else {
            return self.begin(key, home);
        };
        let holder = disk::file_name(&held);
        let lease = held.join(LEASE);
        if holder != NOBODY && !self.watch.is_dead(&lease) {
            return Ok(Taken::Theirs(holder));
        }
        let path = home.join(self.holder());
        // Exactly one of those who try this succeeds.
        if !disk::rename(&held, &path)? {
            return Ok(Taken::Theirs(holder));
        }
        self.watch.forget(&lease);
        info!(
            name = key.name,
            key = key.key,
            from = holder,
            "going on with a download"
        );
        self.hold(key, home, path)
    }

    /// Begins a download: its folder appears with the holder's in it, or somebody else's is there.
    fn begin(&self, key: &Key, home: PathBuf) -> Result<Taken, CacheError> {
        let holder = self.holder();
        let draft = self.root().join(DRAFTS).join(&holder);
        disk::make_folder(&draft.join(&holder))?;
        let shelf = home.parent().unwrap_or(&home);
        disk::make_folder(shelf)?;
        match fs::rename(&draft, &home) {
            Ok(()) => {
                let path = home.join(holder);
                self.hold(key, home, path)
            }
            Err(error) => {
                disk::delete_folder(&draft)?;
                match error.kind() {
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => {
                        Ok(Taken::Theirs("another process".to_owned()))
                    }
                    _ => Err(CacheError::disk(&home, "made", &error)),
                }
            }
        }
    }

    fn hold(&self, key: &Key, home: PathBuf, path: PathBuf) -> Result<Taken, CacheError> {
        let key = key.clone();
        let holding = Holding { key, home, path };
        holding.renew(0)?;
        Ok(Taken::Ours(holding))
    }
}
