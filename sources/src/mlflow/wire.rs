//! What the registry's answers look like; only what is used of them.

use serde::{Deserialize, Deserializer};

use super::error::RegistryError;
use super::{ModelVersion, http};
use crate::location::{RegistryUri, Selector};

/// `registered-models/search`.
#[derive(Debug, Deserialize)]
pub(super) struct SearchAnswer {
    #[serde(default)]
    pub(super) registered_models: Vec<RegisteredModel>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

/// `registered-models/get`.
#[derive(Debug, Deserialize)]
pub(super) struct ModelAnswer {
    pub(super) registered_model: RegisteredModel,
}

/// `registered-models/alias` and `model-versions/get`.
#[derive(Debug, Deserialize)]
pub(super) struct VersionAnswer {
    pub(super) model_version: Version,
}

/// `model-versions/get-download-uri`.
#[derive(Debug, Deserialize)]
pub(super) struct DownloadAnswer {
    pub(super) artifact_uri: String,
}

/// `mlflow-artifacts/artifacts`; nothing at all for a folder that is not there.
#[derive(Debug, Deserialize)]
pub(super) struct ListAnswer {
    #[serde(default)]
    pub(super) files: Vec<FileInfo>,
}

/// What lies in a folder: `path` is its name there.
#[derive(Debug, Deserialize)]
pub(super) struct FileInfo {
    pub(super) path: String,
    #[serde(default)]
    pub(super) is_dir: bool,
    #[serde(default, deserialize_with = "number_or_text")]
    pub(super) file_size: Option<u64>,
}

/// A registered model: the newest version of each of its stages, and all of its aliases.
#[derive(Debug, Deserialize)]
pub(super) struct RegisteredModel {
    pub(super) name: String,
    #[serde(default)]
    latest_versions: Vec<Version>,
    #[serde(default)]
    aliases: Vec<Alias>,
}

#[derive(Debug, Deserialize)]
struct Alias {
    alias: String,
    #[serde(deserialize_with = "number")]
    version: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Version {
    name: String,
    #[serde(deserialize_with = "number")]
    version: u64,
    #[serde(default)]
    current_stage: Option<String>,
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default, deserialize_with = "number_or_text")]
    creation_timestamp: Option<u64>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    status_message: Option<String>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
}

/// Why a version cannot be used.
#[derive(Debug)]
pub(super) enum VersionError {
    /// It is not the one that was asked for.
    Other,
    /// It is not ready.
    NotReady(RegistryError),
}

// === impl RegisteredModel ===

impl RegisteredModel {
    /// Returns the number of the version that is meant, and whatever is told of it. One that is not
    /// the newest of its stage is not told of.
    pub(super) fn find(&self, selector: &Selector) -> Option<(u64, Option<&Version>)> {
        let number = match selector {
            Selector::Alias(alias) => {
                let alias = self.aliases.iter().find(|known| known.alias == *alias);
                alias?.version
            }
            Selector::Version(number) => *number,
            Selector::Stage(stage) => {
                let in_stage = |version: &&Version| version.stage().eq_ignore_ascii_case(stage);
                let versions = self.latest_versions.iter().filter(in_stage);
                versions.map(|version| version.version).max()?
            }
            Selector::Latest => self.latest_versions.iter().map(|it| it.version).max()?,
        };
        let told = self.latest_versions.iter().find(|it| it.version == number);
        Some((number, told))
    }

    /// Returns the version that is meant by its stage or as the newest, and its aliases.
    pub(super) fn select(
        &self,
        uri: &RegistryUri,
    ) -> Result<(&Version, Vec<String>), RegistryError> {
        match self.find(&uri.selector) {
            Some((number, Some(version))) => Ok((version, self.aliases_of(number))),
            _ => Err(none(uri)),
        }
    }

    /// Returns the aliases that point to a version, in the order of their names.
    pub(super) fn aliases_of(&self, number: u64) -> Vec<String> {
        let these = self.aliases.iter().filter(|alias| alias.version == number);
        these.map(|alias| alias.alias.clone()).collect()
    }
}

// === impl Version ===

impl Version {
    fn stage(&self) -> &str {
        match self.current_stage.as_deref() {
            None | Some("") => "None",
            Some(stage) => stage,
        }
    }

    /// Returns what is told of it, if it is ready and of the model of that name.
    pub(super) fn ready(
        &self,
        name: &str,
        mut aliases: Vec<String>,
    ) -> Result<ModelVersion, VersionError> {
        if self.name != name || self.version == 0 {
            return Err(VersionError::Other);
        }
        let (name, version) = (self.name.clone(), self.version);
        match self.status.as_deref() {
            // Registries that know no other leave it out.
            None | Some("" | "READY") => {}
            Some(status) if status.starts_with("FAILED") => {
                let why = http::short(
                    self.status_message
                        .as_deref()
                        .unwrap_or("no reason is given"),
                );
                let status = http::short(status);
                return Err(VersionError::NotReady(RegistryError::Failed {
                    name,
                    version,
                    status,
                    why,
                }));
            }
            Some(status) => {
                let status = http::short(status);
                return Err(VersionError::NotReady(RegistryError::Pending {
                    name,
                    version,
                    status,
                }));
            }
        }
        aliases.sort_unstable();
        Ok(ModelVersion {
            name,
            version,
            stage: self.stage().to_owned(),
            aliases,
            run_id: self.run_id.clone().filter(|id| !id.is_empty()),
            created: self.creation_timestamp,
        })
    }
}

// === impl VersionError ===

impl VersionError {
    /// Returns the error of the registry at an address that it is.
    pub(super) fn on(self, url: &str) -> RegistryError {
        match self {
            Self::NotReady(error) => error,
            Self::Other => RegistryError::Garbage {
                url: url.to_owned(),
                why: "it tells of another version than it was asked for".to_owned(),
            },
        }
    }
}

/// Returns the error that there is no such version of a model that there is.
pub(super) fn none(uri: &RegistryUri) -> RegistryError {
    let why = match &uri.selector {
        Selector::Alias(alias) => format!("no alias {alias:?} points to any of its versions"),
        Selector::Version(number) => format!("there is no version {number}"),
        Selector::Stage(stage) => format!("none of its versions is in the stage {stage:?}"),
        Selector::Latest => "it has no versions".to_owned(),
    };
    RegistryError::NotFound {
        what: uri.to_string(),
        why,
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl NumberOrText {
    fn read<E: serde::de::Error>(self) -> Result<u64, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.parse().map_err(E::custom),
        }
    }
}

/// Versions are numbers written as texts.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    NumberOrText::deserialize(deserializer)?.read()
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let found = Option::<NumberOrText>::deserialize(deserializer)?;
    found.map(NumberOrText::read).transpose()
}
