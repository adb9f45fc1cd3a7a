//! From what stands under a name to what should: which models stay, which begin, which end.
//!
//! A version that serves is never ended for one that does not yet. What is to replace it is loaded
//! beside it, and takes over once all its workers are ready; one that fails leaves the old one
//! serving. What does not serve has nothing to lose, and goes at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::serving::{ModelEntry, ModelState, ServedModel, Standing};
use crate::sources::folder::Wanted;

/// What is to become of the models of one name.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Those that stand from now on.
    pub(super) standing: Vec<Arc<ServedModel>>,
    /// Those among them whose workers are to run.
    pub(super) running: Vec<Arc<ServedModel>>,
    /// Those that end at once.
    pub(super) ended: Vec<Arc<ServedModel>>,
}

/// What a look at the models of one name has led to.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Those that have taken over.
    pub(super) taken_over: Vec<Arc<ServedModel>>,
    /// Those that take nothing new any more.
    pub(super) retired: Vec<Arc<ServedModel>>,
}

// === impl Change ===

impl Change {
    /// Returns the change from what stands to what is wanted. `make` makes a model, beside another
    /// one of its name where there is one.
    pub(super) fn between(
        existing: Option<&ModelEntry>,
        wanted: Vec<Wanted>,
        make: impl Fn(Wanted, Option<&ServedModel>) -> ServedModel,
    ) -> Self {
        let existing = existing.map(ModelEntry::versions).unwrap_or_default();
        let mut change = Self::default();
        let none_wanted = wanted.is_empty();
        let mut fresh = Vec::new();
        for wanted in wanted {
            let same = |model: &&Arc<ServedModel>| {
                model.is_offered()
                    && model.spec().version == wanted.spec.version
                    && model.fingerprint() == &wanted.fingerprint
            };
            match existing.iter().find(same) {
                Some(kept) => change.standing.push(Arc::clone(kept)),
                None => fresh.push(wanted),
            }
        }
        for model in &change.standing {
            model.set_wanted(true);
        }
        change.running.clone_from(&change.standing);
        for model in existing {
            if change.standing.iter().any(|kept| Arc::ptr_eq(kept, model)) {
                continue;
            }
            model.set_wanted(false);
            if none_wanted && model.is_offered() {
                model.retire();
            }
            if model.is_offered() && !model.state().is_usable() {
                change.ended.push(Arc::clone(model));
            } else {
                change.standing.push(Arc::clone(model));
            }
        }
        for wanted in fresh {
            change.begin(existing, wanted, &make);
        }
        change
    }

    fn begin(
        &mut self,
        existing: &[Arc<ServedModel>],
        mut wanted: Wanted,
        make: impl Fn(Wanted, Option<&ServedModel>) -> ServedModel,
    ) {
        let same = existing
            .iter()
            .filter(|m| m.spec().version == wanted.spec.version);
        let last = same.map(|model| model.spec().load).max();
        wanted.spec.load = last.unwrap_or_default() + 1;
        let other = existing.first().or(self.standing.first()).cloned();
        let model = make(wanted, other.as_deref());
        let serves = |other: &Arc<ServedModel>| other.standing() == Standing::Serving;
        let old = existing.iter().filter(|model| serves(model));
        let mut staying = old.filter(|old| self.standing.iter().any(|m| Arc::ptr_eq(m, old)));
        if staying.next().is_none() {
            model.take_over();
        }
        let model = Arc::new(model);
        self.standing.push(Arc::clone(&model));
        self.running.push(model);
    }
}

// === impl Turn ===

impl Turn {
    /// Lets those that are ready take over, and those go whose place has been taken.
    pub(super) fn of(entry: &ModelEntry) -> Self {
        let mut turn = Self::default();
        let versions = entry.versions();
        for model in versions {
            let incoming = model.standing() == Standing::Incoming;
            if incoming && model.is_wanted() && model.state() == ModelState::Ready {
                model.take_over();
                turn.taken_over.push(Arc::clone(model));
            }
        }
        for model in versions.iter().filter(|m| m.is_offered() && !m.is_wanted()) {
            if model.standing() == Standing::Incoming || is_replaced(model, versions) {
                model.retire();
                turn.retired.push(Arc::clone(model));
            }
        }
        turn
    }
}

/// Tells whether something that is wanted serves in a model's place: the same version loaded anew,
/// or any other where that is not wanted.
fn is_replaced(model: &ServedModel, versions: &[Arc<ServedModel>]) -> bool {
    let wanted = || versions.iter().filter(|other| other.is_wanted());
    let version = &model.spec().version;
    let awaited = wanted()
        .any(|other| &other.spec().version == version && other.standing() == Standing::Incoming);
    let serving = |other: &Arc<ServedModel>| {
        other.standing() == Standing::Serving && other.state().is_usable()
    };
    !awaited && wanted().any(serving)
}

/// Returns the entries of these versions.
pub(super) fn by_name(models: Vec<Arc<ServedModel>>) -> Vec<ModelEntry> {
    let mut names: BTreeMap<String, Vec<Arc<ServedModel>>> = BTreeMap::new();
    for model in models {
        let of_name = names.entry(model.spec().name.clone());
        of_name.or_default().push(model);
    }
    names.into_values().filter_map(ModelEntry::of).collect()
}

#[cfg(test)]
mod tests;
