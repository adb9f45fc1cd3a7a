//! What the server and its models say of themselves, as plain structs.
//!
//! REST writes them as JSON as they are, so their fields have the names that Triton's have on the
//! wire; gRPC maps them to its messages. What Triton knows of and this server has not (GPUs,
//! sequences, ensembles, response caches) is left out where its clients can do without.

mod config;
mod metadata;
mod repository;
mod statistics;

use std::sync::Arc;

use impetus_actors::serving::{Catalog, ModelEntry, ServeError, ServedModel};
use impetus_engine::Dim;

use super::Refusal;

pub use config::{
    DynamicBatching, InstanceGroup, ModelConfig, QueuePolicy, TensorConfig, VersionPolicy, config,
};
pub use metadata::{ModelMetadata, ServerMetadata, TensorMetadata, metadata, server};
pub use repository::{IndexEntry, RepositoryState, index, repository_index};
pub use statistics::{
    BatchStatistics, InferStatistics, ModelStatistics, StatisticDuration, statistics,
};

/// Returns the model of a name, in one version or in the one that requests without a version get.
///
/// # Errors
/// There is none.
pub fn find(
    catalog: &Catalog,
    name: &str,
    version: Option<&str>,
) -> Result<Arc<ServedModel>, Refusal> {
    let version = version.filter(|version| !version.is_empty());
    Ok(catalog.find(Some(name), version)?)
}

/// Returns every version of a name that takes requests, or the one that is asked for.
///
/// # Errors
/// There is none.
pub fn find_versions(
    catalog: &Catalog,
    name: &str,
    version: Option<&str>,
) -> Result<Vec<Arc<ServedModel>>, Refusal> {
    let found = find(catalog, name, version)?;
    if version.is_some_and(|version| !version.is_empty()) {
        return Ok(vec![found]);
    }
    let entries = catalog.entries();
    let offered = entries.get(name).map(|entry| offered(entry));
    Ok(offered.unwrap_or_else(|| vec![found]))
}

/// Returns every model in every version that takes requests.
#[must_use]
pub fn all(catalog: &Catalog) -> Vec<Arc<ServedModel>> {
    let entries = catalog.entries();
    entries.values().flat_map(|entry| offered(entry)).collect()
}

fn offered(entry: &ModelEntry) -> Vec<Arc<ServedModel>> {
    let versions = entry.offered();
    let models = versions.iter().filter_map(|version| entry.version(version));
    models.cloned().collect()
}

/// Returns the extents of dimensions, -1 where they are free.
fn extents(dims: &[Dim]) -> Vec<i64> {
    dims.iter()
        .map(|dim| match dim {
            Dim::Fixed(extent) => i64::try_from(*extent).unwrap_or(i64::MAX),
            Dim::Free(_) => -1,
        })
        .collect()
}

/// Says that a model has not been loaded yet, and so has not said what it takes.
fn unknown_yet(model: &ServedModel) -> Refusal {
    let reason = model.reason();
    let reason = if reason.is_empty() {
        "no worker has loaded it yet".to_owned()
    } else {
        reason
    };
    ServeError::NotReady {
        model: model.spec().name.clone(),
        state: model.state(),
        reason,
        retry_after: std::time::Duration::from_secs(1),
    }
    .into()
}
