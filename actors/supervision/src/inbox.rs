//! The inbox: two bounded lanes that outlive every incarnation that reads them.
//!
//! An actor's messages belong to the actor, not to one incarnation of it, so the inbox sits beside the
//! [`Seat`] and whoever holds the lease reads from it; a reader whose lease has moved on gets `Fenced`,
//! checked under the same lock under which messages are taken. The priority lane overtakes the normal one. Rings and
//! nudges are flags rather than messages: they take no room, and any number of them is one.
//!
//! A message in hand is gone when its reader dies, unless its type made a copy of it beforehand
//! ([`Message::replay`]); such copies are put back in front, once, when the next generation begins.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::fence::{Fence, Seat};
use crate::sync::lock;
use crate::{Clock, Message};

pub(crate) const DEFAULT_CAPACITY: usize = 1024;
pub(crate) const DEFAULT_PRIORITY_CAPACITY: usize = 64;

/// The two lanes and what wakes their reader.
pub(crate) struct Inbox<M> {
    seat: Arc<Seat>,
    clock: OnceLock<Arc<dyn Clock>>,
    capacity: AtomicUsize,
    priority_capacity: AtomicUsize,
    lanes: Mutex<Lanes<M>>,
    room: Notify,
}

/// Which lane a message travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Normal,
    Priority,
}

/// Why a message was not taken in, with the message.
pub(crate) enum Refused<M> {
    Full(M),
    Closed(M),
}

/// What a reader finds.
pub(crate) enum Received<M> {
    Fenced,
    Ring,
    Nudge,
    Message(M),
}

/// What the rest of the crate does with an inbox whose message type it does not know.
pub(crate) trait Mailbox: Send + Sync {
    /// Tells the inbox which clock its senders' deadlines are measured by.
    fn bind(&self, clock: Arc<dyn Clock>);
    /// Asks the reader for a status.
    fn ring(&self);
    /// Makes the reader's loop turn once.
    fn nudge(&self);
    fn depth(&self) -> usize;
    fn capacity(&self) -> usize;
    fn set_capacity(&self, capacity: usize);
    fn set_priority_capacity(&self, capacity: usize);
    /// Puts back what the last reader had in hand and may be handled again.
    fn reclaim(&self);
    /// Refuses everything from now on and drops what is queued.
    fn close(&self);
}

struct Lanes<M> {
    normal: VecDeque<Item<M>>,
    priority: VecDeque<Item<M>>,
    in_hand: Vec<M>,
    closed: bool,
    rung: bool,
    nudged: bool,
    reader: Option<Waker>,
}

struct Item<M> {
    message: M,
    /// Already put back once: not to be copied again.
    replayed: bool,
}

// === impl Inbox ===

impl<M: Message> Inbox<M> {
    pub(crate) fn new(seat: Arc<Seat>) -> Self {
        Self {
            seat,
            clock: OnceLock::new(),
            capacity: AtomicUsize::new(DEFAULT_CAPACITY),
            priority_capacity: AtomicUsize::new(DEFAULT_PRIORITY_CAPACITY),
            lanes: Mutex::new(Lanes {
                normal: VecDeque::new(),
                priority: VecDeque::new(),
                in_hand: Vec::new(),
                closed: false,
                rung: false,
                nudged: false,
                reader: None,
            }),
            room: Notify::new(),
        }
    }

    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Returns the clock of the system the inbox belongs to; none before the system has been started.
    pub(crate) fn clock(&self) -> Option<&Arc<dyn Clock>> {
        self.clock.get()
    }

    pub(crate) fn push(&self, lane: Lane, message: M) -> Result<(), Refused<M>> {
        let reader = {
            let mut lanes = lock(&self.lanes);
            if lanes.closed {
                return Err(Refused::Closed(message));
            }
            let (queue, capacity) = match lane {
                Lane::Normal => (&mut lanes.normal, &self.capacity),
                Lane::Priority => (&mut lanes.priority, &self.priority_capacity),
            };
            if queue.len() >= capacity.load(Ordering::Relaxed) {
                return Err(Refused::Full(message));
            }
            queue.push_back(Item {
                message,
                replayed: false,
            });
            lanes.reader.take()
        };
        wake(reader);
        Ok(())
    }

