//! The index of the model repository.

use impetus_actors::model_loader::{ModelControl, OrderError};
use impetus_actors::serving::{Catalog, ModelState};
use serde::Serialize;
use utoipa::ToSchema;

use super::all;

/// One version of a model in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IndexEntry {
    /// The model's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is doing.
    pub state: RepositoryState,
    /// Why, where there is something to say.
    pub reason: String,
}

/// What a model in the repository is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RepositoryState {
    /// Nothing is known of it.
    Unknown,
    /// It takes requests.
    Ready,
    /// It takes none.
    Unavailable,
    /// It will take some soon.
    Loading,
    /// It is being taken out.
    Unloading,
}

/// Returns the models of the repository, or those of them that take requests.
#[must_use]
pub fn index(catalog: &Catalog, ready: bool) -> Vec<IndexEntry> {
    let models = all(catalog);
    let entries = models.iter().map(|model| IndexEntry {
        name: model.spec().name.clone(),
        version: model.spec().version.clone(),
        state: model.state().into(),
        reason: model.reason(),
    });
    entries
        .filter(|entry| !ready || entry.state == RepositoryState::Ready)
        .collect()
}

/// Returns the models of the repository, those that are not loaded among them, or those that take
/// requests.
///
/// # Errors
/// The model folder cannot be read.
pub async fn repository_index(
    control: &ModelControl,
    ready: bool,
) -> Result<Vec<IndexEntry>, OrderError> {
    let entries = control.index().await?.into_iter().map(|entry| IndexEntry {
        name: entry.name,
        version: entry.version,
        state: entry
            .state
            .map_or(RepositoryState::Unavailable, RepositoryState::from),
        reason: entry.reason,
    });
    let wanted = |entry: &IndexEntry| !ready || entry.state == RepositoryState::Ready;
    Ok(entries.filter(wanted).collect())
}

// === impl RepositoryState ===

impl RepositoryState {
    /// Returns the state as it is on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Ready => "READY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Loading => "LOADING",
            Self::Unloading => "UNLOADING",
        }
    }
}

impl From<ModelState> for RepositoryState {
    fn from(state: ModelState) -> Self {
        match state {
            ModelState::Ready | ModelState::Degraded => Self::Ready,
            ModelState::Downloading | ModelState::Loading | ModelState::Warming => Self::Loading,
            ModelState::Unloading => Self::Unloading,
            ModelState::Absent | ModelState::Failed => Self::Unavailable,
        }
    }
}
