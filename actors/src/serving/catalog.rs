//! The snapshot table in which a request finds its model.
//!
//! Readers take a snapshot and never wait; the model loader alone writes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use impetus_engine::RuntimeInfo;

use super::rejection::{Rejection, Rejections};
use super::{Route, ServeError, ServedModel};

/// The models that are configured, by name, and what is known of the engine as such.
#[derive(Debug, Default)]
pub struct Catalog {
    models: ArcSwap<BTreeMap<String, Arc<ServedModel>>>,
    runtime: arc_swap::ArcSwapOption<RuntimeInfo>,
    scans: AtomicU64,
    source_problem: arc_swap::ArcSwapOption<String>,
    rejections: Rejections,
}

// === impl Catalog ===

impl Catalog {
    /// Returns the model of that name, or the only one when no name is given; a request for none is
    /// counted as turned away.
    ///
    /// # Errors
    /// Says which models there are when the name is unknown or missing.
    pub fn find(&self, name: Option<&str>) -> Result<Arc<ServedModel>, ServeError> {
        let found = self.look_up(name);
        match &found {
            Err(ServeError::UnknownModel { .. }) => self.rejections.count(Rejection::UnknownModel),
            Err(_) => self.rejections.count(Rejection::NoModel),
            Ok(_) => {}
        }
        found
    }

    /// Returns the way to the model of that name, or to the only one when no name is given, in that
    /// version, or in the one that is to be used when none is given.
    ///
    /// # Errors
    /// Says which models there are when the name is unknown or missing, and that the version is
    /// unknown when it is.
    pub fn route(&self, name: Option<&str>, version: Option<&str>) -> Result<Route, ServeError> {
        let model = self.find(name)?;
        match version {
            Some(version) if model.spec().version != version => {
                self.rejections.count(Rejection::UnknownModel);
                Err(ServeError::UnknownVersion {
                    name: model.spec().name.clone(),
                    version: version.to_owned(),
                })
            }
            _ => Ok(Route::to(model)),
        }
    }

    /// Counts a request that was turned away before it was read, because the server is ending.
    pub fn turned_away_at_the_end(&self) {
        self.rejections.count(Rejection::Draining);
    }

    /// Returns how many requests for no model that is known were turned away, by the reason.
    pub fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = Rejection::OF_NO_MODEL.into_iter();
        reasons.map(|reason| (reason.as_str(), self.rejections.of(reason)))
    }

    fn look_up(&self, name: Option<&str>) -> Result<Arc<ServedModel>, ServeError> {
        let models = self.models.load();
        match name {
            Some(name) => models
                .get(name)
                .cloned()
                .ok_or_else(|| ServeError::UnknownModel {
                    name: name.to_owned(),
                }),
            None if models.len() == 1 => {
                let only = models
                    .values()
                    .next()
                    .expect("a map of one has a first value");
                Ok(Arc::clone(only))
            }
            None if models.is_empty() => Err(ServeError::NoModel {
                reason: "no model is loaded: put one into the model folder as <name>/model.onnx"
                    .to_owned(),
            }),
            None => {
                let names: Vec<&str> = models.keys().map(String::as_str).collect();
                Err(ServeError::NoModel {
                    reason: format!(
                        "several models are served, name one with ?model=: {}",
                        names.join(", ")
                    ),
                })
            }
        }
    }

    /// Returns every model, in the order of their names.
    #[must_use]
    pub fn models(&self) -> Arc<BTreeMap<String, Arc<ServedModel>>> {
        self.models.load_full()
    }

    /// Replaces the table; models not in it any more stop taking requests when their owner closes
    /// them.
    pub fn publish(&self, models: BTreeMap<String, Arc<ServedModel>>) {
        self.models.store(Arc::new(models));
    }

    /// Remembers that an engine process of this build has loaded its runtime.
    pub fn runtime_loaded(&self, runtime: RuntimeInfo) {
        self.runtime.store(Some(Arc::new(runtime)));
    }

    /// Returns the runtime that an engine process has loaded, once one has.
    #[must_use]
    pub fn runtime(&self) -> Option<Arc<RuntimeInfo>> {
        self.runtime.load_full()
    }

    /// Remembers how the last look at the model folder went: what was wrong with it, if anything.
    pub fn scanned(&self, problem: Option<String>) {
        self.source_problem.store(problem.map(Arc::new));
        self.scans.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often the model folder has been looked at.
    #[must_use]
    pub fn scans(&self) -> u64 {
        self.scans.load(Ordering::Relaxed)
    }

    /// Returns what was wrong with the model folder when it was last looked at.
    #[must_use]
    pub fn source_problem(&self) -> Option<Arc<String>> {
        self.source_problem.load_full()
    }
}
