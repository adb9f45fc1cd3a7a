//! What is loaded is not evicted.
//!
//! Who pins and who evicts leave a mark first and look for the other's mark then. So of two who act
//! at once at least one sees the other: the evictor gives way, and who pins waits until the evictor is
//! done and looks whether the entry is still there. Both marks lie in one folder, because a network
//! file system shows a client at least what has changed in a folder that it has just written to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{CacheError, Entry, Inner, Key, PINS, beat, blocking, disk};

/// What the name of an evictor's mark begins with; a holder's cannot.
const EVICTOR: char = '~';
/// How long an evictor, which only renames, is given between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a folder that somebody is deleting is made again.
const TRIES: u32 = 5;

/// Keeps an entry from being evicted. Dropped, it does so no more.
#[derive(Debug)]
pub struct Pin {
    inner: Arc<Inner>,
    entry: Entry,
    mark: PathBuf,
    beats: AtomicU64,
}

/// What a look at an entry's marks says.
enum Look {
    Evicting(String),
    Gone,
    There(Entry),
}

// === impl Pin ===

impl Pin {
    /// Returns the entry that is kept.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Shows that this process lives. To be called three times within a lease's time.
    ///
    /// # Errors
    ///
    /// [`CacheError::Lost`] where others took this process for dead and have evicted the entry: what is
    /// loaded of it may go on, another load will not find it.
    pub async fn renew(&self) -> Result<(), CacheError> {
        let number = self.beats.fetch_add(1, Ordering::Relaxed);
        let (mark, entry) = (self.mark.clone(), self.entry.clone());
        blocking(&self.inner, move |_| {
            if !entry.path.exists() {
                return Err(CacheError::lost(&entry.key));
            }
            leave_mark(&mark, number)
        })
        .await
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Err(error) = unmark(&self.mark) {
            warn!(%error, "a pin could not be taken away; its lease will expire");
        }
    }
}

/// Pins an entry: leaves the mark, waits for whoever is evicting it, and looks whether it is there.
pub(super) async fn pin(inner: &Arc<Inner>, key: &Key) -> Result<Option<Pin>, CacheError> {
    let ttl = inner.settings.ttl;
    let deadline = Instant::now() + ttl * 2;
    let mark = inner.pins(key).join(inner.holder());
    let first = mark.clone();
    blocking(inner, move |_| leave_mark(&first, 0)).await?;
    // From here on the mark is taken away however this ends.
    let mark = Marked(Some(mark));
    loop {
        let wanted = key.clone();
        let holder = match blocking(inner, move |inner| inner.look(&wanted)).await? {
            Look::Gone => return Ok(None),
            Look::There(entry) => {
                return Ok(Some(Pin {
                    inner: Arc::clone(inner),
                    entry,
                    mark: mark.keep(),
                    beats: AtomicU64::new(1),
                }));
            }
            Look::Evicting(holder) => holder,
        };
        if Instant::now() >= deadline {
            return Err(CacheError::Busy {
                name: key.name.clone(),
                key: key.key.clone(),
                holder,
                seconds: (ttl * 2).as_secs(),
            });
        }
        sleep(PAUSE).await;
    }
}

// === impl Inner ===

impl Inner {
    pub(super) fn pins(&self, key: &Key) -> PathBuf {
        key.below(&self.root().join(PINS))
    }

    fn look(&self, key: &Key) -> Result<Look, CacheError> {
        for mark in disk::children(&self.pins(key))? {
            if is_evictor(&mark) && self.lives(&mark)? {
                return Ok(Look::Evicting(disk::file_name(&mark)));
            }
        }
        Ok(self.entry(key)?.map_or(Look::Gone, Look::There))
    }

    /// Tells whether anybody alive pins the entry. Takes away the marks of the dead.
    pub(super) fn is_pinned(&self, key: &Key) -> Result<bool, CacheError> {
        let mut pinned = false;
        for mark in disk::children(&self.pins(key))? {
            pinned |= !is_evictor(&mark) && self.lives(&mark)?;
        }
        Ok(pinned)
    }

    /// Evicts an entry that nobody has pinned; tells whether it did.
    pub(super) fn evict(&self, entry: &Entry) -> Result<bool, CacheError> {
        let mark = self
            .pins(&entry.key)
            .join(format!("{EVICTOR}{}", self.holder()));
        leave_mark(&mark, 0)?;
        let thrown = match self.is_pinned(&entry.key) {
            Ok(false) => self.throw_away(&entry.path),
            Ok(true) => Ok(None),
            Err(error) => Err(error),
        };
        unmark(&mark)?;
        let Some(bin) = thrown? else {
            return Ok(false);
        };
        let Key { name, key } = &entry.key;
        info!(
            name,
            key,
            bytes = entry.manifest.size(),
            "evicted from the cache"
        );
        disk::delete_folder(&bin)?;
        Ok(true)
    }

    /// Takes away the marks of the dead.
    pub(super) fn sweep_pins(&self) -> Result<(), CacheError> {
        for folder in disk::grandchildren(&self.root().join(PINS))? {
            for mark in disk::children(&folder)? {
                self.lives(&mark)?;
            }
        }
        Ok(())
    }

    fn lives(&self, mark: &Path) -> Result<bool, CacheError> {
        if !self.watch.is_dead(mark) {
            return Ok(true);
        }
        warn!(mark = %mark.display(), "whoever left this has given no sign of life; taking it away");
        unmark(mark)?;
        self.watch.forget(mark);
        Ok(false)
    }
}

/// A mark that is taken away again unless it is kept.
struct Marked(Option<PathBuf>);

impl Marked {
    fn keep(mut self) -> PathBuf {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        if let Some(mark) = &self.0
            && let Err(error) = unmark(mark)
        {
            warn!(%error, "a pin could not be taken away; its lease will expire");
        }
    }
}

fn is_evictor(mark: &Path) -> bool {
    disk::file_name(mark).starts_with(EVICTOR)
}

/// Leaves or renews a mark, in a folder that others delete whenever it is empty.
fn leave_mark(mark: &Path, number: u64) -> Result<(), CacheError> {
    let folder = mark.parent().unwrap_or(mark);
    let mut result = Ok(());
    for _ in 0..TRIES {
        disk::make_folder(folder)?;
        result = beat::beat(mark, number);
        if result.is_ok() || folder.exists() {
            break;
        }
    }
    result
}

fn unmark(mark: &Path) -> Result<(), CacheError> {
    disk::delete_file(mark)?;
    // Fails where another mark is left in it.
    let _ = mark.parent().map(std::fs::remove_dir);
    Ok(())
}
