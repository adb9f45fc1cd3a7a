//! The slots: who is in which, and what is left in those that are free.
//!
//! A free slot remembers the tokens whose keys and values it still holds, until somebody needs the
//! room. So the prompt of the next one may be there already, whole or in part.

use std::ops::Range;

use super::super::GenerationFailed;
use super::super::decoder::Row;
use super::sequence::Sequence;
use crate::error::EngineError;

/// One slot.
pub(super) enum Slot {
    /// Nobody runs in it.
    Free {
        /// Tokens whose keys and values it holds.
        held: Vec<u32>,
        /// When it was left; what was left longest ago is used again first.
        left: u64,
    },
    /// A sequence runs in it.
    Taken(Box<Sequence>),
}

/// All slots of a decoder.
pub(super) struct Slots {
    slots: Vec<Slot>,
    turn: u64,
}

// === impl Slot ===

impl Slot {
    /// Returns the tokens whose keys and values it holds.
    pub(super) fn content(&self) -> &[u32] {
        match self {
            Self::Free { held, .. } => held,
            Self::Taken(sequence) => sequence.content(),
        }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self, Self::Free { .. })
    }
}

// === impl Slots ===

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        let free = || Slot::Free {
            held: Vec::new(),
            left: 0,
        };
        Self {
            slots: std::iter::repeat_with(free).take(count).collect(),
            turn: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }

    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut Slot {
        &mut self.slots[slot]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots.iter().enumerate()
    }

    /// Returns a number that grows with each call.
    pub(super) fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Returns every sequence with its slot.
    pub(super) fn sequences(&self) -> impl Iterator<Item = (usize, &Sequence)> {
        self.iter().filter_map(|(index, slot)| match slot {
            Slot::Taken(sequence) => Some((index, &**sequence)),
            Slot::Free { .. } => None,
        })
    }

    pub(super) fn sequence_mut(&mut self, slot: usize) -> Option<&mut Sequence> {
        match &mut self.slots[slot] {
            Slot::Taken(sequence) => Some(sequence),
            Slot::Free { .. } => None,
        }
    }

    /// Returns the number of tokens that the slots of sequences hold.
    pub(super) fn cached(&self) -> usize {
        self.sequences().map(|(_, sequence)| sequence.cached).sum()
    }

    /// Returns the smallest range with every sequence that decodes.
    pub(super) fn decoding(&self) -> Range<usize> {
        range(self.sequences().filter(|(_, sequence)| sequence.decodes()))
    }

    /// Returns the smallest range with every sequence.
    pub(super) fn taken(&self) -> Range<usize> {
        range(self.sequences())
    }

    /// Returns the free slot whose content is missed least: an empty one, or the one left longest
    /// ago.
    pub(super) fn spare(&self, but: Option<usize>) -> Option<usize> {
        self.iter()
            .filter_map(|(index, slot)| match slot {
                Slot::Free { held, left } if Some(index) != but => {
                    Some((!held.is_empty(), *left, index))
                }
                _ => None,
            })
            .min()
            .map(|(.., index)| index)
    }

    /// Returns what a slot is given in a step that decodes the ones around it.
    ///
    /// Somebody whose prompt is still being taken in is given a token as well, which one does not
    /// matter: what that writes lies where the next chunk begins.
    pub(super) fn row(&self, slot: usize) -> Row {
        let token = match &self.slots[slot] {
            Slot::Taken(sequence) if sequence.decodes() => sequence.next_token(),
            _ => 0,
        };
        Row {
            token,
            past: self.slots[slot].content().len(),
        }
    }

    /// Exchanges what two slots hold.
    pub(super) fn exchange(&mut self, a: usize, b: usize) {
        self.slots.swap(a, b);
    }

    /// Frees a slot; what it holds may be of use to the next one.
    pub(super) fn release(&mut self, slot: usize) {
        let held = self.slots[slot].content().to_vec();
        let left = self.next_turn();
        self.slots[slot] = Slot::Free { held, left };
    }

    pub(super) fn release_where(&mut self, mut over: impl FnMut(&Sequence) -> bool) {
        for slot in 0..self.slots.len() {
            if self
                .sequence_mut(slot)
                .is_some_and(|sequence| over(sequence))
            {
                self.release(slot);
            }
        }
    }

    /// Forgets what a free slot holds beyond its first `len` tokens.
    pub(super) fn forget(&mut self, slot: usize, len: usize) {
        if let Slot::Free { held, .. } = &mut self.slots[slot] {
            held.truncate(len);
        }
    }

    /// Ends a sequence that cannot go on.
    pub(super) fn fail(&mut self, slot: usize, error: EngineError) -> Option<GenerationFailed> {
        let id = self.sequence_mut(slot)?.id();
        self.release(slot);
        Some(GenerationFailed { id, error })
    }
}

fn range<'a>(sequences: impl Iterator<Item = (usize, &'a Sequence)>) -> Range<usize> {
    let mut found: Option<Range<usize>> = None;
    for (slot, _) in sequences {
        let start = found.as_ref().map_or(slot, |range| range.start);
        found = Some(start..slot + 1);
    }
    found.unwrap_or(0..0)
}
