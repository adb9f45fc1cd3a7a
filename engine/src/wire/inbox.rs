//! The receiving half: a growing buffer that several frames arrive in at once.
//!
//! The buffer is an anonymous mapping: its beginning is aligned to a page, so every frame in it is
//! aligned as [`frame`](crate::protocol::frame) promises, and pages that no frame has reached
//! take no memory. It grows only for a frame whose length has passed the cap, and returns to its
//! first size when it is empty again.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use memmap2::MmapMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, ReturnFlags, recvmsg};
use serde::de::DeserializeOwned;

use crate::platform;
use crate::protocol::{ProtocolError, frame};

/// The buffer's first size: some twenty requests of a small image model.
const INITIAL_BYTES: usize = 256 * 1024;

/// Descriptors that may wait for the frames they belong to.
const MAX_DESCRIPTORS: usize = 16;

/// Room for the descriptors of one call; the kernel never joins those of two frames.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

/// Frames that have arrived and not been taken.
pub(crate) struct Inbox {
    buffer: MmapMut,
    head: usize,
    tail: usize,
    cap: usize,
    descriptors: VecDeque<OwnedFd>,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Bytes; `drained` if the socket held no more at that moment.
    Bytes { drained: bool },
    /// Nothing, and nothing will ever follow.
    End,
    /// Nothing now.
    WouldBlock,
    /// The buffer is full of frames that have to be taken first.
    NoRoom,
}

/// One message with what came along with it.
pub(crate) struct Incoming<'a, M> {
    pub(crate) message: M,
    pub(crate) payload: &'a [u8],
    pub(crate) descriptors: &'a mut VecDeque<OwnedFd>,
}

// === impl Inbox ===

impl Inbox {
    /// Returns an empty inbox for frames of up to `cap` bytes.
    pub(crate) fn new(cap: usize) -> io::Result<Self> {
        Ok(Self {
            buffer: MmapMut::map_anon(INITIAL_BYTES)?,
            head: 0,
            tail: 0,
            cap,
            descriptors: VecDeque::new(),
        })
    }

    /// Sets the longest frame that is accepted from now on.
    pub(crate) fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
    }

    /// Returns whether nothing has arrived that was not taken, not even a part of a frame.
    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Returns the next whole frame's message, `None` if none has arrived whole.
    pub(crate) fn next<M: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<Incoming<'_, M>>, ProtocolError> {
        let arrived = &self.buffer[self.head..self.tail];
        let Some(frame_len) = frame::frame_len(arrived, self.cap)? else {
            return Ok(None);
        };
        if arrived.len() < frame_len {
            return Ok(None);
        }
        let start = self.head;
        self.head += frame_len;
        let (message, payload) = frame::decode(&self.buffer[start..self.head])?;
        Ok(Some(Incoming {
            message,
            payload,
            descriptors: &mut self.descriptors,
        }))
    }

    /// Reads once without waiting.
    pub(crate) fn fill(&mut self, socket: impl AsFd) -> io::Result<Filled> {
        self.make_room()?;
        let room = self.buffer.len() - self.tail;
        if room == 0 {
            return Ok(Filled::NoRoom);
        }
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut target = [IoSliceMut::new(&mut self.buffer[self.tail..])];
        let read = loop {
            match recvmsg(&socket, &mut target, &mut ancillary, platform::RECV_FLAGS) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(Filled::WouldBlock),
                read => break read?,
            }
        };
        if read.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("more descriptors than one frame can have"));
        }
        let waiting = self.descriptors.len();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                self.descriptors.extend(received);
            }
        }
        if self.descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::Error::other("more descriptors than frames"));
        }
        if read.bytes == 0 {
            return Ok(Filled::End);
        }
        self.tail += read.bytes;
        // A read stops at a descriptor, whatever follows it.
        let drained = read.bytes < room && self.descriptors.len() == waiting;
        Ok(Filled::Bytes { drained })
    }

    /// Moves what has arrived to the front where that helps, and grows for a frame that needs it.
    fn make_room(&mut self) -> io::Result<()> {
        if self.is_empty() {
            self.head = 0;
            self.tail = 0;
            if self.buffer.len() > INITIAL_BYTES {
                self.buffer = MmapMut::map_anon(INITIAL_BYTES)?;
            }
            return Ok(());
        }
        let arrived = self.head..self.tail;
        let wanted = match frame::frame_len(&self.buffer[arrived.clone()], self.cap) {
            Ok(Some(frame_len)) => frame_len,
            // An error is met again, and reported, when the frame is taken.
            Ok(None) | Err(_) => frame::MIN_FRAME,
        };
        if wanted > self.buffer.len() {
            let mut larger = MmapMut::map_anon(wanted)?;
            larger[..arrived.len()].copy_from_slice(&self.buffer[arrived.clone()]);
            self.buffer = larger;
        } else if self.head > 0 && self.head + wanted > self.buffer.len() {
            self.buffer.copy_within(arrived.clone(), 0);
        } else {
            return Ok(());
        }
        self.head = 0;
        self.tail = arrived.len();
        Ok(())
    }
}
