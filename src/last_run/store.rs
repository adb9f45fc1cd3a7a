//! The file on the disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::record::Record;

const NAME: &str = "last-run.json";

/// More than any record has, events included; what is larger was not written by us.
const LARGEST: u64 = 1024 * 1024;

/// Reads and replaces one file.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

/// Why there is no record although there is a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("cannot be understood: {0}")]
    Corrupt(serde_json::Error),
}

// === impl Store ===

impl Store {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// Reads the record that is there, if one is.
    pub(super) fn read(&self) -> Result<Option<Record>, ReadError> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(ReadError::Corrupt)
    }

    /// Moves the file out of the way, over one that was set aside before.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let aside = self.dir.join(format!("{NAME}.corrupt"));
        fs::rename(self.path(), &aside)?;
        Ok(aside)
    }

    /// Replaces the file as a whole; when this returns, the new one survives a loss of power.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let beside = self.dir.join(format!("{NAME}.new"));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, self.path())?;
        // The rename itself is only as durable as the folder.
        File::open(&self.dir)?.sync_all()
    }
}
