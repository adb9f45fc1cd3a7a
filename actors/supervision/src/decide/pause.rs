//! The pause of healing, as far as decisions go: what waits for its end, and what does not.

use super::{Decider, Key, Member, Phase};

// === impl Decider ===

impl Decider {
    /// Tells whether what has ended may be started again.
    pub(crate) fn set_heals(&mut self, heals: bool) {
        self.heals = heals;
    }

    /// Returns true when nothing but the pause of healing keeps the child down, or will once its time has come.
    pub(crate) fn is_held(&self, key: Key) -> bool {
        let in_group = self.group.as_ref().is_some_and(|group| group.halts(key));
        self.find(key).is_some_and(|member| {
            let waits = match member.phase {
                Phase::BackingOff { .. } | Phase::Failed { .. } => true,
                Phase::Down => in_group,
                Phase::Queued => member.tried,
                _ => false,
            };
            waits && !self.may_restart(member)
        })
    }

    /// Healing may start the child again, or somebody has asked for it.
    pub(super) fn may_restart(&self, member: &Member) -> bool {
        self.heals || member.asked
    }
}
