//! The receiving half of a link.

use std::io;
use std::sync::Arc;

use super::answer::{Gathering, Taken, take_outputs};
use super::shared::Shared;
use super::{LinkError, Received};
use crate::protocol::{FromWorker, ProtocolError, check_hello};
use crate::wire::{Filled, Inbox};

/// Receives what one worker says, in order.
pub struct Receiver {
    shared: Arc<Shared>,
    inbox: Inbox,
    /// An answer whose outputs are being copied out of shared memory.
    gathering: Option<Gathering>,
    /// How the link ended, once it has.
    ended: Option<LinkError>,
    /// The worker is to outlive this half.
    parked: bool,
}

// === impl Receiver ===

impl Receiver {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self {
            inbox: Inbox::new(shared.limits.frame_cap)?,
            shared,
            gathering: None,
            ended: None,
            parked: false,
        })
    }

    /// Gives up this half and leaves the connection open, if nothing has been read that was not
    /// passed on.
    pub(super) fn put_away(mut self) -> Option<Arc<Shared>> {
        if !self.inbox.is_empty() || self.gathering.is_some() || self.ended.is_some() {
            return None;
        }
        self.parked = true;
        Some(Arc::clone(&self.shared))
    }

    /// Returns the next thing the worker has said; waits for it without a limit.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`] when the worker is gone and all it sent has been returned, or
    /// [`LinkError::Protocol`]; the same again on every further call.
    pub async fn next(&mut self) -> Result<Received, LinkError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let result = self.advance().await;
        if let Err(error) = &result {
            self.ended = Some(error.clone());
            self.shared.lose(error);
            self.shared.close();
        }
        result
    }

    async fn advance(&mut self) -> Result<Received, LinkError> {
        loop {
            if let Some(gathering) = &mut self.gathering {
                gathering.finish(&self.shared).await?;
            }
            if let Some(gathering) = self.gathering.take() {
                return self.answered(gathering.id(), gathering.into_received());
            }
            match self.take()? {
                Some(Taken::Gathering(gathering)) => self.gathering = Some(gathering),
                Some(Taken::Received(received)) => return self.settle(received),
                None => self.fill().await?,
            }
        }
    }

    /// Does what a message means for the link itself.
    fn settle(&mut self, received: Received) -> Result<Received, LinkError> {
        match &received {
            Received::Done { id, .. } | Received::RunFailed { id, .. } => {
                let id = *id;
                self.answered(id, received)
            }
            Received::Beat { idle: true, .. } => {
                self.release_memory();
                Ok(received)
            }
            _ => Ok(received),
        }
    }

    fn answered(&mut self, id: u64, received: Received) -> Result<Received, LinkError> {
        if self.shared.ledger().leave(id)? {
            self.shared.room.notify_waiters();
        }
        Ok(received)
    }

    /// Returns the memory of slots that an idle worker does not use.
    fn release_memory(&self) {
        // The lock keeps the slots from being lent while their memory goes.
        let mut ledger = self.shared.ledger();
        for slot in ledger.take_touched() {
            if let Err(error) = self.shared.arena.release_memory(slot) {
                tracing::warn!(slot, %error, "shared memory not given back");
            }
        }
    }

    fn take(&mut self) -> Result<Option<Taken>, ProtocolError> {
        let Some(incoming) = self.inbox.next::<FromWorker>()? else {
            return Ok(None);
        };
        let received = match incoming.message {
            FromWorker::Hello {
                protocol,
                build_id,
                generation,
                pid,
            } => {
                check_hello(protocol, &build_id)?;
                if let Some(line) = incoming.descriptors.pop_front() {
                    self.shared.set_line(line);
                }
                Received::Hello { generation, pid }
            }
            FromWorker::RuntimeReady(runtime) => Received::RuntimeReady(runtime),
            FromWorker::Warming => Received::Warming,
            FromWorker::Loaded(loaded) => Received::Loaded(loaded),
            FromWorker::LoadFailed(error) => Received::LoadFailed(error),
            FromWorker::Done(done) => {
                let descriptors = incoming.descriptors;
                let taken = take_outputs(&self.shared, done, incoming.payload, || {
                    descriptors.pop_front()
                });
                return taken.map(Some);
            }
            FromWorker::RunFailed { id, error } => Received::RunFailed { id, error },
            FromWorker::Step(step) => Received::Step(step),
            FromWorker::GenerationFailed(failed) => Received::GenerationFailed(failed),
            FromWorker::Beat { idle, self_checks } => Received::Beat { idle, self_checks },
            FromWorker::SelfCheckFailed { detail } => Received::SelfCheckFailed { detail },
        };
        Ok(Some(Taken::Received(received)))
    }

    async fn fill(&mut self) -> Result<(), LinkError> {
        match self.shared.fill(&mut self.inbox).await {
            Ok(Filled::Bytes { .. } | Filled::WouldBlock) => Ok(()),
            Ok(Filled::NoRoom) => Err(ProtocolError::Unexpected("bytes beyond a frame").into()),
            Ok(Filled::End) if self.inbox.is_empty() => {
                Err(LinkError::lost("the connection has ended"))
            }
            Ok(Filled::End) => Err(LinkError::lost(ProtocolError::Truncated)),
            Err(error) => Err(LinkError::lost(error)),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.parked {
            return;
        }
        // Nobody hears the worker any more, so there is no use in its going on.
        self.shared.lose("the link was given up");
        self.shared.close();
    }
}
