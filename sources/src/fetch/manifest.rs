//! What a finished download came to.

use serde::{Deserialize, Serialize};

/// The name under which a cache keeps a manifest in an entry's folder.
pub const MANIFEST: &str = ".impetus-manifest.json";

/// The files of a model as they lie on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Where they came from.
    pub from: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The files, in the order of their paths.
    pub files: Vec<ManifestFile>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its path below the model's folder, parts joined by `/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content, in lower-case hexadecimal digits.
    pub sha256: String,
}

// === impl Manifest ===

impl Manifest {
    /// Returns the size of all files in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}
