//! A file on its way: the part, the note of what it is a part of, and the name that it will have.
//!
//! Part and note are named after a digest of the file's path, so that no file of a model can have
//! the same name. A part is never cut short in place: one that is of no use is unlinked and another
//! is begun. So a writer that was told to stop and has not heard it yet only ever writes what belongs
//! there anyhow, or into a file that has no name any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::{Hasher, sha256};
use super::manifest::ManifestFile;
use super::{FetchError, WORK_FOLDER};
use crate::remote::{Checksum, Listing, RemoteFile};

const CHUNK: usize = 1 << 20;

/// A file on its way.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where it grows.
    pub(super) path: PathBuf,
    /// Where it will lie.
    pub(super) target: PathBuf,
    note_path: PathBuf,
    note: Note,
}

/// What a part is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    path: String,
    size: Option<u64>,
    etag: Option<String>,
    checksum: Option<Checksum>,
    /// Which start of the machine it was begun in, where the system says it.
    boot: Option<String>,
    /// The digest of the whole file once it lies where it belongs.
    done: Option<String>,
}

// === impl Part ===

impl Part {
    pub(super) fn of(into: &Path, file: &RemoteFile) -> Self {
        let work = into.join(WORK_FOLDER);
        let name = &sha256(file.path.as_bytes())[..32];
        Self {
            path: work.join(format!("{name}.part")),
            target: into.join(&file.path),
            note_path: work.join(format!("{name}.json")),
            note: Note {
                path: file.path.clone(),
                size: file.size,
                etag: file.etag.clone(),
                checksum: file.checksum.clone(),
                boot: boot(),
                done: None,
            },
        }
    }

    /// Returns the file where it lies there already, whole and unharmed. Blocks.
    pub(super) fn finished(&self) -> Result<Option<ManifestFile>, FetchError> {
        let Some(note) = Note::read(&self.note_path) else {
            return Ok(None);
        };
        let Some(done) = note.done.clone() else {
            return Ok(None);
        };
        if !note.is_of_the_same(&self.note) {
            return Ok(None);
        }
        let mut file = match File::open(&self.target) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FetchError::disk(&self.target, "opened", &error)),
        };
        let mut hasher = Hasher::for_checksum(None);
        let size = hash(&mut file, u64::MAX, &mut hasher)
            .map_err(|error| FetchError::disk(&self.target, "read", &error))?;
        let sha256 = hasher.finish().sha256;
        let path = note.path;
        Ok((sha256 == done).then_some(ManifestFile { path, size, sha256 }))
    }

    /// Opens the part, and hashes what it holds already where that is of use. Blocks.
    ///
    /// Returns the file, at its end, and how many bytes it has.
    pub(super) fn open(&self, keep: bool, hasher: &mut Hasher) -> Result<(File, u64), FetchError> {
        if keep && let Some((mut file, there)) = self.kept()? {
            hash(&mut file, there, hasher)
                .map_err(|error| FetchError::disk(&self.path, "read", &error))?;
            return Ok((file, there));
        }
        self.discard()?;
        self.write_note(&self.note)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&self.path)
            .map_err(|error| FetchError::disk(&self.path, "made", &error))?;
        Ok((file, 0))
    }

    /// Opens what is there already if it is a part of what is wanted now; says how long it is.
    fn kept(&self) -> Result<Option<(File, u64)>, FetchError> {
        let belongs = Note::read(&self.note_path).is_some_and(|note| {
            let unbroken = note.boot == self.note.boot || note.checksum.is_some();
            note.done.is_none() && unbroken && note.is_of_the_same(&self.note)
        });
        if !belongs {
            return Ok(None);
        }
        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FetchError::disk(&self.path, "opened", &error)),
        };
        let there = file
            .metadata()
            .map_err(|error| FetchError::disk(&self.path, "read", &error))?
            .len();
        let fits = self.note.size.is_none_or(|size| there <= size);
        Ok(fits.then_some((file, there)))
    }

    /// Gives the part, which is whole and durable, its name. Blocks.
    pub(super) fn finish(&self, sha256: &str) -> Result<(), FetchError> {
        let folder = self.target.parent().unwrap_or(&self.target);
        fs::create_dir_all(folder).map_err(|error| FetchError::disk(folder, "made", &error))?;
        let done = Some(sha256.to_owned());
        fs::rename(&self.path, &self.target)
            .map_err(|error| FetchError::disk(&self.target, "put in its place", &error))?;
        self.write_note(&Note {
            done,
            ..self.note.clone()
        })
    }

    /// Removes what there is of it. Blocks.
    pub(super) fn discard(&self) -> Result<(), FetchError> {
        for path in [&self.note_path, &self.path] {
            remove(path)?;
        }
        Ok(())
    }

    fn write_note(&self, note: &Note) -> Result<(), FetchError> {
        let text = serde_json::to_vec(note).expect("a note of texts and numbers is JSON");
        let draft = self.note_path.with_extension("draft");
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, &self.note_path))
            .map_err(|error| FetchError::disk(&self.note_path, "written", &error))
    }
}

