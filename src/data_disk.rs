//! How much room the disk of the data folder has.
//!
//! A disk that hangs keeps whoever asks it, so it is asked by the one thread that writes there
//! anyway and for which nobody waits (see [`last_run`](crate::last_run)), each time it has written.
//! Everybody else reads what came of the last look.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was found at the last look.
#[derive(Debug, Default)]
pub struct DataDisk {
    free: AtomicU64,
    /// 0 before the first look, and where the file system does not count.
    size: AtomicU64,
}

/// A disk's room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What an ordinary user can still write.
    pub free: u64,
    /// What there is in all.
    pub size: u64,
}

// === impl DataDisk ===

impl DataDisk {
    /// Looks at the disk under `folder`; may take as long as the disk likes. A disk that cannot be
    /// asked has no figures any more.
    pub fn look(&self, folder: &Path) {
        let found = rustix::fs::statvfs(folder).ok();
        let blocks = |count: u64, of: u64| count.saturating_mul(of);
        let room = found.map(|found| Room {
            free: blocks(found.f_bavail, found.f_frsize),
            size: blocks(found.f_blocks, found.f_frsize),
        });
        let Room { free, size } = room.unwrap_or(Room { free: 0, size: 0 });
        self.free.store(free, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
    }

    /// Returns what was found at the last look, if anything was.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        let size = self.size.load(Ordering::Relaxed);
        let free = self.free.load(Ordering::Relaxed);
        (size > 0).then_some(Room { free, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_figures_once_it_has_been_looked_at_and_none_when_it_cannot_be() {
        let disk = DataDisk::default();
        assert_eq!(disk.room(), None);
        let folder = tempfile::tempdir().unwrap();
        disk.look(folder.path());
        let room = disk.room().unwrap();
        assert!(room.free <= room.size, "{room:?}");
        disk.look(&folder.path().join("not there"));
        assert_eq!(disk.room(), None);
    }
}
