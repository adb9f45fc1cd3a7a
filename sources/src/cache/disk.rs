//! What the cache asks of the file system, with errors that say where. All of it blocks.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::CacheError;

pub(super) fn make_folder(path: &Path) -> Result<(), CacheError> {
    fs::create_dir_all(path).map_err(|error| CacheError::disk(path, "made", &error))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    fs::write(path, bytes).map_err(|error| CacheError::disk(path, "written", &error))
}

/// Writes a file so that it is there whole, also after a crash.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| CacheError::disk(path, "written", &error))
}

pub(super) fn sync_folder(path: &Path) -> Result<(), CacheError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| CacheError::disk(path, "made durable", &error))
}

/// Renames a folder to a name that nobody has, and tells whether it was there.
pub(super) fn rename(from: &Path, to: &Path) -> Result<bool, CacheError> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        // A network file system may say so of a rename that it has done, when it was asked twice.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(to.exists() && !from.exists()),
        Err(error) => Err(CacheError::disk(from, "renamed", &error)),
    }
}

/// Deletes a folder, or a file, that may be being deleted by somebody else as well.
pub(super) fn delete_folder(path: &Path) -> Result<(), CacheError> {
    if path.is_file() {
        return delete_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if !is_gone(&error) => Err(CacheError::disk(path, "deleted", &error)),
        _ => Ok(()),
    }
}

pub(super) fn delete_file(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if !is_gone(&error) => Err(CacheError::disk(path, "deleted", &error)),
        _ => Ok(()),
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound)
}

/// Returns what a folder holds, in the order of names; one that is not there holds nothing.
pub(super) fn children(path: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let failed = |error| CacheError::disk(path, "read", &error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut children = Vec::new();
    for entry in entries {
        children.push(entry.map_err(failed)?.path());
    }
    children.sort();
    Ok(children)
}

/// Returns the folders two levels down, where the cache keeps what belongs to one key.
pub(super) fn grandchildren(path: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let mut all = Vec::new();
    for child in children(path)? {
        all.extend(children(&child)?);
    }
    Ok(all)
}

/// Returns how many bytes lie in a folder; what vanishes meanwhile counts nothing.
pub(super) fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
