//! Where a sequence is put, and how those that run are kept together.
//!
//! A step decodes slots that follow each other without a gap, so whoever comes is put next to those
//! that run, and whoever goes leaves a gap that one from the edge moves into. Neither costs what
//! free slots remember: contents are exchanged and not overwritten, and room is made where the
//! content has been unused for longest. Copying a token's keys and values takes a hundredth of the
//! time that computing them does.

use super::Scheduler;
use super::slots::{Slot, Slots};

/// Where the beginning of a sequence lies already.
#[derive(Clone, Copy)]
struct Donor {
    slot: usize,
    /// How many of its tokens.
    common: usize,
}

// === impl Scheduler ===

impl Scheduler {
    /// Puts the sequence that has waited longest into a slot; returns whether there was room.
    pub(super) fn admit(&mut self) -> bool {
        let Some(sequence) = self.waiting.front() else {
            return false;
        };
        let reusable = sequence.reusable();
        let whole = self.decoder.shape().whole_prompts;
        let donor =
            donor(&self.slots, reusable).filter(|donor| !whole || donor.common == reusable.len());
        let Some(slot) = home(&self.slots, donor) else {
            return false;
        };
        let Some(mut sequence) = self.waiting.pop_front() else {
            return false;
        };
        let reused = donor.map_or(0, |donor| donor.common);
        if let Some(donor) = donor.filter(|donor| donor.slot != slot) {
            self.decoder.copy(donor.slot, slot, donor.common);
            self.slots.forget(slot, 0);
        }
        self.slots.forget(slot, reused);
        let place = place(&self.slots).unwrap_or(slot);
        if place != slot {
            self.exchange(place, slot, reused);
        }
        sequence.begin(reused, self.slots.next_turn());
        self.begun.extend(sequence.begun());
        *self.slots.slot_mut(place) = Slot::Taken(Box::new(sequence));
        true
    }

    /// Closes the gaps among those that decode.
    pub(super) fn compact(&mut self) {
        loop {
            let range = self.slots.decoding();
            let Some(gap) = range.clone().find(|slot| self.slots.slot(*slot).is_free()) else {
                return;
            };
            let (first, last) = (range.start, range.end - 1);
            let len = |slot: usize| self.slots.slot(slot).content().len();
            let edge = if len(first) < len(last) { first } else { last };
            self.exchange(gap, edge, 0);
        }
    }

    /// Exchanges the contents of two slots, of which at least `least` tokens.
    fn exchange(&mut self, a: usize, b: usize, least: usize) {
        let len = |slot: usize| self.slots.slot(slot).content().len();
        let len = len(a).max(len(b)).max(least);
        self.decoder.exchange(a, b, len);
        self.slots.exchange(a, b);
    }
}

/// Returns where most of the beginning of these tokens lies; a free slot before one that is taken.
fn donor(slots: &Slots, tokens: &[u32]) -> Option<Donor> {
    slots
        .iter()
        .map(|(index, slot)| {
            let common = slot
                .content()
                .iter()
                .zip(tokens)
                .take_while(|(a, b)| a == b)
                .count();
            (common, slot.is_free(), index)
        })
        .max_by_key(|(common, free, index)| (*common, *free, usize::MAX - index))
        .filter(|(common, ..)| *common > 0)
        .map(|(common, _, slot)| Donor { slot, common })
}

/// Returns the free slot whose content gives way: the donor itself if most of what it holds is of
/// use, or else the one that is missed least.
fn home(slots: &Slots, donor: Option<Donor>) -> Option<usize> {
    let donor = donor.filter(|donor| slots.slot(donor.slot).is_free());
    let Some(donor) = donor else {
        return slots.spare(None);
    };
    if donor.common * 2 >= slots.slot(donor.slot).content().len() {
        return Some(donor.slot);
    }
    slots.spare(Some(donor.slot)).or(Some(donor.slot))
}

/// Returns the free slot that is nearest to those that are taken, `None` if none is taken.
fn place(slots: &Slots) -> Option<usize> {
    let taken = slots.taken();
    if taken.is_empty() {
        return None;
    }
    let free = |slot: &usize| slots.slot(*slot).is_free();
    let behind = (taken.end < slots.len()).then_some(taken.end);
    taken
        .clone()
        .find(free)
        .or(behind)
        .or_else(|| taken.start.checked_sub(1))
}
