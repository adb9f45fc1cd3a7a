//! A folder of small files with a cap: what is kept for the person who looks later.
//!
//! The disk is on nobody's path. One plain thread writes; who has something to keep hands it over
//! without waiting, and where too much waits already it is not kept, which is counted. When a file
//! has been written the oldest ones go until their number and bytes are within the caps again, so a
//! worker that crashes all night fills no disk. Only files with the archive's own extension are
//! counted and removed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::warn;

/// Files that may wait to be written.
const BACKLOG: usize = 32;

/// Where files are kept, and how many.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    /// The folder; made when the first file is written.
    pub dir: PathBuf,
    /// What its files end with, without the dot.
    pub extension: &'static str,
    /// Most files.
    pub max_files: usize,
    /// Most bytes of all files together.
    pub max_bytes: u64,
}

/// A handle to the archive; cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    dir: PathBuf,
    extension: &'static str,
    max_bytes: u64,
    files: Sender<(PathBuf, Vec<u8>)>,
    missed: Arc<AtomicU64>,
}

// === impl Archive ===

impl Archive {
    /// Starts the thread that writes. It ends with the last handle.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(settings: ArchiveSettings) -> io::Result<Self> {
        let (files, waiting) = bounded(BACKLOG);
        let archive = Self {
            dir: settings.dir.clone(),
            extension: settings.extension,
            max_bytes: settings.max_bytes,
            files,
            missed: Arc::default(),
        };
        let missed = Arc::clone(&archive.missed);
        std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || write_all(&settings, &waiting, &missed))?;
        Ok(archive)
    }

    /// Has a file written under this name (without extension) and returns where it will lie, or
    /// `None` when too many wait or it is larger than all files together may be. An older one of that name is replaced.
    #[must_use]
    pub fn keep(&self, name: &str, content: Vec<u8>) -> Option<PathBuf> {
        let path = self.dir.join(format!("{name}.{}", self.extension));
        let fits = content.len() as u64 <= self.max_bytes;
        match fits.then(|| self.files.try_send((path.clone(), content))) {
            Some(Ok(())) => Some(path),
            Some(Err(_)) | None => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Returns how many files could not be kept, because too many waited or the disk refused.
    #[cfg(test)]
    fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// In which order this run has written its files. The disk tells the same only by a wall clock, which
/// may have been set back meanwhile.
#[derive(Default)]
struct Kept {
    /// As many as there may be files.
    numbers: HashMap<PathBuf, u64>,
    last: u64,
}

fn write_all(
    settings: &ArchiveSettings,
    waiting: &Receiver<(PathBuf, Vec<u8>)>,
    missed: &AtomicU64,
) {
    let mut failing = false;
    let mut kept = Kept::default();
    for (path, content) in waiting {
        let written = write(&path, &content).and_then(|()| {
            kept.enter(&path);
            prune(settings, &path, &mut kept)
        });
        match written {
            Ok(()) => failing = false,
            Err(error) => {
                missed.fetch_add(1, Ordering::Relaxed);
                // Once, until it works again: a full disk is not to fill the log as well.
                if !std::mem::replace(&mut failing, true) {
                    let missed = missed.load(Ordering::Relaxed);
                    warn!(file = %path.display(), %error, missed, "file could not be kept");
                }
            }
        }
    }
}

// === impl Kept ===

impl Kept {
    fn enter(&mut self, path: &Path) {
        self.last += 1;
        self.numbers.insert(path.to_owned(), self.last);
    }

    /// Returns a file's number, 0 for one that an earlier run has left.
    fn number(&self, path: &Path) -> u64 {
        self.numbers.get(path).copied().unwrap_or(0)
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let draft = path.with_extension("tmp");
    fs::write(&draft, content)
        .and_then(|()| fs::rename(&draft, path))
        .inspect_err(|_| {
            // Half a file helps nobody, and on a full disk it is in the way.
            let _ = fs::remove_file(&draft);
        })
}

/// Removes the oldest files until the caps hold; the newest one stays in any case.
fn prune(settings: &ArchiveSettings, newest: &Path, kept: &mut Kept) -> io::Result<()> {
    let mut files: Vec<((u64, SystemTime), PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(&settings.dir)? {
        let path = entry?.path();
        let ours = path.extension().is_some_and(|e| e == settings.extension);
        if let Ok(meta) = fs::metadata(&path)
            && ours
            && path != newest
        {
            let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push(((kept.number(&path), changed), path, meta.len()));
        }
    }
    files.sort();
    let mut bytes = fs::metadata(newest)?.len() + files.iter().map(|file| file.2).sum::<u64>();
    let mut count = files.len() + 1;
    for (_, path, len) in files {
        if count <= settings.max_files && bytes <= settings.max_bytes {
            break;
        }
        kept.numbers.remove(&path);
        match fs::remove_file(path) {
            // Somebody else has made room.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        count -= 1;
        bytes = bytes.saturating_sub(len);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(dir: &Path, max_files: usize, max_bytes: u64) -> ArchiveSettings {
        ArchiveSettings {
            dir: dir.join("kept"),
            extension: "json",
            max_files,
            max_bytes,
        }
    }

    /// Keeps files one after the other, as the thread does.
    fn keep(settings: &ArchiveSettings, files: &[(&str, usize)]) -> Vec<String> {
        let (send, waiting) = bounded(files.len());
        for (name, len) in files {
            let path = settings.dir.join(format!("{name}.json"));
            send.send((path, vec![b'x'; *len])).unwrap();
        }
        drop(send);
        write_all(settings, &waiting, &AtomicU64::new(0));
        let mut left: Vec<String> = fs::read_dir(&settings.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        left
    }

    #[test]
    fn there_are_never_more_files_than_the_cap_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let left = keep(
            &settings(dir.path(), 2, 1 << 20),
            &[("a", 1), ("b", 1), ("c", 1)],
        );
        assert_eq!(left.len(), 2);
        assert!(left.contains(&"c.json".to_owned()), "{left:?}");
    }

    #[test]
    fn the_oldest_goes_first_whatever_a_clock_says_that_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), 2, 1 << 20);
        keep(&settings, &[("left", 1)]);
        let ages = [("left", 1), ("a", 9), ("b", 5), ("c", 3)];
        let mut kept = Kept::default();
        for (name, hours) in ages {
            let path = settings.dir.join(format!("{name}.json"));
            if name != "left" {
                write(&path, b"x").unwrap();
                kept.enter(&path);
            }
            let file = fs::File::options().write(true).open(&path).unwrap();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * hours);
            file.set_modified(written).unwrap();
            prune(&settings, &path, &mut kept).unwrap();
        }
        let mut left: Vec<_> = fs::read_dir(&settings.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["b.json", "c.json"]);
        assert_eq!(kept.numbers.len(), 2);
    }

    #[test]
    fn bytes_are_capped_and_the_newest_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let left = keep(&settings(dir.path(), 9, 100), &[("a", 60), ("b", 60)]);
        assert_eq!(left, ["b.json"]);
    }

    #[test]
    fn what_is_larger_than_everything_may_be_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::start(settings(dir.path(), 9, 100)).unwrap();
        assert!(archive.keep("large", vec![0; 101]).is_none());
        assert_eq!(archive.missed(), 1);
        assert!(archive.keep("small", vec![0; 100]).is_some());
    }

    #[test]
    fn what_others_put_into_the_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), 1, 1 << 20);
        fs::create_dir_all(&settings.dir).unwrap();
        fs::write(settings.dir.join("notes.txt"), "mine").unwrap();
        assert_eq!(
            keep(&settings, &[("a", 1), ("b", 1)]),
            ["b.json", "notes.txt"]
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_counted_and_harms_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path(), 1, 1);
        settings.dir = dir.path().join("file/kept");
        fs::write(dir.path().join("file"), "a file where a folder should be").unwrap();
        let (send, waiting) = bounded(1);
        send.send((settings.dir.join("a.json"), vec![1])).unwrap();
        drop(send);
        let missed = AtomicU64::new(0);
        write_all(&settings, &waiting, &missed);
        assert_eq!(missed.load(Ordering::Relaxed), 1);
    }
}
