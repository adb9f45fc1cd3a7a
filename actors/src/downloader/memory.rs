//! Which versions were served, from one run to the next.
//!
//! A server whose registry does not answer when it starts serves what it served before, if that is still
//! in the cache. The file is written whole and renamed; one that cannot be read is no reason not to
//! start, since all that is lost is this.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use tracing::warn;

use crate::sources::shelf::Remembered;

/// The file.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    file: PathBuf,
}

// === impl Memory ===

impl Memory {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// Reads what was served. Blocks on the file system.
    pub(super) fn read(&self) -> BTreeMap<String, Remembered> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
            Err(error) => {
                warn!(file = %self.file.display(), %error, "what was served before cannot be read");
                return BTreeMap::new();
            }
        };
        serde_json::from_str(&text).unwrap_or_else(|error| {
            warn!(file = %self.file.display(), %error, "what was served before is not understood");
            BTreeMap::new()
        })
    }

    /// Writes what is served. Blocks on the file system.
    ///
    /// # Errors
    /// It could not be written; what the file said before, it still says.
    pub(super) fn write(&self, served: &BTreeMap<String, Remembered>) -> io::Result<()> {
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, serde_json::to_string_pretty(served)?)?;
        fs::rename(fresh, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::shelf::Version;

    #[test]
    fn what_was_written_is_read_and_what_is_not_understood_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path().join("served.json"));
        assert!(memory.read().is_empty());
        let remembered = Remembered {
            source: "models:/surface@champion".parse().unwrap(),
            version: Version {
                owner: "surface".to_owned(),
                key: "3".to_owned(),
                number: Some(3),
                stage: Some("champion".to_owned()),
                listing: None,
            },
        };
        let served = BTreeMap::from([("surface".to_owned(), remembered)]);
        memory.write(&served).unwrap();
        assert_eq!(memory.read(), served);
        fs::write(dir.path().join("served.json"), "{\"surface\":").unwrap();
        assert!(memory.read().is_empty());
    }
}
