//! Where the ONNX Runtime library is.
//!
//! The library is not part of the build: it is fetched beside it, comes with
//! the image, or belongs to the system. The server never loads it; it only
//! finds the path that it gives to its workers. When nothing is found the
//! error lists every place that was looked at, because "library not found" is
//! the one start-up error that everybody meets.
//!
//! A path that is configured is taken at its word: no search, and no other
//! library in its place when it is missing.

use std::env::consts::{DLL_EXTENSION, DLL_PREFIX};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders to search, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPlaces(pub Vec<PathBuf>);

/// The library is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeLibraryMissing {
    /// The configured path is no file.
    #[error("runtime.library is {}, where there is no file", .0.display())]
    Configured(PathBuf),
    /// None of the usual places has it.
    #[error(
        "no {} in {}; fetch it with `make build` or set runtime.library",
        library_name(),
        list(.0)
    )]
    NotFound(Vec<PathBuf>),
}

/// Returns the absolute path of the runtime library.
///
/// `configured` is `runtime.library`; when it is empty, the places are searched.
///
/// # Errors
///
/// When there is no such file; the message lists where it was looked for.
pub fn resolve_runtime_library(
    configured: &Path,
    places: &SearchPlaces,
) -> Result<PathBuf, RuntimeLibraryMissing> {
    if !configured.as_os_str().is_empty() {
        let path = absolute(configured);
        return match path.is_file() {
            true => Ok(path),
            false => Err(RuntimeLibraryMissing::Configured(path)),
        };
    }
    places
        .0
        .iter()
        .find_map(|folder| library_in(folder))
        .ok_or_else(|| RuntimeLibraryMissing::NotFound(places.0.clone()))
}

// === impl SearchPlaces ===

impl SearchPlaces {
    /// Returns the places for the running binary: beside it, `.onnxruntime` two
    /// folders above it (the root of the source tree for `target/release/impetus`)
    /// and in the working folder, then where the system keeps libraries.
    pub fn usual() -> Self {
        let executable = std::env::current_exe().ok();
        let working_dir = std::env::current_dir().ok();
        Self::of(executable.as_deref(), working_dir.as_deref())
    }

    /// Returns the places for a binary at this path, started in this folder.
    pub fn of(executable: Option<&Path>, working_dir: Option<&Path>) -> Self {
        let mut places = Vec::new();
        if let Some(folder) = executable.and_then(Path::parent) {
            places.push(folder.to_owned());
            if let Some(root) = folder.parent().and_then(Path::parent) {
                places.push(root.join(".onnxruntime"));
            }
        }
        places.extend(working_dir.map(|folder| folder.join(".onnxruntime")));
        places.extend(SYSTEM.iter().map(PathBuf::from));
        let mut seen = Vec::new();
        places.retain(|place| {
            !seen.contains(place) && {
                seen.push(place.clone());
                true
            }
        });
        Self(places)
    }
}

#[cfg(target_os = "macos")]
const SYSTEM: &[&str] = &["/opt/homebrew/lib", "/usr/local/lib"];

#[cfg(not(target_os = "macos"))]
const SYSTEM: &[&str] = &[
    "/usr/local/lib",
    "/usr/lib",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
];

/// Returns the library in a folder: the bare name, or else the highest version.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let bare = folder.join(library_name());
    if bare.is_file() {
        return Some(absolute(&bare));
    }
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = version_of(path.file_name()?.to_str()?)?;
            path.is_file().then_some((version, path))
        })
        .max()
        .map(|(_, path)| absolute(&path))
}

/// Returns the version in a name such as `libonnxruntime.so.1.32.0` or
/// `libonnxruntime.1.32.0.dylib`; nothing for other names.
fn version_of(name: &str) -> Option<Vec<u64>> {
    let stem = name
        .strip_prefix(DLL_PREFIX)?
        .strip_prefix("onnxruntime.")?;
    let version = stem
        .strip_prefix(&format!("{DLL_EXTENSION}."))
        .or_else(|| stem.strip_suffix(&format!(".{DLL_EXTENSION}")))?;
    version.split('.').map(|part| part.parse().ok()).collect()
}

fn library_name() -> String {
    format!("{DLL_PREFIX}onnxruntime.{DLL_EXTENSION}")
}

/// Makes a path independent of the folder that a worker is started in.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn list(places: &[PathBuf]) -> String {
    let places: Vec<String> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    places.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        folder
    }

    #[test]
    fn a_configured_library_that_is_missing_is_not_replaced_by_another_one() {
        let folder = folder_with(&[&library_name()]);
        let places = SearchPlaces(vec![folder.path().to_owned()]);
        let wanted = folder.path().join("elsewhere.so");
        assert_eq!(
            resolve_runtime_library(&wanted, &places),
            Err(RuntimeLibraryMissing::Configured(wanted))
        );
    }

    #[test]
    fn the_first_place_that_has_the_library_wins() {
        let (empty, first, second) = (
            folder_with(&[]),
            folder_with(&[&library_name()]),
            folder_with(&[&library_name()]),
        );
        let places = [&empty, &first, &second].map(|folder| folder.path().to_owned());
        let found = resolve_runtime_library(Path::new(""), &SearchPlaces(places.to_vec()));
        assert_eq!(found, Ok(first.path().join(library_name())));
    }

    #[test]
    fn the_message_lists_every_place_that_was_looked_at() {
        let folder = folder_with(&["libonnxruntime_providers_shared.so", "onnxruntime.txt"]);
        let places = SearchPlaces(vec![folder.path().to_owned(), PathBuf::from("/nowhere")]);
        let error = resolve_runtime_library(Path::new(""), &places).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("/nowhere"), "{message}");
        assert!(
            message.contains(folder.path().to_str().unwrap()),
            "{message}"
        );
        assert!(message.contains("runtime.library"), "{message}");
    }

    #[test]
    fn a_binary_in_its_build_folder_finds_what_was_fetched_into_the_source_tree() {
        let places = SearchPlaces::of(
            Some(Path::new("/src/impetus/target/release/impetus")),
            Some(Path::new("/src/impetus")),
        );
        assert_eq!(places.0[0], Path::new("/src/impetus/target/release"));
        assert_eq!(places.0[1], Path::new("/src/impetus/.onnxruntime"));
        assert!(!places.0[2..].contains(&places.0[1]), "{places:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_several_versions_the_highest_is_taken() {
        let folder = folder_with(&[
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.32.0",
            "libonnxruntime.so.1",
            "libonnxruntime_providers_shared.so",
        ]);
        let places = SearchPlaces(vec![folder.path().to_owned()]);
        let found = resolve_runtime_library(Path::new(""), &places).unwrap();
        assert_eq!(found.file_name().unwrap(), "libonnxruntime.so.1.32.0");
    }
}
