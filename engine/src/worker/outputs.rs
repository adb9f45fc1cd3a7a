//! Where inputs are found and outputs are put: behind the message, in a slot or in a file apart.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use super::WorkerExit;
use crate::arena::{ArenaLayout, Mapping};
use crate::error::EngineError;
use crate::platform;
use crate::protocol::{
    Done, FromWorker, Place, ProtocolError, SlotGrant, Terms, WireTensor, frame,
};
use crate::tensor::TensorView;
use crate::wire::Outbox;

/// The arena as the worker sees it.
///
/// Mapped twice, so that outputs can be written while the views of the inputs are alive; the two
/// never meet, because a slot's inputs and outputs lie apart.
pub(super) struct SharedMemory {
    layout: ArenaLayout,
    inputs: Mapping,
    outputs: Mapping,
}

/// Puts the outputs of one run where the server will find them.
pub(super) struct Placer<'a> {
    pub(super) id: u64,
    pub(super) slot: Option<SlotGrant>,
    pub(super) terms: &'a Terms,
    pub(super) layout: Option<ArenaLayout>,
    pub(super) memory: Option<&'a mut Mapping>,
    pub(super) outbox: &'a mut Outbox,
}

// === impl SharedMemory ===

impl SharedMemory {
    /// Maps the arena that came with the terms.
    pub(super) fn map(terms: &Terms, descriptor: OwnedFd) -> Result<Self, WorkerExit> {
        let system = |error: std::io::Error| WorkerExit::System(format!("arena: {error}"));
        let layout = ArenaLayout::try_new(terms.slots, terms.slot_bytes)
            .ok_or(ProtocolError::Unexpected("arena beyond an address"))?;
        let inputs = Mapping::readable(descriptor.try_clone().map_err(system)?).map_err(system)?;
        let outputs = Mapping::writable(descriptor).map_err(system)?;
        if inputs.len() < layout.total_bytes() {
            return Err(ProtocolError::Unexpected("arena smaller than stated").into());
        }
        Ok(Self {
            layout,
            inputs,
            outputs,
        })
    }

    /// Returns the readable inputs, and apart from them the writable outputs.
    pub(super) fn split(&mut self) -> (ArenaLayout, &Mapping, &mut Mapping) {
        (self.layout, &self.inputs, &mut self.outputs)
    }
}

// === impl Placer ===

impl Placer<'_> {
    /// Appends the answer to the outbox, its outputs copied once from where the runtime has them.
    pub(super) fn place(
        &mut self,
        outputs: &[TensorView<'_>],
        run_micros: u64,
    ) -> Result<(), EngineError> {
        let lengths = outputs.iter().map(|output| output.data().len());
        let cap = if platform::SHARED_MEMORY {
            self.terms.output_cap
        } else {
            self.terms.output_cap.min(self.terms.inline_max)
        };
        let (offsets, total) = frame::layout(lengths.clone())
            .filter(|(_, total)| *total <= cap)
            .ok_or_else(|| EngineError::OutputTooLarge {
                bytes: lengths.fold(0, |sum: u64, len| sum.saturating_add(len as u64)),
                cap: cap as u64,
            })?;
        let answer = |place| self.answer(outputs, &offsets, place, run_micros);
        if total <= self.terms.inline_max {
            let message = answer(Place::Inline);
            return self.append_inline(&message, outputs, total);
        }
        match (self.slot, self.layout) {
            (Some(slot), Some(layout)) if total <= layout.slot_bytes() => {
                let message = answer(Place::Slot(slot));
                self.fill_slot(layout.outputs(slot.index).start, outputs, &offsets);
                self.append(&message, None)
            }
            _ => {
                let message = answer(Place::Attached);
                let file = attached(outputs, &offsets, total)
                    .map_err(|error| EngineError::run_failed(format!("outputs: {error}")))?;
                self.append(&message, Some(file.into()))
            }
        }
    }

    fn answer(
        &self,
        outputs: &[TensorView<'_>],
        offsets: &[usize],
        place: Place,
        run_micros: u64,
    ) -> FromWorker {
        let outputs = outputs
            .iter()
            .zip(offsets)
            .map(|(output, offset)| WireTensor {
                name: output.name().to_owned(),
                dtype: output.dtype(),
                shape: output.shape().to_vec(),
                place,
                offset: *offset,
                len: output.data().len(),
            })
            .collect();
        FromWorker::Done(Done {
            id: self.id,
            outputs,
            run_micros,
        })
    }

    fn append_inline(
        &mut self,
        message: &FromWorker,
        outputs: &[TensorView<'_>],
        total: usize,
    ) -> Result<(), EngineError> {
        let parts: Vec<[&[u8]; 1]> = outputs.iter().map(|output| [output.data()]).collect();
        let pieces = parts.iter().map(|parts| parts.as_slice());
        self.outbox
            .push_pieces(message, total, pieces)
            .map_err(too_long)
    }

    fn append(
        &mut self,
        message: &FromWorker,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), EngineError> {
        self.outbox.push(message, descriptor).map_err(too_long)
    }

    fn fill_slot(&mut self, base: usize, outputs: &[TensorView<'_>], offsets: &[usize]) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        for (output, offset) in outputs.iter().zip(offsets) {
            let fits = memory.write(base + offset, output.data());
            debug_assert!(fits, "the total was compared with the slot");
        }
    }
}

fn too_long(error: ProtocolError) -> EngineError {
    EngineError::Protocol {
        reason: error.to_string(),
    }
}

fn attached(outputs: &[TensorView<'_>], offsets: &[usize], total: usize) -> std::io::Result<File> {
    let mut file = platform::sealed_memory("impetus-outputs", total as u64)?;
    for (output, offset) in outputs.iter().zip(offsets) {
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(*offset as u64))?;
        file.write_all(output.data())?;
    }
    Ok(file)
}
