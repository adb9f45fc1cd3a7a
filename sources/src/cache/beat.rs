//! Signs of life: who has written something new, seen with this process's own clock.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{CacheError, disk};

/// How many holders are remembered; the cache of a fleet has some hundreds.
const MOST: usize = 20_000;

/// What was last seen of others.
#[derive(Debug)]
pub(super) struct Watch {
    ttl: Duration,
    seen: Mutex<HashMap<PathBuf, Seen>>,
}

#[derive(Debug)]
struct Seen {
    beat: Vec<u8>,
    since: Instant,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(ttl: Duration) -> Self {
        let seen = Mutex::default();
        Self { ttl, seen }
    }

    /// Tells whether the file has said the same for as long as a lease lasts. One that is missing is
    /// treated as one that is empty. Blocks.
    pub(super) fn is_dead(&self, path: &Path) -> bool {
        let beat = fs::read(path).unwrap_or_default();
        let now = Instant::now();
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(path) {
            all.retain(|path, _| path.exists());
        }
        if let Some(seen) = all.get(path).filter(|seen| seen.beat == beat) {
            return now.duration_since(seen.since) >= self.ttl;
        }
        if all.len() < MOST || all.contains_key(path) {
            all.insert(path.to_owned(), Seen { beat, since: now });
        }
        false
    }

    pub(super) fn forget(&self, path: &Path) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(path);
    }
}

/// Gives a sign of life: the number must be another one each time. Blocks.
pub(super) fn beat(path: &Path, number: u64) -> Result<(), CacheError> {
    disk::write(path, number.to_string().as_bytes())
}
