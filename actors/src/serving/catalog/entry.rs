//! What stands under one name: its versions, and what is counted of all of them.

use std::sync::Arc;
use std::time::Duration;

use super::super::rejection::Rejection;
use super::super::{AnswerTimes, GenerationSnapshot, ModelStatus, Protocol, ServedModel, Standing};

/// The versions of a model that stand, at least one.
#[derive(Debug, Clone)]
pub struct ModelEntry {
    /// In the order of their versions; a version that was loaded anew follows itself.
    versions: Vec<Arc<ServedModel>>,
}

// === impl ModelEntry ===

impl ModelEntry {
    /// Returns the entry of these versions, which all have the same name; `None` when there are none.
    #[must_use]
    pub fn of(mut versions: Vec<Arc<ServedModel>>) -> Option<Self> {
        versions.sort_by_cached_key(|model| {
            let spec = model.spec();
            let number: Option<u64> = spec.version.parse().ok();
            (number, spec.version.clone(), spec.load)
        });
        (!versions.is_empty()).then_some(Self { versions })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.versions[0].spec().name
    }

    /// Returns every version that stands, the oldest first.
    #[must_use]
    pub fn versions(&self) -> &[Arc<ServedModel>] {
        &self.versions
    }

    /// Returns the figures of generated text, of a model that generates any: what waits and runs of all
    /// versions, and what has been counted under the name.
    #[must_use]
    pub fn generation(&self) -> Option<GenerationSnapshot> {
        let figures = self.versions.iter().filter_map(|model| model.generation());
        figures.reduce(GenerationSnapshot::and)
    }

    /// Returns the version that a request gets which names none: the newest that is usable, and
    /// where none is, the newest that should be.
    #[must_use]
    pub fn chosen(&self) -> &Arc<ServedModel> {
        if let [only] = self.versions.as_slice() {
            return only;
        }
        let serving = |usable: bool| {
            self.versions.iter().rev().find(move |model| {
                model.standing() == Standing::Serving && (!usable || model.state().is_usable())
            })
        };
        let newest = || self.versions.iter().rev();
        serving(true)
            .or_else(|| serving(false))
            .or_else(|| newest().find(|model| model.is_offered()))
            .or_else(|| newest().next())
            .expect("an entry has a version")
    }

    /// Returns the version of that name, if requests are led to it.
    #[must_use]
    pub fn version(&self, version: &str) -> Option<&Arc<ServedModel>> {
        let offered = || {
            let newest = self.versions.iter().rev();
            newest.filter(|model| model.spec().version == version && model.is_offered())
        };
        offered()
            .find(|model| model.standing() == Standing::Serving)
            .or_else(|| offered().next())
    }

    /// Returns the versions that requests may name.
    #[must_use]
    pub fn offered(&self) -> Vec<String> {
        let offered = self.versions.iter().filter(|model| model.is_offered());
        let mut names: Vec<String> = offered.map(|model| model.spec().version.clone()).collect();
        names.dedup();
        names
    }

    /// Returns the status of the chosen version, and of every other one.
    #[must_use]
    pub fn status(&self) -> (ModelStatus, Vec<ModelStatus>) {
        let chosen = self.chosen();
        let others = self.versions.iter().filter(|m| !Arc::ptr_eq(m, chosen));
        (chosen.status(), others.map(|m| m.status()).collect())
    }

    /// Returns how long answers took to requests that came in so, by whichever version; written by
    /// the edge.
    #[must_use]
    pub fn answers(&self, protocol: Protocol) -> &AnswerTimes {
        self.versions[0].answers(protocol)
    }

    /// Returns how many predictions were answered, by whichever version.
    #[must_use]
    pub fn predictions(&self) -> u64 {
        self.versions[0].predictions_of_its_name()
    }

    /// Returns how many executions failed, of whichever version.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.versions[0].errors_of_its_name()
    }

    /// Returns how many workers were lost, by the kind of loss.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.versions[0].losses()
    }

    /// Returns how many workers were started anew, by what became of the one before.
    pub fn restarts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.versions[0].restarts()
    }

    /// Returns how many workers made room for a fresh one because of their memory.
    #[must_use]
    pub fn recycled(&self) -> u64 {
        self.versions[0].recycled()
    }

    /// Returns how many requests were turned away, by the reason.
    pub fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Rejection::OF_A_MODEL.into_iter().map(|reason| {
            let mut count = self.versions[0].turned_away(reason);
            if reason == Rejection::Expired {
                count += self.versions.iter().map(|m| m.expired()).sum::<u64>();
            }
            (reason.as_str(), count)
        })
    }

    /// Returns how many requests wait for a worker.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.versions.iter().map(|model| model.queued()).sum()
    }

    /// Returns how many requests may wait for the chosen version.
    #[must_use]
    pub fn queue_capacity(&self) -> usize {
        self.chosen().queue_capacity()
    }

    /// Returns how long ago a worker last finished something.
    #[must_use]
    pub fn progress_age(&self) -> Option<Duration> {
        self.versions[0].progress_age()
    }
}
