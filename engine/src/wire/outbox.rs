//! The sending half: frames are appended whole and leave in as few calls as the socket allows.
//!
//! A socket may take any part of what it is offered; the rest stays in order and leaves with the
//! next call. A frame that was refused (too long) leaves no trace.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, send, sendmsg};
use serde::Serialize;

use crate::platform;
use crate::protocol::{ProtocolError, frame};

/// Capacity that an emptied buffer keeps.
const KEPT_BYTES: usize = 1024 * 1024;

/// Frames that have not been written yet.
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    head: usize,
    cap: usize,
    /// Descriptors, each with the index in `bytes` of its frame's first byte.
    descriptors: VecDeque<(usize, OwnedFd)>,
}

// === impl Outbox ===

impl Outbox {
    /// Returns an empty outbox for frames of up to `cap` bytes.
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            bytes: Vec::new(),
            head: 0,
            cap,
            descriptors: VecDeque::new(),
        }
    }

    /// Sets the longest frame that is accepted from now on.
    pub(crate) fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
    }

    /// Returns how many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Returns whether everything has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a frame without a payload, with a descriptor if one is given.
    pub(crate) fn push<M: Serialize>(
        &mut self,
        message: &M,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), ProtocolError> {
        let start = self.bytes.len();
        frame::encode(&mut self.bytes, self.cap, message, 0, |_| {})?;
        if let Some(descriptor) = descriptor {
            self.descriptors.push_back((start, descriptor));
        }
        Ok(())
    }

    /// Appends a frame with a payload of `payload_len` bytes, each piece of it aligned.
    pub(crate) fn push_pieces<'a, M: Serialize>(
        &mut self,
        message: &M,
        payload_len: usize,
        pieces: impl IntoIterator<Item = &'a [&'a [u8]]>,
    ) -> Result<(), ProtocolError> {
        frame::encode(&mut self.bytes, self.cap, message, payload_len, |bytes| {
            let start = bytes.len();
            for parts in pieces {
                bytes.resize(start + frame::aligned(bytes.len() - start), 0);
                for part in parts {
                    bytes.extend_from_slice(part);
                }
            }
        })
    }

    /// Writes without waiting; returns whether everything has been written.
    pub(crate) fn flush(&mut self, socket: impl AsFd) -> io::Result<bool> {
        while self.head < self.bytes.len() {
            match self.write_some(&socket) {
                Ok(written) => self.head += written,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.compact();
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.head = 0;
        Ok(true)
    }

    fn write_some(&mut self, socket: &impl AsFd) -> rustix::io::Result<usize> {
        let Some((at, descriptor)) = self.descriptors.front() else {
            return send(socket, &self.bytes[self.head..], platform::SEND_FLAGS);
        };
        if *at > self.head {
            return send(socket, &self.bytes[self.head..*at], platform::SEND_FLAGS);
        }
        // The descriptor goes with this frame's first byte, and the next one must not.
        let end = self
            .descriptors
            .get(1)
            .map_or(self.bytes.len(), |next| next.0);
        let rights = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(&rights));
        debug_assert!(fits, "the space is that of one descriptor");
        let offered = [IoSlice::new(&self.bytes[self.head..end])];
        let written = sendmsg(socket, &offered, &mut ancillary, platform::SEND_FLAGS)?;
        self.descriptors.pop_front();
        Ok(written)
    }

    /// Forgets what has been written once that is the larger part.
    fn compact(&mut self) {
        if self.head < self.bytes.len() / 2 {
            return;
        }
        self.bytes.drain(..self.head);
        for (at, _) in &mut self.descriptors {
            *at -= self.head;
        }
        self.head = 0;
    }
}
