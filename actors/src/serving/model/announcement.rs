//! What people have to know of a model's description, said once when it is taken up.

use tracing::warn;

use super::super::description::Isolation;
use super::ServedModel;

// === impl ServedModel ===

impl ServedModel {
    /// Says what of its description was not understood, and what a crash of it would cost.
    pub fn announce(&self) {
        let (model, version) = (&self.spec.name, &self.spec.version);
        for note in &self.spec.description.notes {
            warn!(%model, "{note}");
        }
        if self.limits.isolation == Isolation::Thread && self.problem.is_none() {
            warn!(%model, %version, "model runs on threads of the server: a crash of it ends all");
        }
    }
}
