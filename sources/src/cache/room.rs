//! Making room: what may go, in which order, and what goes without being asked.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;
use tracing::info;

use super::staging::LEASE;
use super::{CacheError, DRAFTS, Inner, Key, STAGING, TRASH, disk};

/// What was evicted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// How many bytes.
    pub bytes: u64,
    /// What.
    pub entries: Vec<Key>,
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// How many complete entries.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// How many of these bytes are of pinned entries.
    pub pinned: u64,
    /// How many bytes lie in downloads under way or left off.
    pub staged: u64,
    /// How many bytes it may hold.
    pub most: u64,
}

// === impl Inner ===

impl Inner {
    pub(super) fn usage(&self) -> Result<Usage, CacheError> {
        let mut usage = Usage {
            staged: disk::size(&self.root().join(STAGING)),
            most: self.settings.bytes,
            ..Usage::default()
        };
        for entry in self.entries()? {
            let bytes = entry.manifest.size();
            usage.entries += 1;
            usage.bytes += bytes;
            if self.is_pinned(&entry.key)? {
                usage.pinned += bytes;
            }
        }
        Ok(usage)
    }

    pub(super) fn make_room(&self, needed: u64) -> Result<Freed, CacheError> {
        let most = self.settings.bytes;
        let mut entries = self.entries()?;
        let staged = disk::size(&self.root().join(STAGING));
        let complete: u64 = entries.iter().map(|entry| entry.manifest.size()).sum();
        let excess = |freed: u64| {
            let total = staged.saturating_add(complete).saturating_add(needed);
            total.saturating_sub(freed).saturating_sub(most)
        };
        let mut freed = Freed::default();
        if excess(0) == 0 {
            return Ok(freed);
        }
        let mut free = 0;
        let mut kept = Vec::new();
        for entry in entries.drain(..) {
            if !self.is_pinned(&entry.key)? {
                free += entry.manifest.size();
                kept.push((entry.used(), entry));
            }
        }
        let full = |evictable: u64| CacheError::Full {
            root: self.root().to_owned(),
            needed,
            most,
            held: (staged + complete).saturating_sub(evictable),
        };
        if excess(free) > 0 {
            return Err(full(free));
        }
        kept.sort_by_key(|(used, _)| *used);
        for (_, entry) in kept {
            if excess(freed.bytes) == 0 {
                break;
            }
            if self.evict(&entry)? {
                freed.bytes += entry.manifest.size();
                freed.entries.push(entry.key);
            }
        }
        match excess(freed.bytes) {
            0 => Ok(freed),
            _ => Err(full(freed.bytes)),
        }
    }

    pub(super) fn remove(&self, key: &Key) -> Result<bool, CacheError> {
        match self.entry(key)? {
            Some(entry) => self.evict(&entry),
            None => Ok(true),
        }
    }

    pub(super) fn sweep(&self) -> Result<(), CacheError> {
        self.sweep_pins()?;
        for bin in disk::children(&self.root().join(TRASH))? {
            disk::delete_folder(&bin)?;
        }
        let now = self.file_system_time()?;
        for draft in disk::children(&self.root().join(DRAFTS))? {
            if self.is_old(&draft, now) {
                self.trash(&draft)?;
            }
        }
        for home in disk::grandchildren(&self.root().join(STAGING))? {
            for held in disk::children(&home)? {
                // Whoever lives renews the lease, so one that is old is nobody's.
                let lease = held.join(LEASE);
                self.watch.is_dead(&lease);
                let sign = if lease.exists() { &lease } else { &held };
                if self.is_old(sign, now) {
                    info!(staging = %held.display(), "deleting an abandoned download");
                    self.trash(&held)?;
                }
            }
            let _ = fs::remove_dir(&home);
        }
        Ok(())
    }

    /// Returns what time it is for the file system, whose server may have a clock of its own.
    fn file_system_time(&self) -> Result<SystemTime, CacheError> {
        let probe = self.root().join(DRAFTS).join(self.holder());
        disk::write(&probe, b"\n")?;
        let now = fs::metadata(&probe).and_then(|meta| meta.modified());
        disk::delete_file(&probe)?;
        now.map_err(|error| CacheError::disk(&probe, "read", &error))
    }

    fn is_old(&self, path: &Path, now: SystemTime) -> bool {
        fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|changed| now.duration_since(changed).ok())
            .is_some_and(|age| age > self.settings.abandoned)
    }
}
