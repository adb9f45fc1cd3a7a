//! A folder of models: `<name>/model.onnx`, or `<name>/<version>/model.onnx` where several versions
//! may lie beside each other, with a description of the model beside them.
//!
//! What lies there and what is wanted of it are two things: [`scan`] says the one, and
//! [`Found::wanted`] the other, by the model's version policy.
//!
//! A model that cannot be described is not left out: it is wanted, with the problem as its reason,
//! so that the person who put it there finds it in the list. Only a folder that cannot be read at
//! all is an error, and then nothing is concluded about the models in it.

mod fingerprint;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use impetus_engine::ModelFormat;
use thiserror::Error;

use super::arrival::Arrival;
use crate::serving::description::Description;
use crate::serving::{ModelKind, ModelSpec};

pub use fingerprint::Fingerprint;

/// The folder into which exporters of language models put the graph.
const EXPORTED: &str = "onnx";
/// The version of a model whose folder names none and whose description neither.
const ONLY_VERSION: &str = "1";

/// A model as it lies in the folder, with every version of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name, which is that of its folder.
    pub name: String,
    /// What is said about it.
    pub description: Description,
    /// Why what is said about it cannot be used.
    pub problem: Option<String>,
    /// What it consists of beside its versions.
    shared: Fingerprint,
    versions: Vec<FoundVersion>,
}

/// A version of a model as it lies in the folder.
#[derive(Debug, Clone, PartialEq)]
struct FoundVersion {
    /// Its number, where the folder names versions.
    number: Option<u64>,
    file: PathBuf,
}

/// A version of a model that should be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What it is.
    pub spec: ModelSpec,
    /// Changes when its files do.
    pub fingerprint: Fingerprint,
    /// Why it cannot even be tried.
    pub problem: Option<String>,
    /// How far its files are, while they are not here.
    pub arrival: Option<Arc<Arrival>>,
}

/// Why a folder of models could not be read.
#[derive(Debug, Error)]
#[error("model folder {} cannot be read: {source}; check that it exists and may be read, or set models.dir", dir.display())]
pub struct ScanError {
    dir: PathBuf,
    source: io::Error,
}

