//! The receiving half of a link.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shared::Shared;
use super::{LinkError, Received};
use crate::arena;
use crate::platform;
use crate::protocol::{
    Done, FromWorker, Place, ProtocolError, SlotGrant, WireTensor, check_hello, frame,
};
use crate::tensor::{Tensor, byte_len};
use crate::wire::{Filled, Inbox};

/// Bytes that are copied out of shared memory before other tasks get their turn.
const COPY_STEP: usize = 1024 * 1024;

/// Receives what one worker says, in order.
pub struct Receiver {
    shared: Arc<Shared>,
    inbox: Inbox,
    /// An answer whose outputs are being copied out of shared memory.
    gathering: Option<Gathering>,
    /// How the link ended, once it has.
    ended: Option<LinkError>,
}

/// What one frame amounts to.
enum Taken {
    Received(Received),
    Gathering(Gathering),
}

/// The outputs of one run on their way out of shared memory.
struct Gathering {
    id: u64,
    run_micros: u64,
    memory: Memory,
    base: usize,
    waiting: std::vec::IntoIter<WireTensor>,
    current: Option<(WireTensor, Vec<u8>, usize)>,
    outputs: Vec<Tensor>,
}

enum Memory {
    Arena,
    Attached(File),
}

// === impl Receiver ===

impl Receiver {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self {
            inbox: Inbox::new(shared.limits.frame_cap)?,
            shared,
            gathering: None,
            ended: None,
        })
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
                return self.answered(gathering.id, gathering.into_received());
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
                Received::Hello { generation, pid }
            }
            FromWorker::RuntimeReady(runtime) => Received::RuntimeReady(runtime),
            FromWorker::Loaded(loaded) => Received::Loaded(loaded),
            FromWorker::LoadFailed(error) => Received::LoadFailed(error),
            FromWorker::Done(done) => {
                let slot = self.shared.ledger().slot_of(done.id)?;
                let shared = &self.shared;
                let descriptors = incoming.descriptors;
                return place_outputs(shared, done, slot, incoming.payload, || {
                    descriptors.pop_front()
                })
                .map(Some);
            }
            FromWorker::RunFailed { id, error } => Received::RunFailed { id, error },
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
        // Nobody hears the worker any more, so there is no use in its going on.
        self.shared.lose("the link was given up");
        self.shared.close();
    }
}

/// Checks where the outputs of a run are said to lie; inline ones are taken at once.
fn place_outputs(
    shared: &Shared,
    done: Done,
    slot: Option<SlotGrant>,
    payload: &[u8],
    descriptor: impl FnOnce() -> Option<OwnedFd>,
) -> Result<Taken, ProtocolError> {
    let total: usize = done
        .outputs
        .iter()
        .fold(0, |sum, output| sum.saturating_add(output.len));
    if total > shared.limits.output_cap {
        return Err(ProtocolError::Oversized {
            bytes: total,
            cap: shared.limits.output_cap,
        });
    }
    let place = done
        .outputs
        .first()
        .map_or(Place::Inline, |output| output.place);
    if done.outputs.iter().any(|output| output.place != place) {
        return Err(ProtocolError::Unexpected("outputs in several places"));
    }
    shared
        .large_outputs
        .store(place != Place::Inline, Ordering::Relaxed);
    let layout = shared.arena.layout();
    let (memory, base, available) = match place {
        Place::Inline => return take_inline(done, payload).map(Taken::Received),
        Place::Slot(grant) if Some(grant) == slot => {
            let outputs = layout.outputs(grant.index);
            (Memory::Arena, outputs.start, outputs.len())
        }
        Place::Slot(_) => return Err(ProtocolError::Unexpected("use of a slot that is not lent")),
        Place::Attached => {
            let descriptor = descriptor().ok_or(ProtocolError::Descriptor("missing"))?;
            let (file, bytes) = platform::accept_sealed(descriptor)
                .map_err(|_| ProtocolError::Descriptor("no memory of a final size"))?;
            let available = usize::try_from(bytes).unwrap_or(usize::MAX);
            (Memory::Attached(file), 0, available)
        }
    };
    for output in &done.outputs {
        check_piece(output, available)?;
    }
    Ok(Taken::Gathering(Gathering {
        id: done.id,
        run_micros: done.run_micros,
        memory,
        base,
        outputs: Vec::with_capacity(done.outputs.len()),
        waiting: done.outputs.into_iter(),
        current: None,
    }))
}

fn take_inline(done: Done, payload: &[u8]) -> Result<Received, ProtocolError> {
    let outputs = done
        .outputs
        .into_iter()
        .map(|output| {
            let range = check_piece(&output, payload.len())?;
            tensor(output, payload[range].to_vec())
        })
        .collect::<Result<Vec<Tensor>, ProtocolError>>()?;
    Ok(Received::Done {
        id: done.id,
        outputs,
        run_micros: done.run_micros,
    })
}

/// Checks an output's place and that its length is the one of its type and shape.
fn check_piece(
    output: &WireTensor,
    available: usize,
) -> Result<std::ops::Range<usize>, ProtocolError> {
    let bad = |reason: String| ProtocolError::BadPlace {
        tensor: output.name.clone(),
        reason,
    };
    let expected = byte_len(output.dtype, &output.shape).map_err(|error| bad(error.to_string()))?;
    if expected.is_some_and(|expected| expected != output.len) {
        return Err(bad(format!(
            "{} of shape {:?} does not take {} bytes",
            output.dtype, output.shape, output.len
        )));
    }
    frame::piece(output.offset, output.len, available).map_err(bad)
}

fn tensor(output: WireTensor, data: Vec<u8>) -> Result<Tensor, ProtocolError> {
    let name = output.name.clone();
    Tensor::try_new(output.name, output.dtype, output.shape, data).map_err(|error| {
        ProtocolError::BadPlace {
            tensor: name,
            reason: error.to_string(),
        }
    })
}

// === impl Gathering ===

impl Gathering {
    /// Copies what is left, in steps between which other tasks run; may be dropped and resumed.
    async fn finish(&mut self, shared: &Shared) -> Result<(), LinkError> {
        let mut copied = 0;
        loop {
            let Some((output, data, filled)) = &mut self.current else {
                let Some(output) = self.waiting.next() else {
                    return Ok(());
                };
                let data = vec![0; output.len];
                self.current = Some((output, data, 0));
                continue;
            };
            let step = (data.len() - *filled).min(COPY_STEP - copied);
            let memory = match &self.memory {
                Memory::Arena => shared.arena.memory(),
                Memory::Attached(file) => Some(file),
            };
            let Some(memory) = memory else {
                return Err(ProtocolError::Unexpected("slot without an arena").into());
            };
            let target = &mut data[*filled..*filled + step];
            arena::read_at(memory, target, self.base + output.offset + *filled)
                .map_err(LinkError::lost)?;
            *filled += step;
            copied += step;
            if *filled == data.len()
                && let Some((output, data, _)) = self.current.take()
            {
                self.outputs.push(tensor(output, data)?);
            }
            if copied == COPY_STEP {
                copied = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn into_received(self) -> Received {
        Received::Done {
            id: self.id,
            outputs: self.outputs,
            run_micros: self.run_micros,
        }
    }
}
