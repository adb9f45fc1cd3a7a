//! What people have to know of a model's description, said once when it is taken up.

use impetus_engine::Execution;
use tracing::warn;

use super::super::description::Isolation;
use super::ServedModel;

// === impl ServedModel ===

impl ServedModel {
    /// Says what of its description was not understood, and what a crash of it would cost, unless
    /// that is what was said of the other version that stands already.
    pub fn announce(&self, other: Option<&Self>) {
        let (model, version) = (&self.spec.name, &self.spec.version);
        let notes = &self.spec.description.notes;
        if other.is_none_or(|other| other.spec.description.notes != *notes) {
            for note in notes {
                warn!(%model, "{note}");
            }
        }
        let on_threads = |model: &Self| model.limits.isolation == Isolation::Thread;
        if on_threads(self) && self.problem.is_none() && !other.is_some_and(on_threads) {
            warn!(%model, %version, "model runs on threads of the server: a crash of it ends all");
        }
    }

    /// Says which execution providers were passed over, unless that is what was said before: every
    /// worker of a model finds the same.
    pub(super) fn announce_execution(&self, now: &Execution, before: Option<&Execution>) {
        if before == Some(now) {
            return;
        }
        let (model, version, provider) = (&self.spec.name, &self.spec.version, now.provider);
        for one in &now.passed_over {
            let (wanted, reason) = (one.provider, &one.reason);
            warn!(%model, %version, %wanted, %provider, "execution provider passed over: {reason}");
        }
    }
}
