//! The worker's view of shared memory.
//!
//! The only place in which bytes that another process may write are seen as a slice. That is sound
//! as long as the other process keeps to the protocol and leaves a lent slot alone, and the other
//! process is the server, which this one trusts: it was started by it. In the opposite direction
//! nothing is trusted, and the server maps nothing.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use memmap2::{MmapOptions, MmapRaw};

use crate::platform;

/// A mapped memory file whose size is sealed.
pub(crate) struct Mapping {
    map: MmapRaw,
}

// === impl Mapping ===

impl Mapping {
    /// Maps a descriptor for reading and writing, after checking that its size is final.
    pub(crate) fn writable(descriptor: OwnedFd) -> io::Result<Self> {
        let (file, _) = platform::accept_sealed(descriptor)?;
        let map = MmapOptions::new().map_raw(&file)?;
        Ok(Self { map })
    }

    /// Maps a descriptor for reading, after checking that its size is final.
    pub(crate) fn readable(descriptor: OwnedFd) -> io::Result<Self> {
        let (file, _) = platform::accept_sealed(descriptor)?;
        let map = MmapOptions::new().map_raw_read_only(&file)?;
        Ok(Self { map })
    }

    /// Returns the number of bytes mapped.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Returns a part of the memory, `None` if it is not all mapped.
    ///
    /// The bytes stay as they are while the slot they belong to is lent to this process.
    pub(crate) fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        if range.start > range.end || range.end > self.map.len() {
            return None;
        }
        // SAFETY: the range lies within the mapping, which lives as long as `self` and cannot
        // shrink (its size is sealed). The server writes a slot only while it is not lent.
        Some(unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(range.start), range.len()) })
    }

    /// Copies `source` to `offset`; returns whether it fits.
    ///
    /// Only for a mapping made by [`Self::writable`].
    pub(crate) fn write(&mut self, offset: usize, source: &[u8]) -> bool {
        let fits = offset
            .checked_add(source.len())
            .is_some_and(|end| end <= self.map.len());
        if fits {
            // SAFETY: the target lies within the mapping; `source` cannot overlap it, because
            // slices of the mapping borrow `self`, which is borrowed exclusively here.
            unsafe {
                let target = self.map.as_mut_ptr().add(offset);
                std::ptr::copy_nonoverlapping(source.as_ptr(), target, source.len());
            }
        }
        fits
    }
}
