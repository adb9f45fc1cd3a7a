//! How a change of files is noticed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files of one folder that are looked at; a folder with more is no model's.
const MOST_FILES: usize = 1024;

/// How deep a model that is a folder is looked into.
const DEEPEST: usize = 8;

/// Identity of a model's files: their names, sizes and times of change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
    /// What was said by hand.
    texts: Vec<String>,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Returns the identity of the files that lie in a folder itself.
    pub(super) fn of_folder(folder: &Path) -> Self {
        let mut fingerprint = Self::default();
        fingerprint.add_folder(folder);
        fingerprint
    }

    /// Returns the identity of what has no files.
    pub(in crate::sources) fn of_text(text: &str) -> Self {
        let mut fingerprint = Self::default();
        fingerprint.add_text(text);
        fingerprint
    }

    /// Adds the files that lie in a folder itself: weights may lie beside the graph. Hidden ones and
    /// those that only people read are left out.
    pub(super) fn add_folder(&mut self, folder: &Path) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .take(MOST_FILES)
            .map(|entry| entry.path())
            .filter(|path| matters(path))
            .filter_map(identity)
            .collect();
        files.sort();
        self.files.extend(files);
    }

    /// Adds all files of a model that is a folder itself.
    pub(super) fn add_model_folder(&mut self, folder: &Path) {
        self.add_below(folder, DEEPEST);
    }

    fn add_below(&mut self, folder: &Path, depth: usize) {
        self.add_folder(folder);
        if depth == 0 || self.files.len() >= MOST_FILES {
            return;
        }
        let mut below: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .take(MOST_FILES)
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        below.sort();
        for folder in below {
            self.add_below(&folder, depth - 1);
        }
    }

    /// Returns the size of all files together, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes, _)| bytes).sum()
    }

    /// Adds a file that is referred to, which may lie in a folder below.
    pub(super) fn add_file(&mut self, file: &Path) {
        self.files.extend(identity(file.to_owned()));
    }

    /// Adds what was said by hand.
    pub(super) fn add_text(&mut self, text: &str) {
        self.texts.push(text.to_owned());
    }
}

fn identity(path: PathBuf) -> Option<(PathBuf, u64, Option<SystemTime>)> {
    // Follows links: a mounted volume changes what they lead to.
    let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    Some((path, meta.len(), meta.modified().ok()))
}

fn matters(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| !name.starts_with('.'))
        && path.extension().is_none_or(|extension| extension != "md")
}
