//! Complete entries.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::name::encode;
use super::{CacheError, Inner, disk, hold_against};
use crate::fetch::{MANIFEST, Manifest};

/// The file whose time of change says when an entry was used last. The file system sets it, so that
/// all who share the folder go by one clock.
pub(super) const USED: &str = ".impetus-used";

/// What an entry is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The model's name, any text.
    pub name: String,
    /// Which content is meant: a version, or a digest; any text.
    pub key: String,
}

/// A complete entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is found by.
    pub key: Key,
    /// The folder that holds its files.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

/// What the file [`MANIFEST`] of an entry says.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    key: Key,
    manifest: Manifest,
}

// === impl Key ===

impl Key {
    /// Names an entry.
    #[must_use]
    pub fn new(name: impl Into<String>, key: impl Into<String>) -> Self {
        let (name, key) = (name.into(), key.into());
        Self { name, key }
    }

    /// Returns its folder below another.
    pub(super) fn below(&self, folder: &std::path::Path) -> PathBuf {
        folder.join(encode(&self.name)).join(encode(&self.key))
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn record(key: &Key, manifest: &Manifest) -> Vec<u8> {
        let record = Record {
            key: key.clone(),
            manifest: manifest.clone(),
        };
        serde_json::to_vec_pretty(&record).expect("a manifest of texts and numbers is JSON")
    }

    /// Reads an entry; a folder that does not hold what it should is none. Blocks.
    pub(super) fn read(path: PathBuf) -> Option<Self> {
        let text = fs::read(path.join(MANIFEST)).ok()?;
        let checked = serde_json::from_slice(&text)
            .map_err(|error| error.to_string())
            .and_then(|record: Record| {
                hold_against(&path, &record.manifest).map_err(|error| error.to_string())?;
                Ok(record)
            });
        match checked {
            Ok(Record { key, manifest }) => Some(Self {
                key,
                path,
                manifest,
            }),
            Err(why) => {
                warn!(entry = %path.display(), %why, "an entry of the cache is damaged");
                None
            }
        }
    }

    /// Returns when it was used last, by the file system's clock. Blocks.
    pub(super) fn used(&self) -> SystemTime {
        let modified = |name| fs::metadata(self.path.join(name)).and_then(|meta| meta.modified());
        modified(USED)
            .or_else(|_| modified(MANIFEST))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

// === impl Inner ===

impl Inner {
    pub(super) fn place(&self, key: &Key) -> PathBuf {
        key.below(self.root())
    }

    /// Reads an entry and notes that it was used.
    pub(super) fn entry(&self, key: &Key) -> Result<Option<Entry>, CacheError> {
        let Some(entry) = Entry::read(self.place(key)).filter(|entry| entry.key == *key) else {
            return Ok(None);
        };
        // A folder that can only be read serves all the same; what was used last is then not known.
        let _ = disk::write(&entry.path.join(USED), b"\n");
        Ok(Some(entry))
    }

    pub(super) fn entries(&self) -> Result<Vec<Entry>, CacheError> {
        let mut entries = Vec::new();
        for folder in disk::children(self.root())? {
            if !disk::file_name(&folder).starts_with('.') {
                entries.extend(disk::children(&folder)?.into_iter().filter_map(Entry::read));
            }
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }
}
