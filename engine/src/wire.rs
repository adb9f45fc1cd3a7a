//! Frames over a socket: one buffer for each direction, used by both ends.
//!
//! [`Outbox`] gathers frames and writes as many as the socket takes with one call; [`Inbox`] reads
//! as many as have arrived with one call and hands them out one by one. Neither ever waits: what
//! would block is reported, and whoever owns the thread decides how to wait. Descriptors travel
//! with the first byte of the frame they belong to (`SCM_RIGHTS`), at most one per frame.

mod inbox;
mod outbox;

pub(crate) use inbox::{Filled, Inbox};
pub(crate) use outbox::Outbox;

#[cfg(test)]
mod tests;
