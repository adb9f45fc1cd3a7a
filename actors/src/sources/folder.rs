//! A folder of models: `<name>/model.onnx` or `<name>/<version>/model.onnx`, the highest number
//! winning, with an optional `<name>/model.toml`.
//!
//! A model that cannot be described is not left out: it is wanted, with the problem as its reason,
//! so that the person who put it there finds it in the list. Only a folder that cannot be read at
//! all is an error, and then nothing is concluded about the models in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use crate::serving::ModelSpec;
use crate::serving::description::Description;
use crate::sources::description::{DESCRIPTION_FILE, TRITON_FILE};

/// A model that should be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What it is.
    pub spec: ModelSpec,
    /// Changes when its files do.
    pub fingerprint: Fingerprint,
    /// Why it cannot even be tried.
    pub problem: Option<String>,
}

/// Identity of a model's files: when they were changed, and their sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

/// Why a folder of models could not be read.
#[derive(Debug, Error)]
#[error("model folder {} cannot be read: {source}; check that it exists and may be read, or set models.dir", dir.display())]
pub struct ScanError {
    dir: PathBuf,
    source: io::Error,
}

/// Looks which models a folder holds. Blocks on the file system.
///
/// # Errors
/// The folder itself cannot be listed.
pub fn scan(dir: &Path) -> Result<Vec<Wanted>, ScanError> {
    let failed = |source| ScanError {
        dir: dir.to_owned(),
        source,
    };
    let mut wanted = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        wanted.extend(look_into(name, &path));
    }
    wanted.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    Ok(wanted)
}

fn look_into(name: &str, folder: &Path) -> Option<Wanted> {
    let (description, problem) = match super::describe(name, folder) {
        Ok(description) => (description, None),
        Err(problem) => (Description::default(), Some(problem)),
    };
    let (version, file) = find_model(folder, description.file_name())?;
    let mut fingerprint = Fingerprint::default();
    fingerprint.add(&file);
    for described in [DESCRIPTION_FILE, TRITON_FILE] {
        fingerprint.add(&folder.join(described));
    }
    for read in &description.reads {
        fingerprint.add(read);
    }
    let version = version
        .or_else(|| description.version.clone())
        .unwrap_or_else(|| "1".to_owned());
    let spec = ModelSpec {
        name: name.to_owned(),
        version,
        bytes: fs::metadata(&file).map_or(0, |meta| meta.len()),
        path: fs::canonicalize(&file).unwrap_or(file),
        description,
    };
    Some(Wanted {
        spec,
        fingerprint,
        problem,
    })
}

/// Returns the model's file and the version its folder names, if one does.
fn find_model(folder: &Path, file_name: &str) -> Option<(Option<String>, PathBuf)> {
    let plain = folder.join(file_name);
    if plain.is_file() {
        return Some((None, plain));
    }
    let newest = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let number: u64 = entry.file_name().to_str()?.parse().ok()?;
            let file = entry.path().join(file_name);
            file.is_file().then_some((number, file))
        })
        .max_by_key(|(number, _)| *number)?;
    Some((Some(newest.0.to_string()), newest.1))
}

// === impl Fingerprint ===

impl Fingerprint {
    fn add(&mut self, file: &Path) {
        if let Ok(meta) = fs::metadata(file) {
            self.files
                .push((file.to_owned(), meta.len(), meta.modified().ok()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn models_are_found_by_name_and_the_highest_version_wins() {
        let dir = folder(&[
            ("plain/model.onnx", "x"),
            ("versions/2/model.onnx", "xx"),
            ("versions/10/model.onnx", "xxx"),
            ("versions/readme/model.onnx", "no"),
            ("no-model/readme.md", "no"),
            (".hidden/model.onnx", "no"),
            ("train.py", "no"),
        ]);
        let wanted = scan(dir.path()).unwrap();
        let found: Vec<_> = wanted
            .iter()
            .map(|w| (w.spec.name.as_str(), w.spec.version.as_str(), w.spec.bytes))
            .collect();
        assert_eq!(found, [("plain", "1", 1), ("versions", "10", 3)]);
    }

    #[test]
    fn a_description_that_is_not_understood_is_a_problem_of_that_model_alone() {
        let dir = folder(&[
            ("bad/model.onnx", "x"),
            ("bad/model.toml", "lables = [\"a\"]"),
            ("good/model.onnx", "x"),
            ("good/model.toml", "version = \"7\"\nlabels = [\"a\"]"),
            ("other/model.onnx", "x"),
            ("other/model.toml", "name = \"another\""),
        ]);
        let wanted = scan(dir.path()).unwrap();
        assert!(wanted[0].problem.as_ref().unwrap().contains("lables"));
        assert_eq!(wanted[1].problem, None);
        assert_eq!(wanted[1].spec.version, "7");
        assert!(wanted[2].problem.as_ref().unwrap().contains("\"another\""));
    }

    #[test]
    fn a_mended_file_has_another_fingerprint() {
        let dir = folder(&[("m/model.onnx", "x")]);
        let before = scan(dir.path()).unwrap();
        assert_eq!(before, scan(dir.path()).unwrap());
        fs::write(dir.path().join("m/model.onnx"), "mended").unwrap();
        assert_ne!(
            before[0].fingerprint,
            scan(dir.path()).unwrap()[0].fingerprint
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_names_it() {
        let error = scan(Path::new("/nowhere/models")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/models"), "{error}");
    }
}