// === impl Note ===

impl Note {
    /// Reads a note; one that is missing or torn is none.
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Tells whether both certainly speak of the same content.
    fn is_of_the_same(&self, other: &Self) -> bool {
        let certain = self.size.is_some() && (self.etag.is_some() || self.checksum.is_some());
        certain
            && self.path == other.path
            && self.size == other.size
            && self.etag == other.etag
            && self.checksum == other.checksum
    }
}

/// Makes the folders and removes what an earlier listing has left that is listed no more. Blocks.
pub(super) fn prepare(listing: &Listing, into: &Path) -> Result<(), FetchError> {
    let work = into.join(WORK_FOLDER);
    fs::create_dir_all(&work).map_err(|error| FetchError::disk(&work, "made", &error))?;
    let listed: std::collections::BTreeSet<&str> =
        listing.files.iter().map(|file| &*file.path).collect();
    let entries = fs::read_dir(&work).map_err(|error| FetchError::disk(&work, "read", &error))?;
    for entry in entries.flatten() {
        let note_path = entry.path();
        if note_path.extension().is_some_and(|end| end == "json")
            && let Some(note) = Note::read(&note_path)
            && !listed.contains(&*note.path)
            && RemoteFile::is_safe(&note.path)
        {
            remove(&into.join(&note.path))?;
            remove_empty_folders(into, &note.path);
            remove(&note_path.with_extension("part"))?;
            remove(&note_path)?;
        }
    }
    let there: u64 = listing
        .files
        .iter()
        .map(|file| Part::of(into, file).bytes())
        .sum();
    enough(into, listing.size().map(|size| size.saturating_sub(there)))
}

/// Makes the folders durable and removes the notes, once every file is in its place. Blocks.
pub(super) fn conclude(into: &Path, paths: Vec<String>) -> Result<(), FetchError> {
    let work = into.join(WORK_FOLDER);
    fs::remove_dir_all(&work).map_err(|error| FetchError::disk(&work, "removed", &error))?;
    let mut folders = std::collections::BTreeSet::from([into.to_owned()]);
    for path in paths {
        let mut folder = Path::new(&path);
        while let Some(parent) = folder.parent() {
            folders.insert(into.join(parent));
            folder = parent;
        }
    }
    for folder in folders {
        sync_folder(&folder)?;
    }
    Ok(())
}

/// Makes durable which names a folder holds. Blocks.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FetchError> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(|error| FetchError::disk(folder, "made durable", &error))
}

/// Returns how many bytes whoever runs this may still write to the disk of a folder.
pub(super) fn free(folder: &Path) -> Option<u64> {
    let folder = folder.ancestors().find(|folder| folder.is_dir())?;
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses to begin what certainly does not fit.
fn enough(at: &Path, needed: Option<u64>) -> Result<(), FetchError> {
    let free = free(at);
    match (needed, free) {
        (Some(still), Some(left)) if still > left => {
            let at = at.to_owned();
            Err(FetchError::DiskFull { at, needed, free })
        }
        _ => Ok(()),
    }
}

impl Part {
    /// Returns how many bytes of it take up room already.
    fn bytes(&self) -> u64 {
        let of = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        of(&self.path) + of(&self.target)
    }
}

/// Hashes the next bytes of a file, so many and no more; returns how many there were.
fn hash(file: &mut File, most: u64, hasher: &mut Hasher) -> io::Result<u64> {
    let mut file = file.take(most);
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(FetchError::disk(path, "removed", &error))
        }
        _ => Ok(()),
    }
}

/// Removes the folders that a file has left empty, so that a file may take the name of one.
fn remove_empty_folders(into: &Path, path: &str) {
    let parents = Path::new(path).ancestors().skip(1);
    for folder in parents.filter(|folder| !folder.as_os_str().is_empty()) {
        if fs::remove_dir(into.join(folder)).is_err() {
            return;
        }
    }
}

/// Which start of the machine this is.
fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}