    /// Returns a future that is ready once a message has been taken out, or the inbox closed, after this call.
    pub(crate) fn room(&self) -> Notified<'_> {
        self.room.notified()
    }

    /// Takes what is next for the holder of `fence`, or remembers whom to wake.
    pub(crate) fn poll_receive(&self, fence: &Fence, cx: &mut Context<'_>) -> Poll<Received<M>> {
        let item = {
            let mut lanes = lock(&self.lanes);
            if !fence.is_current() {
                return Poll::Ready(Received::Fenced);
            }
            if std::mem::take(&mut lanes.nudged) {
                return Poll::Ready(Received::Nudge);
            }
            if std::mem::take(&mut lanes.rung) {
                return Poll::Ready(Received::Ring);
            }
            let popped = lanes.priority.pop_front();
            let Some(item) = popped.or_else(|| lanes.normal.pop_front()) else {
                lanes.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            item
        };
        Poll::Ready(Received::Message(self.hand_over(fence, item)))
    }

    /// Takes the next message of the normal lane, if there is one and the fence holds.
    pub(crate) fn try_next(&self, fence: &Fence) -> Option<M> {
        let item = {
            let mut lanes = lock(&self.lanes);
            if !fence.is_current() {
                return None;
            }
            lanes.normal.pop_front()?
        };
        Some(self.hand_over(fence, item))
    }

    /// Forgets the copies of what has been handled.
    pub(crate) fn settle(&self, fence: &Fence) {
        let handled = {
            let mut lanes = lock(&self.lanes);
            if !fence.is_current() {
                return;
            }
            std::mem::take(&mut lanes.in_hand)
        };
        drop(handled);
    }

    fn hand_over(&self, fence: &Fence, item: Item<M>) -> M {
        self.room.notify_one();
        if !item.replayed
            && let Some(copy) = item.message.replay()
        {
            let mut lanes = lock(&self.lanes);
            if fence.is_current() {
                lanes.in_hand.push(copy);
            }
        }
        item.message
    }

    fn flag(&self, raise: impl FnOnce(&mut Lanes<M>)) {
        let reader = {
            let mut lanes = lock(&self.lanes);
            raise(&mut lanes);
            lanes.reader.take()
        };
        wake(reader);
    }
}

impl<M: Message> Mailbox for Inbox<M> {
    fn bind(&self, clock: Arc<dyn Clock>) {
        // A spec is consumed by the system it is given to, so it is bound once; a second clock cannot be meant.
        let _ = self.clock.set(clock);
    }

    fn ring(&self) {
        self.flag(|lanes| lanes.rung = true);
    }

    fn nudge(&self) {
        self.flag(|lanes| lanes.nudged = true);
    }

    fn depth(&self) -> usize {
        let lanes = lock(&self.lanes);
        lanes.normal.len() + lanes.priority.len()
    }

    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    fn set_capacity(&self, capacity: usize) {
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    fn set_priority_capacity(&self, capacity: usize) {
        self.priority_capacity.store(capacity, Ordering::Relaxed);
    }

    fn reclaim(&self) {
        let mut lanes = lock(&self.lanes);
        lanes.rung = false;
        let in_hand = std::mem::take(&mut lanes.in_hand);
        for message in in_hand.into_iter().rev() {
            lanes.normal.push_front(Item {
                message,
                replayed: true,
            });
        }
    }

    fn close(&self) {
        let (normal, priority, in_hand, reader) = {
            let mut lanes = lock(&self.lanes);
            lanes.closed = true;
            (
                std::mem::take(&mut lanes.normal),
                std::mem::take(&mut lanes.priority),
                std::mem::take(&mut lanes.in_hand),
                lanes.reader.take(),
            )
        };
        wake(reader);
        self.room.notify_waiters();
        // Dropped outside the lock: a message's drop may run anything, a reply's wakes its asker.
        drop((normal, priority, in_hand));
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(waker) = reader {
        waker.wake();
    }
}
