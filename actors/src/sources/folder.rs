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
mod tests;
