//! Memory that server and worker share, for tensors too large for a socket.
//!
//! One memory file holds a few slots; a slot has room for the inputs of one run and room for its
//! outputs. The server lends a slot to a run and takes it back when the run is answered or the
//! worker is gone, never earlier: a run that nobody waits for any more still writes its outputs.
//! Each loan has an epoch of its own, so that an answer to an earlier loan is recognised as stale.
//!
//! There are no locks in shared memory. Who may touch a slot follows from the messages alone: the
//! server until the run is sent, the worker until it has answered, then the server again.
//!
//! The server never maps the file. It writes inputs and reads outputs with system calls, so the
//! kernel does the copying: a worker that goes on scribbling can change bytes but cannot pull
//! memory from under the server, and the server's resident size does not grow with the tensors.
//! Only the worker, which has to show the bytes to native code, maps it. The file's size is
//! sealed, so no access within it can fault on either side. Pages are allocated when they are
//! first written, and given back when the worker reports itself idle.
//!
//! Where a system has no sealed memory files there is no arena, and tensors stay on the socket.

mod mapping;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::buffer::spare_capacity;

use crate::link::Limits;
use crate::platform;
use crate::protocol::SlotGrant;

pub(crate) use mapping::Mapping;

/// Slots begin at multiples of this, which is a whole number of pages everywhere.
const SLOT_ALIGNMENT: usize = 64 * 1024;

/// Number and size of an arena's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArenaLayout {
    slots: usize,
    slot_bytes: usize,
}

/// The server's end of an arena, or the absence of one.
#[derive(Debug)]
pub struct Arena {
    layout: ArenaLayout,
    memory: Option<File>,
}

// === impl ArenaLayout ===

impl ArenaLayout {
    /// Returns a layout, its slots rounded up to whole pages; `None` if it exceeds an address.
    pub fn try_new(slots: usize, slot_bytes: usize) -> Option<Self> {
        let slot_bytes = slot_bytes.checked_next_multiple_of(SLOT_ALIGNMENT)?;
        let total = slots.checked_mul(2)?.checked_mul(slot_bytes)?;
        isize::try_from(total).ok()?;
        Some(Self { slots, slot_bytes })
    }

    /// Returns the number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Returns the bytes that a slot offers to inputs, and again to outputs.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Returns the bytes of all slots.
    pub fn total_bytes(&self) -> usize {
        2 * self.slots * self.slot_bytes
    }

    /// Returns where the inputs of a slot lie.
    pub(crate) fn inputs(&self, slot: usize) -> Range<usize> {
        self.half(2 * slot)
    }

    /// Returns where the outputs of a slot lie.
    pub(crate) fn outputs(&self, slot: usize) -> Range<usize> {
        self.half(2 * slot + 1)
    }

    /// Returns whether the slot of a grant exists.
    pub(crate) fn contains(&self, grant: SlotGrant) -> bool {
        grant.index < self.slots
    }

    fn half(&self, index: usize) -> Range<usize> {
        index * self.slot_bytes..(index + 1) * self.slot_bytes
    }
}

// === impl Arena ===

impl Arena {
    /// Returns an arena of the size the limits state, or none where the system offers none.
    ///
    /// Takes address space but no memory before it is used. Fails if the system refuses the file.
    pub fn new(limits: &Limits) -> io::Result<Self> {
        if limits.slots == 0 || !platform::SHARED_MEMORY {
            return Ok(Self::none());
        }
        let layout = ArenaLayout::try_new(limits.slots, limits.slot_bytes)
            .ok_or_else(|| io::Error::other("the arena's size exceeds an address"))?;
        let bytes = u64::try_from(layout.total_bytes()).map_err(io::Error::other)?;
        Ok(Self {
            layout,
            memory: Some(platform::sealed_memory("impetus-arena", bytes)?),
        })
    }

    /// Returns the absence of an arena: every tensor stays on the socket.
    pub fn none() -> Self {
        Self {
            layout: ArenaLayout {
                slots: 0,
                slot_bytes: 0,
            },
            memory: None,
        }
    }

    /// Returns another handle to the same memory.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            layout: self.layout,
            memory: self.memory.as_ref().map(File::try_clone).transpose()?,
        })
    }

    /// Returns number and size of the slots.
    pub fn layout(&self) -> ArenaLayout {
        self.layout
    }

    /// Returns another descriptor of the memory, to be passed to the worker.
    pub(crate) fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        match &self.memory {
            Some(file) => Ok(Some(file.try_clone()?.into())),
            None => Ok(None),
        }
    }

    /// Returns the memory, if there is any.
    pub(crate) fn memory(&self) -> Option<&File> {
        self.memory.as_ref()
    }

    /// Gives back the memory of a slot; what it held is lost.
    pub(crate) fn release_memory(&self, slot: usize) -> io::Result<()> {
        let Some(file) = &self.memory else {
            return Ok(());
        };
        let whole = self.layout.inputs(slot).start..self.layout.outputs(slot).end;
        platform::punch(file, whole.start as u64, whole.len() as u64)
    }
}

/// Reads exactly `target` from a memory file.
pub(crate) fn read_at(memory: &File, target: &mut [u8], offset: usize) -> io::Result<()> {
    memory.read_exact_at(target, offset as u64)
}

/// Returns bytes of shared memory, with one call. What is about to be overwritten is not filled with
/// zeros before, which for small outputs is a part of what they cost.
pub(crate) fn copy_out(memory: &File, bytes: usize, offset: usize) -> io::Result<Vec<u8>> {
    let mut copy = Vec::with_capacity(bytes);
    while copy.len() < bytes {
        let at = (offset + copy.len()) as u64;
        match rustix::io::pread(memory, spare_capacity(&mut copy), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // There may have been more room than was asked for.
    copy.truncate(bytes);
    Ok(copy)
}

/// Writes all of `source` into a memory file.
pub(crate) fn write_at(memory: &File, source: &[u8], offset: usize) -> io::Result<()> {
    memory.write_all_at(source, offset as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_slots_are_disjoint_and_fill_the_file() {
        let layout = ArenaLayout::try_new(3, 100_000).unwrap();
        assert_eq!(layout.slot_bytes(), 128 * 1024);
        let mut end = 0;
        for slot in 0..3 {
            assert_eq!(layout.inputs(slot).start, end);
            assert_eq!(layout.outputs(slot).start, layout.inputs(slot).end);
            end = layout.outputs(slot).end;
        }
        assert_eq!(end, layout.total_bytes());
    }

    #[test]
    fn a_layout_beyond_the_address_space_is_refused() {
        assert_eq!(ArenaLayout::try_new(usize::MAX, 4096), None);
        assert_eq!(ArenaLayout::try_new(2, usize::MAX), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_given_back_reads_as_zeros_and_occupies_nothing() {
        use std::os::unix::fs::MetadataExt;

        let arena = Arena::new(&Limits::default()).unwrap();
        let memory = arena.memory().unwrap();
        let at = arena.layout().outputs(1).start;
        write_at(memory, &[7; 100_000], at).unwrap();
        assert!(memory.metadata().unwrap().blocks() > 0);

        arena.release_memory(1).unwrap();

        assert_eq!(memory.metadata().unwrap().blocks(), 0);
        let mut byte = [1];
        read_at(memory, &mut byte, at).unwrap();
        assert_eq!(byte, [0]);
    }
}
