//! The outputs of a run: checked where they are said to lie, then copied out.
//!
//! Nothing a worker says about a place is used before it has been compared with what the place
//! offers: that the slot is the one lent for this run, that an attached file can neither shrink
//! nor grow, that every output lies inside, aligned, and is as long as its type and shape. What
//! the bytes are is checked once they are ours, where nobody can change them any more.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::shared::Shared;
use super::{LinkError, Received};
use crate::arena;
use crate::platform;
use crate::protocol::{Done, Place, ProtocolError, WireTensor, frame};
use crate::tensor::{Tensor, byte_len};

/// Bytes that are copied out of shared memory before other tasks get their turn.
const COPY_STEP: usize = 1024 * 1024;

/// What one frame amounts to.
pub(super) enum Taken {
    /// Something to be passed on.
    Received(Received),
    /// An answer whose outputs are still to be copied.
    Gathering(Gathering),
}

/// The outputs of one run on their way out of shared memory.
pub(super) struct Gathering {
    id: u64,
    run_micros: u64,
    memory: Memory,
    waiting: std::vec::IntoIter<WireTensor>,
    current: Option<(WireTensor, Vec<u8>, usize)>,
    outputs: Vec<Tensor>,
}

/// Shared memory in which outputs lie.
enum Memory {
    /// A part of the arena.
    Slot(Range<usize>),
    /// A file of the worker's own.
    Attached { file: File, bytes: usize },
}

/// Checks where the outputs of a run are said to lie; those inside the frame are taken at once.
pub(super) fn take_outputs(
    shared: &Shared,
    done: Done,
    payload: &[u8],
    descriptor: impl FnOnce() -> Option<OwnedFd>,
) -> Result<Taken, ProtocolError> {
    let place = common_place(&done, shared.limits.output_cap)?;
    let slot = shared.ledger().slot_of(done.id)?;
    shared
        .large_outputs
        .store(place != Place::Inline, Ordering::Relaxed);
    let memory = match place {
        Place::Inline => return take_inline(done, payload).map(Taken::Received),
        Place::Slot(grant) if Some(grant) == slot => {
            Memory::Slot(shared.arena.layout().outputs(grant.index))
        }
        Place::Slot(_) => return Err(ProtocolError::Unexpected("use of a slot that is not lent")),
        Place::Attached => {
            Memory::attached(descriptor().ok_or(ProtocolError::Descriptor("missing"))?)?
        }
    };
    for output in &done.outputs {
        check_piece(output, memory.len())?;
    }
    Ok(Taken::Gathering(Gathering {
        id: done.id,
        run_micros: done.run_micros,
        memory,
        outputs: Vec::with_capacity(done.outputs.len()),
        waiting: done.outputs.into_iter(),
        current: None,
    }))
}

/// Returns the one place of all outputs, whose lengths stay within the cap.
fn common_place(done: &Done, cap: usize) -> Result<Place, ProtocolError> {
    let lengths = done.outputs.iter().map(|output| output.len);
    let bytes = lengths.fold(0, usize::saturating_add);
    if bytes > cap {
        return Err(ProtocolError::Oversized { bytes, cap });
    }
    let mut places = done.outputs.iter().map(|output| output.place);
    let first = places.next().unwrap_or(Place::Inline);
    if places.all(|place| place == first) {
        Ok(first)
    } else {
        Err(ProtocolError::Unexpected("outputs in several places"))
    }
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
fn check_piece(output: &WireTensor, available: usize) -> Result<Range<usize>, ProtocolError> {
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
    /// Returns the run that is answered.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Copies what is left, in steps between which other tasks run; may be dropped and resumed.
    pub(super) async fn finish(&mut self, shared: &Shared) -> Result<(), LinkError> {
        let mut copied = 0;
        loop {
            let Some((output, data, filled)) = &mut self.current else {
                let Some(output) = self.waiting.next() else {
                    return Ok(());
                };
                if output.len <= COPY_STEP - copied {
                    copied += output.len;
                    let (memory, base) = self.memory.within(shared)?;
                    let data = arena::copy_out(memory, output.len, base + output.offset)
                        .map_err(LinkError::lost)?;
                    self.outputs.push(tensor(output, data)?);
                    continue;
                }
                let data = vec![0; output.len];
                self.current = Some((output, data, 0));
                continue;
            };
            let step = (data.len() - *filled).min(COPY_STEP - copied);
            let (memory, base) = self.memory.within(shared)?;
            let target = &mut data[*filled..*filled + step];
            arena::read_at(memory, target, base + output.offset + *filled)
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

    /// Returns the answer once everything has been copied.
    pub(super) fn into_received(self) -> Received {
        Received::Done {
            id: self.id,
            outputs: self.outputs,
            run_micros: self.run_micros,
        }
    }
}

// === impl Memory ===

impl Memory {
    fn attached(descriptor: OwnedFd) -> Result<Self, ProtocolError> {
        let (file, bytes) = platform::accept_sealed(descriptor)
            .map_err(|_| ProtocolError::Descriptor("no memory of a final size"))?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self::Attached { file, bytes })
    }

    fn len(&self) -> usize {
        match self {
            Self::Slot(range) => range.len(),
            Self::Attached { bytes, .. } => *bytes,
        }
    }

    /// Returns the file and where in it this memory begins.
    fn within<'a>(&'a self, shared: &'a Shared) -> Result<(&'a File, usize), ProtocolError> {
        match self {
            Self::Slot(range) => shared
                .arena
                .memory()
                .map(|file| (file, range.start))
                .ok_or(ProtocolError::Unexpected("slot without an arena")),
            Self::Attached { file, .. } => Ok((file, 0)),
        }
    }
}
