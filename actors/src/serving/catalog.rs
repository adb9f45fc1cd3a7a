//! The table of models: which versions of which names stand, and which one a request gets.
//!
//! It is replaced as a whole, by the model loader alone, and read without a lock by everybody else.
//! What changes between two replacements is each version's own [standing](super::Standing) and
//! state, so a request is led by what is so at the moment it asks.

mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use impetus_engine::RuntimeInfo;

use super::rejection::{Rejection, Rejections};
use super::{ModelKind, Route, ServeError, ServedModel};

pub use entry::ModelEntry;

/// The models that are there, by name, and what is known of the engine as such.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: ArcSwap<BTreeMap<String, Arc<ModelEntry>>>,
    runtime: arc_swap::ArcSwapOption<RuntimeInfo>,
    scans: AtomicU64,
    source_problem: arc_swap::ArcSwapOption<String>,
    rejections: Rejections,
}

// === impl Catalog ===

impl Catalog {
    /// Returns the way to the model of that name, or to the only one when no name is given, in that
    /// version, or in the one that is to be used when none is given. A request for none is counted
    /// as turned away.
    ///
    /// # Errors
    /// Says which models there are when the name is unknown or missing, and which versions when the
    /// version is.
    pub fn route(
        self: &Arc<Self>,
        name: Option<&str>,
        version: Option<&str>,
    ) -> Result<Route, ServeError> {
        self.lead(self.find(name, version), version.is_some())
    }

    /// Returns the way to the model of that name, or to the only one of that kind when no name is
    /// given. A request for none is counted as turned away.
    ///
    /// # Errors
    /// As [`route`](Self::route).
    pub fn route_of(
        self: &Arc<Self>,
        kind: ModelKind,
        name: Option<&str>,
    ) -> Result<Route, ServeError> {
        let found = match name {
            Some(_) => self.find(name, None),
            None => self.only_of(kind),
        };
        self.lead(found, false)
    }

    fn lead(
        self: &Arc<Self>,
        found: Result<Arc<ServedModel>, ServeError>,
        pinned: bool,
    ) -> Result<Route, ServeError> {
        match found {
            Ok(model) => Ok(Route::new(Arc::clone(self), model, pinned)),
            Err(error) => {
                let reason = match error {
                    ServeError::NoModel { .. } => Rejection::NoModel,
                    _ => Rejection::UnknownModel,
                };
                self.rejections.count(reason);
                Err(error)
            }
        }
    }

    /// Returns the only model of a kind; where there is none of it, the only one there is, which then
    /// says how it is asked.
    fn only_of(&self, kind: ModelKind) -> Result<Arc<ServedModel>, ServeError> {
        let entries = self.entries.load();
        let mut of_kind = entries
            .values()
            .filter(|entry| entry.chosen().kind() == kind);
        match (of_kind.next(), of_kind.next()) {
            (Some(entry), None) => Ok(Arc::clone(entry.chosen())),
            _ => Ok(Arc::clone(only(&entries)?.chosen())),
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

    /// Returns what stands under every name, in the order of the names.
    #[must_use]
    pub fn entries(&self) -> Arc<BTreeMap<String, Arc<ModelEntry>>> {
        self.entries.load_full()
    }

    /// Replaces the table.
    pub fn publish(&self, entries: impl IntoIterator<Item = ModelEntry>) {
        let entries = entries.into_iter();
        let table = entries.map(|entry| (entry.name().to_owned(), Arc::new(entry)));
        self.entries.store(Arc::new(table.collect()));
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

    /// Returns the version that takes requests for a name now, whatever was found before.
    pub(super) fn chosen(&self, name: &str) -> Option<Arc<ServedModel>> {
        let entries = self.entries.load();
        entries.get(name).map(|entry| Arc::clone(entry.chosen()))
    }

    /// Returns the model that a route would lead to, without counting anything: for whoever only
    /// wants to know about it.
    ///
    /// # Errors
    /// As [`route`](Self::route).
    pub fn find(
        &self,
        name: Option<&str>,
        version: Option<&str>,
    ) -> Result<Arc<ServedModel>, ServeError> {
        let entries = self.entries.load();
        let entry = match name {
            Some(name) => entries.get(name).ok_or_else(|| ServeError::UnknownModel {
                name: name.to_owned(),
            })?,
            None => only(&entries)?,
        };
        let Some(version) = version else {
            return Ok(Arc::clone(entry.chosen()));
        };
        let found = entry.version(version).cloned();
        found.ok_or_else(|| ServeError::UnknownVersion {
            name: entry.name().to_owned(),
            version: version.to_owned(),
            there_are: entry.offered(),
        })
    }
}

fn only(entries: &BTreeMap<String, Arc<ModelEntry>>) -> Result<&Arc<ModelEntry>, ServeError> {
    let mut all = entries.values();
    let reason = match (all.next(), all.next()) {
        (Some(only), None) => return Ok(only),
        (None, _) => {
            "no model is loaded: put one into the model folder as <name>/model.onnx".into()
        }
        _ => {
            let names: Vec<&str> = entries.keys().map(String::as_str).collect();
            format!(
                "several models are served, name one with ?model=: {}",
                names.join(", ")
            )
        }
    };
    Err(ServeError::NoModel { reason })
}
