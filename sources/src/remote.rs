//! What can be listed and read: the trait behind which every kind of place stands.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes, RemoteError>>;

/// A place that holds the files of one model.
pub trait Remote: Send + Sync + fmt::Debug {
    /// Lists every file, in the order of their paths.
    fn list(&self) -> BoxFuture<'_, Result<Listing, RemoteError>>;

    /// Reads a file from its byte `from` on, as long as it still is the one that was listed: one that
    /// has changed is [`RemoteError::Changed`]. [`list`](Self::list) is to be called first.
    fn read<'a>(
        &'a self,
        file: &'a RemoteFile,
        from: u64,
    ) -> BoxFuture<'a, Result<ByteStream, RemoteError>>;

    /// Tells whether a file that is read on from its middle would certainly be seen to be another one
    /// by now.
    fn recognises(&self, file: &RemoteFile) -> bool {
        file.etag.is_some() || file.checksum.is_some()
    }
}

/// The files of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The files, in the order of their paths.
    pub files: Vec<RemoteFile>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Its path below the model's folder: parts joined by `/`, none of them empty, `.` or `..`.
    pub path: String,
    /// Its size in bytes, where the place says it.
    pub size: Option<u64>,
    /// What changes when it does: an entity tag, as it is sent.
    pub etag: Option<String>,
    /// What its content must come to.
    pub checksum: Option<Checksum>,
}

/// A digest that the content of a file must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// SHA-256, in lower-case hexadecimal digits.
    Sha256(String),
    /// MD5, in lower-case hexadecimal digits.
    Md5(String),
}

/// Why a place could not be listed or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RemoteError {
    /// Nobody answers, or not in time; worth another attempt.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// What was asked.
        place: String,
        /// What happened.
        why: String,
    },
    /// Who asks may not have it.
    #[error("{place} refuses access ({status}): {why}; check the credentials in the configuration")]
    Refused {
        /// What was asked.
        place: String,
        /// The status code.
        status: u16,
        /// The answer's own words, cut short.
        why: String,
    },
    /// There is no such thing.
    #[error("there is no {what} at {place}")]
    NotThere {
        /// What was asked.
        place: String,
        /// What is not there.
        what: String,
    },
    /// It is not any more what was listed.
    #[error("{place} has changed while it was read; it is to be listed again")]
    Changed {
        /// What was read.
        place: String,
    },
    /// It answers something that it must not.
    #[error("{place} gives an answer that cannot be used: {why}")]
    Garbage {
        /// What was asked.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// This build or this configuration cannot ask there.
    #[error("{place} cannot be asked: {why}")]
    Unsupported {
        /// What was to be asked.
        place: String,
        /// What is lacking, and what to do.
        why: String,
    },
}

// === impl Listing ===

impl Listing {
    /// Returns the size of all files, where every one is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.files.iter().map(|file| file.size).sum()
    }
}

// === impl RemoteFile ===

impl RemoteFile {
    /// Tells whether a path stays below the folder that it is joined to, on every system.
    #[must_use]
    pub fn is_safe(path: &str) -> bool {
        let fits = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.len() <= 255
                && !part.contains(['\\', '\0', ':'])
        };
        path.len() <= 1024 && path.split('/').all(fits)
    }
}

// === impl RemoteError ===

impl RemoteError {
    /// Tells whether the same may well succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Changed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_folder_are_safe() {
        for path in ["model.onnx", "a/b.data", "MLmodel", "a..b/c"] {
            assert!(RemoteFile::is_safe(path), "{path}");
        }
        for path in [
            "", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\\b", "c:x", "a\0",
        ] {
            assert!(!RemoteFile::is_safe(path), "{path:?}");
        }
    }
}