/// Looks which models a folder holds, in the order of their names. Blocks on the file system.
///
/// # Errors
/// The folder itself cannot be listed.
pub fn scan(dir: &Path) -> Result<Vec<Found>, ScanError> {
    let failed = |source| ScanError {
        dir: dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        found.extend(look_into(name, &path));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Looks at the folder of one model, under the name it is to be served by. Blocks on the file system.
/// `None` when there is no model in it.
#[must_use]
pub fn look_into(name: &str, folder: &Path) -> Option<Found> {
    let (description, problem) = match super::describe(name, folder) {
        Ok(description) => (description, None),
        Err(problem) => (Description::default(), Some(problem)),
    };
    let mut versions = find_any(folder, &description);
    if versions.is_empty() && problem.is_some() {
        // Nobody knows what its file is called: the problem is what there is to see.
        versions.push(FoundVersion {
            number: None,
            file: folder.join(description.file_name()),
        });
    }
    if versions.is_empty() {
        return None;
    }
    let mut shared = Fingerprint::of_folder(folder);
    for file in &description.reads {
        shared.add_file(file);
    }
    Some(Found {
        name: name.to_owned(),
        description,
        problem,
        shared,
        versions,
    })
}

/// Returns the versions of a model whatever form it has, unless its description names the file: then
/// that one alone is looked for.
fn find_any(folder: &Path, description: &Description) -> Vec<FoundVersion> {
    let versions = find_versions(folder, description.file_name());
    if !versions.is_empty() || description.file.is_some() {
        return versions;
    }
    let others = ModelFormat::core_ml_names().map(|name| find_versions(folder, &name));
    others
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// Tells whether a model lies under this path. Core ML keeps some in folders.
fn is_model(path: &Path) -> bool {
    path.is_file() || (ModelFormat::of(path) == ModelFormat::CoreMl && path.is_dir())
}

/// Returns the versions of a model, the lowest first. A file beside the versions is the model.
fn find_versions(folder: &Path, file_name: &str) -> Vec<FoundVersion> {
    let plain = folder.join(file_name);
    if is_model(&plain) {
        return vec![FoundVersion {
            number: None,
            file: plain,
        }];
    }
    let exported = folder.join(EXPORTED).join(file_name);
    if is_model(&exported) {
        return vec![FoundVersion {
            number: None,
            file: exported,
        }];
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut versions: Vec<FoundVersion> = entries
        .filter_map(|entry| {
            let number: u64 = entry.file_name().to_str()?.parse().ok()?;
            let file = entry.path().join(file_name);
            is_model(&file).then_some(FoundVersion {
                number: Some(number),
                file,
            })
        })
        .collect();
    versions.sort_by_key(|version| version.number);
    versions
}

// === impl Found ===

impl Found {
    /// Returns every version that lies there, the lowest first.
    pub fn versions(&self) -> impl Iterator<Item = String> {
        self.versions.iter().map(|version| self.name_of(version))
    }

    /// Returns the size of the graphs of all its versions, with the weights that lie beside them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.versions
            .iter()
            .map(|version| bytes_of(&version.file))
            .sum()
    }

    /// Returns the same model with a number as its version, which its folder does not say.
    #[must_use]
    pub fn numbered(mut self, number: u64) -> Self {
        for version in &mut self.versions {
            version.number = Some(number);
        }
        self
    }

    /// Returns the same model under another description, given by hand as `text`.
    #[must_use]
    pub fn described(mut self, description: Description, text: &str) -> Self {
        self.description = description;
        self.problem = None;
        self.shared.add_text(text);
        self
    }

    /// Returns the versions that are to be served, by the model's version policy. A model of which
    /// there is none is wanted all the same, so that the reason is seen.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        let numbers: Vec<u64> = self.versions.iter().filter_map(|v| v.number).collect();
        let selected = self.description.versions.select(&numbers);
        let wanted = self.versions.iter().filter(|version| match version.number {
            Some(number) => selected.contains(&number),
            None => true,
        });
        let wanted: Vec<Wanted> = wanted.map(|version| self.want(version)).collect();
        match (wanted.is_empty(), self.versions.last()) {
            (true, Some(newest)) => vec![self.missing(newest)],
            _ => wanted,
        }
    }

    fn want(&self, version: &FoundVersion) -> Wanted {
        let mut fingerprint = self.shared.clone();
        if version.number.is_some()
            && let Some(folder) = version.file.parent()
        {
            fingerprint.add_folder(folder);
        }
        let file = &version.file;
        if file.is_dir() {
            fingerprint.add_model_folder(file);
        }
        Wanted {
            spec: ModelSpec {
                kind: ModelKind::of(self.description.task.as_deref(), file),
                name: self.name.clone(),
                version: self.name_of(version),
                versioned: version.number.is_some(),
                load: 1,
                bytes: bytes_of(file),
                path: fs::canonicalize(file).unwrap_or_else(|_| file.clone()),
                description: self.description.clone(),
            },
            fingerprint,
            problem: self.problem.clone(),
            arrival: None,
        }
    }

    fn missing(&self, newest: &FoundVersion) -> Wanted {
        let there: Vec<String> = self.versions().collect();
        let why = format!(
            "its version policy wants none of the versions that are there: {}",
            there.join(", ")
        );
        let mut wanted = self.want(newest);
        wanted.problem = self.problem.clone().or(Some(why));
        wanted
    }

    fn name_of(&self, version: &FoundVersion) -> String {
        match (version.number, &self.description.version) {
            (Some(number), _) => number.to_string(),
            (None, Some(said)) => said.clone(),
            (None, None) => ONLY_VERSION.to_owned(),
        }
    }
}

/// Returns the size of a model's file with the weights that lie beside it: `model.onnx.data` and the
/// like.
fn bytes_of(file: &Path) -> u64 {
    if file.is_dir() {
        let mut whole = Fingerprint::default();
        whole.add_model_folder(file);
        return whole.bytes();
    }
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str()))
    else {
        return size(file);
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let own = entries.filter(|entry| {
        let entry = entry.file_name();
        entry.to_str().is_some_and(|entry| entry.starts_with(name))
    });
    own.map(|entry| size(&entry.path())).sum()
}

impl Wanted {
    /// Returns a model that was asked for by name and does not lie there.
    #[must_use]
    pub fn not_there(name: &str, dir: &Path) -> Self {
        let folder = dir.join(name);
        let description = Description::default();
        let file = description.file_name();
        Self {
            problem: Some(format!(
                "it is to be loaded, but {} holds neither {file} nor <version>/{file}",
                folder.display()
            )),
            spec: ModelSpec {
                name: name.to_owned(),
                version: ONLY_VERSION.to_owned(),
                versioned: false,
                load: 1,
                kind: ModelKind::default(),
                path: folder.join(file),
                bytes: 0,
                description,
            },
            fingerprint: Fingerprint::default(),
            arrival: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(dir: &Path) -> Vec<Wanted> {
        scan(dir).unwrap().iter().flat_map(Found::wanted).collect()
    }

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
        let wanted = wanted(dir.path());
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
        let wanted = wanted(dir.path());
        assert!(wanted[0].problem.as_ref().unwrap().contains("lables"));
        assert_eq!(wanted[1].problem, None);
        assert_eq!(wanted[1].spec.version, "7");
        assert!(wanted[2].problem.as_ref().unwrap().contains("\"another\""));
    }

    #[test]
    fn a_policy_chooses_among_the_versions_and_says_when_there_is_nothing_to_choose() {
        let dir = folder(&[
            ("all/1/model.onnx", "x"),
            ("all/3/model.onnx", "x"),
            ("all/model.toml", "versions = \"all\""),
            ("none/1/model.onnx", "x"),
            ("none/model.toml", "versions = { specific = [2] }"),
        ]);
        let wanted = wanted(dir.path());
        let versions: Vec<_> = wanted.iter().map(|w| w.spec.version.as_str()).collect();
        assert_eq!(versions, ["1", "3", "1"]);
        assert!(wanted[2].problem.as_ref().unwrap().contains("policy"));
        let found = scan(dir.path()).unwrap();
        assert_eq!(found[0].versions().collect::<Vec<_>>(), ["1", "3"]);
    }

    #[test]
    fn a_mended_file_has_another_fingerprint_and_so_has_one_beside_it() {
        let dir = folder(&[("m/model.onnx", "x"), ("v/1/model.onnx", "x")]);
        let before = wanted(dir.path());
        assert_eq!(before, wanted(dir.path()));
        fs::write(dir.path().join("m/model.onnx"), "mended").unwrap();
        fs::write(dir.path().join("v/1/weights.data"), "more").unwrap();
        let after = wanted(dir.path());
        assert_ne!(before[0].fingerprint, after[0].fingerprint);
        assert_ne!(before[1].fingerprint, after[1].fingerprint);
    }

    #[test]
    fn a_new_version_leaves_the_fingerprint_of_the_old_one_alone() {
        let dir = folder(&[
            ("m/1/model.onnx", "x"),
            ("m/model.toml", "versions = \"all\""),
        ]);
        let before = wanted(dir.path());
        fs::create_dir(dir.path().join("m/2")).unwrap();
        fs::write(dir.path().join("m/2/model.onnx"), "y").unwrap();
        fs::write(dir.path().join("m/README.md"), "about it").unwrap();
        assert_eq!(wanted(dir.path())[0], before[0]);
    }

    #[test]
    fn a_model_may_have_a_file_of_another_name() {
        let dir = folder(&[
            ("own/encoder.onnx", "x"),
            ("own/model.toml", "file = \"encoder.onnx\""),
            ("triton/7/best.onnx", "x"),
            (
                "triton/config.pbtxt",
                "default_model_filename: \"best.onnx\"",
            ),
        ]);
        let wanted = wanted(dir.path());
        let file = |w: &Wanted| w.spec.path.file_name().unwrap().to_owned();
        assert_eq!(
            wanted.iter().map(file).collect::<Vec<_>>(),
            ["encoder.onnx", "best.onnx"]
        );
    }

    #[test]
    fn a_description_that_is_not_understood_is_seen_whatever_the_models_file_is_called() {
        let dir = folder(&[
            ("m/best.onnx", "x"),
            (
                "m/config.pbtxt",
                "default_model_filename: \"best.onnx\" platform: \"ensemble\"",
            ),
        ]);
        let wanted = wanted(dir.path());
        assert!(wanted[0].problem.as_ref().unwrap().contains("ensemble"));
    }

    #[test]
    fn a_file_that_the_description_names_is_one_of_the_models_wherever_it_lies() {
        let dir = folder(&[
            ("m/model.onnx", "x"),
            ("m/names/labels.txt", "a"),
            ("m/model.toml", "labels_file = \"names/labels.txt\""),
        ]);
        let before = wanted(dir.path());
        assert_eq!(before[0].spec.description.labels, ["a"]);
        fs::write(dir.path().join("m/names/labels.txt"), "other").unwrap();
        assert_ne!(before[0].fingerprint, wanted(dir.path())[0].fingerprint);
    }

    #[test]
    fn a_core_ml_model_is_found_though_it_is_a_folder_and_changes_with_what_lies_in_it() {
        let dir = folder(&[
            ("packed/model.mlpackage/Manifest.json", "{}"),
            ("packed/model.mlpackage/Data/weights/weight.bin", "12345"),
            ("compiled/3/model.mlmodelc/model.mil", "x"),
            ("spec/model.mlmodel", "xyz"),
            ("named/own.mlpackage/Manifest.json", "{}"),
            ("named/model.toml", "file = \"own.mlpackage\""),
            ("onnx-first/model.onnx", "x"),
            ("onnx-first/model.mlmodel", "x"),
        ]);
        let before = wanted(dir.path());
        let found: Vec<_> = before
            .iter()
            .map(|w| {
                let file = w.spec.path.file_name().unwrap().to_str().unwrap();
                (
                    w.spec.name.as_str(),
                    file,
                    w.spec.version.as_str(),
                    w.spec.bytes,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("compiled", "model.mlmodelc", "3", 1),
                ("named", "own.mlpackage", "1", 2),
                ("onnx-first", "model.onnx", "1", 1),
                ("packed", "model.mlpackage", "1", 7),
                ("spec", "model.mlmodel", "1", 3),
            ]
        );
        let weights = "packed/model.mlpackage/Data/weights/weight.bin";
        fs::write(dir.path().join(weights), "123456").unwrap();
        let after = wanted(dir.path());
        assert_ne!(before[3].fingerprint, after[3].fingerprint);
        assert_eq!(before[4].fingerprint, after[4].fingerprint);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_names_it() {
        let error = scan(Path::new("/nowhere/models")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/models"), "{error}");
    }
}
