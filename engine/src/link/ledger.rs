//! Which runs are in flight, and which slot belongs to which.
//!
//! A run enters before its frame can leave and goes out with its answer, so an answer always meets
//! its entry and anything else is a lie. A slot is lent together with a new epoch; it comes free
//! with the answer of the run that holds it, or at once if that run was never sent.

use std::collections::HashMap;

use crate::error::EngineError;
use crate::protocol::{ProtocolError, SlotGrant};

/// The runs in flight and the slots.
#[derive(Debug)]
pub(super) struct Ledger {
    runs: HashMap<u64, Option<SlotGrant>>,
    slots: Vec<Slot>,
    lost: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    epoch: u64,
    lent: bool,
    /// Whether memory may lie behind it.
    touched: bool,
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            runs: HashMap::new(),
            slots: vec![Slot::default(); slots],
            lost: None,
        }
    }

    /// Returns the number of runs in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.runs.len()
    }

    /// Returns why the worker is gone, if it is.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Records that the worker is gone; the first reason stays.
    pub(super) fn lose(&mut self, reason: String) {
        self.lost.get_or_insert(reason);
    }

    /// Lends a free slot, if there is one.
    pub(super) fn lend(&mut self) -> Option<SlotGrant> {
        let index = self.slots.iter().position(|slot| !slot.lent)?;
        let slot = &mut self.slots[index];
        slot.lent = true;
        slot.touched = true;
        slot.epoch += 1;
        Some(SlotGrant {
            index,
            epoch: slot.epoch,
        })
    }

    /// Takes back a slot whose run was never sent.
    pub(super) fn give_back(&mut self, grant: SlotGrant) {
        let slot = &mut self.slots[grant.index];
        if slot.epoch == grant.epoch {
            slot.lent = false;
        }
    }

    /// Enters a run that is about to be sent.
    pub(super) fn enter(&mut self, id: u64, slot: Option<SlotGrant>) -> Result<(), EngineError> {
        if self.runs.contains_key(&id) {
            return Err(EngineError::Protocol {
                reason: format!("run {id} is in flight already"),
            });
        }
        self.runs.insert(id, slot);
        Ok(())
    }

    /// Returns the slot of a run in flight.
    pub(super) fn slot_of(&self, id: u64) -> Result<Option<SlotGrant>, ProtocolError> {
        self.runs
            .get(&id)
            .copied()
            .ok_or(ProtocolError::UnknownRun(id))
    }

    /// Removes a run that was answered or never sent; returns whether a slot came free.
    pub(super) fn leave(&mut self, id: u64) -> Result<bool, ProtocolError> {
        let slot = self.runs.remove(&id).ok_or(ProtocolError::UnknownRun(id))?;
        if let Some(grant) = slot {
            self.give_back(grant);
        }
        Ok(slot.is_some())
    }

    /// Returns the free slots behind which memory may lie, and counts them as empty.
    pub(super) fn take_touched(&mut self) -> Vec<usize> {
        let free = |slot: &&mut Slot| !slot.lent && slot.touched;
        let mut touched = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if free(&slot) {
                slot.touched = false;
                touched.push(index);
            }
        }
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_lent_again_only_after_its_run_was_answered_and_with_a_new_epoch() {
        let mut ledger = Ledger::new(1);
        let first = ledger.lend().unwrap();
        ledger.enter(7, Some(first)).unwrap();
        assert_eq!(ledger.lend(), None);

        assert_eq!(ledger.leave(7), Ok(true));

        let second = ledger.lend().unwrap();
        assert_eq!(second.index, first.index);
        assert_ne!(second.epoch, first.epoch);
    }

    #[test]
    fn a_stale_grant_takes_nothing_away_from_the_one_after_it() {
        let mut ledger = Ledger::new(1);
        let stale = ledger.lend().unwrap();
        ledger.give_back(stale);
        let fresh = ledger.lend().unwrap();

        ledger.give_back(stale);

        assert_eq!(ledger.lend(), None, "{fresh:?} is still lent");
    }

    #[test]
    fn an_answer_to_a_run_that_is_not_in_flight_is_an_error() {
        let mut ledger = Ledger::new(0);
        assert_eq!(ledger.leave(1), Err(ProtocolError::UnknownRun(1)));
        ledger.enter(1, None).unwrap();
        assert!(ledger.enter(1, None).is_err());
        assert_eq!(ledger.leave(1), Ok(false));
        assert_eq!(ledger.slot_of(1), Err(ProtocolError::UnknownRun(1)));
    }

    #[test]
    fn only_free_slots_that_were_used_have_memory_to_give_back() {
        let mut ledger = Ledger::new(2);
        let used = ledger.lend().unwrap();
        assert!(ledger.take_touched().is_empty());
        ledger.give_back(used);
        assert_eq!(ledger.take_touched(), [used.index]);
        assert!(ledger.take_touched().is_empty());
    }
}
