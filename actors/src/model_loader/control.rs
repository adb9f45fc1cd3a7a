//! Loading and unloading by hand.
//!
//! The order goes to the loader; what comes of it is waited for here, so that the loader never
//! stands still for a model that takes minutes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_supervision::{ActorRef, AskError};
use thiserror::Error;

use super::{Given, LoaderMsg};
use crate::serving::{Catalog, ModelState, ServedModel};
use crate::sources::folder;

/// How long the loader may take to begin with an order.
const ORDER_WITHIN: Duration = Duration::from_secs(30);
/// How long a look into the folder may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Loads and unloads models.
#[derive(Debug, Clone)]
pub struct ModelControl {
    loader: ActorRef<LoaderMsg>,
    catalog: Arc<Catalog>,
    dir: PathBuf,
}

/// A version of a model in the folder, or one that stands although it lies there no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its state; `None` when it is not loaded.
    pub state: Option<ModelState>,
    /// Why it is in that state; empty when there is nothing to say.
    pub reason: String,
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderError {
    /// There is no such model in the folder.
    #[error("there is no model {name:?} in {}, nor among those from elsewhere", dir.display())]
    NotThere {
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The folder cannot be read.
    #[error("{0}")]
    Source(String),
    /// It could not be loaded; what served before serves on.
    #[error("model {name:?} version {version} could not be loaded: {reason}")]
    NotLoaded {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Why.
        reason: String,
    },
    /// Its files are not here yet.
    #[error("model {name:?} is not here yet: {reason}; it is loaded when it is")]
    NotHere {
        /// Its name.
        name: String,
        /// How far they are.
        reason: String,
    },
    /// It is under way, and not yet there.
    #[error("model {name:?} is not {what} yet after {:.0} s; it goes on", within.as_secs_f64())]
    NotYet {
        /// Its name.
        name: String,
        /// What it will be.
        what: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// The loader did not take the order.
    #[error("the model loader does not take orders now: {0}; try again")]
    NotNow(String),
}

// === impl ModelControl ===

impl ModelControl {
    pub(super) fn new(loader: ActorRef<LoaderMsg>, catalog: Arc<Catalog>, dir: PathBuf) -> Self {
        Self {
            loader,
            catalog,
            dir,
        }
    }

    /// Has a model loaded as it lies in the folder now, and waits until it serves. What served
    /// before serves meanwhile, and goes on when this fails. One that is loaded already and has not
    /// changed is left as it is.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn load(
        &self,
        name: &str,
        given: Option<Box<Given>>,
        within: Duration,
    ) -> Result<Vec<Arc<ServedModel>>, OrderError> {
        let until = Instant::now() + within;
        let name = name.to_owned();
        let order = |reply| LoaderMsg::Load {
            name: name.clone(),
            given,
            reply,
        };
        let models = self.loader.ask(order, ORDER_WITHIN.min(within)).await??;
        if let Some(awaited) = models.iter().find(|model| model.is_awaited()) {
            let reason = awaited.reason();
            return Err(OrderError::NotHere { name, reason });
        }
        for model in &models {
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, model.in_service()).await {
                Ok(true) => {}
                Ok(false) => {
                    return Err(OrderError::NotLoaded {
                        name,
                        version: model.spec().version.clone(),
                        reason: model.reason(),
                    });
                }
                Err(_) => return Err(not_yet(name, "loaded", within)),
            }
        }
        Ok(models)
    }

    /// Has a model taken out of service, and waits until it is gone: those inside are answered.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn unload(&self, name: &str, within: Duration) -> Result<(), OrderError> {
        let until = Instant::now() + within;
        let name = name.to_owned();
        let order = |reply| LoaderMsg::Unload {
            name: name.clone(),
            reply,
        };
        let models = self.loader.ask(order, ORDER_WITHIN.min(within)).await??;
        for model in &models {
            let left = until.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, model.gone()).await.is_err() {
                return Err(not_yet(name, "unloaded", within));
            }
        }
        Ok(())
    }

    /// Returns every version that lies in the folder or stands, in the order of names and versions.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn index(&self) -> Result<Vec<IndexEntry>, OrderError> {
        let dir = self.dir.clone();
        let look = tokio::task::spawn_blocking(move || folder::scan(&dir));
        let found = match tokio::time::timeout(LOOK_WITHIN, look).await {
            Ok(Ok(found)) => found.map_err(|error| OrderError::Source(error.to_string()))?,
            Ok(Err(panicked)) => return Err(OrderError::Source(panicked.to_string())),
            Err(_) => {
                let dir = self.dir.display();
                let seconds = LOOK_WITHIN.as_secs();
                let problem = format!("model folder {dir} did not answer within {seconds} s");
                return Err(OrderError::Source(problem));
            }
        };
        let mut index = self.standing();
        for found in &found {
            for version in found.versions() {
                let is = |entry: &IndexEntry| entry.name == found.name && entry.version == version;
                if !index.iter().any(is) {
                    index.push(IndexEntry::unloaded(&found.name, version));
                }
            }
        }
        index.sort_by_cached_key(|entry| {
            let number: Option<u64> = entry.version.parse().ok();
            (entry.name.clone(), number, entry.version.clone())
        });
        Ok(index)
    }

    fn standing(&self) -> Vec<IndexEntry> {
        let mut index: Vec<IndexEntry> = Vec::new();
        for entry in self.catalog.entries().values() {
            for version in entry.offered() {
                index.extend(entry.version(&version).map(|model| IndexEntry {
                    name: entry.name().to_owned(),
                    version,
                    state: Some(model.state()),
                    reason: model.reason(),
                }));
            }
        }
        index
    }
}

fn not_yet(name: String, what: &'static str, within: Duration) -> OrderError {
    OrderError::NotYet { name, what, within }
}

// === impl IndexEntry ===

impl IndexEntry {
    fn unloaded(name: &str, version: String) -> Self {
        Self {
            name: name.to_owned(),
            version,
            state: None,
            reason: "unloaded".to_owned(),
        }
    }
}

// === impl OrderError ===

impl From<AskError> for OrderError {
    fn from(error: AskError) -> Self {
        Self::NotNow(error.to_string())
    }
}
