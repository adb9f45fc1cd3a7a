//! Where the inputs of a run lie, as the server says.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::WorkerExit;
use crate::arena::{ArenaLayout, Mapping};
use crate::error::EngineError;
use crate::protocol::{Place, ProtocolError, Run, WireTensor, frame};
use crate::tensor::TensorView;

/// Where the bytes of one run's inputs may lie.
pub(super) struct Sources<'a> {
    pub(super) payload: &'a [u8],
    pub(super) layout: Option<ArenaLayout>,
    pub(super) slots: Option<&'a Mapping>,
    pub(super) attached: Option<&'a Mapping>,
}

// === impl Sources ===

impl<'a> Sources<'a> {
    /// Returns the inputs as views of where they lie.
    ///
    /// The outer error is the server's: a place that does not exist. The inner one is the
    /// client's: bytes that are no tensor.
    pub(super) fn views<'r>(
        &self,
        run: &'r Run,
    ) -> Result<Result<Vec<TensorView<'r>>, EngineError>, ProtocolError>
    where
        'a: 'r,
    {
        let exists = |slot| self.layout.is_some_and(|layout| layout.contains(slot));
        if !run.slot.is_none_or(exists) {
            return Err(ProtocolError::Unexpected(
                "loan of a slot that is not there",
            ));
        }
        let mut views = Vec::with_capacity(run.inputs.len());
        for input in &run.inputs {
            let data = self.bytes(run, input)?;
            match TensorView::try_new(&input.name, input.dtype, &input.shape, data) {
                Ok(view) => views.push(view),
                Err(error) => {
                    return Ok(Err(EngineError::malformed(&input.name, error)));
                }
            }
        }
        Ok(Ok(views))
    }

    fn bytes(&self, run: &Run, input: &WireTensor) -> Result<&'a [u8], ProtocolError> {
        let bad = |reason: String| ProtocolError::BadPlace {
            tensor: input.name.clone(),
            reason,
        };
        let whole = match input.place {
            Place::Inline => Some(self.payload),
            Place::Slot(slot) if run.slot == Some(slot) => self
                .slots
                .zip(self.layout)
                .and_then(|(slots, layout)| slots.bytes(layout.inputs(slot.index))),
            Place::Slot(_) => None,
            Place::Attached => self.attached.and_then(|file| file.bytes(0..file.len())),
        };
        let whole = whole.ok_or_else(|| bad("there is no such place".to_owned()))?;
        let range = frame::piece(input.offset, input.len, whole.len()).map_err(bad)?;
        Ok(&whole[range])
    }
}

/// Takes the memory that came with a run, if it needs any.
pub(super) fn attached(
    run: &Run,
    descriptors: &mut VecDeque<OwnedFd>,
) -> Result<Option<Mapping>, WorkerExit> {
    if run
        .inputs
        .iter()
        .all(|input| input.place != Place::Attached)
    {
        return Ok(None);
    }
    let descriptor = descriptors
        .pop_front()
        .ok_or(ProtocolError::Descriptor("missing"))?;
    Mapping::readable(descriptor)
        .map(Some)
        .map_err(|error| WorkerExit::System(format!("inputs: {error}")))
}
