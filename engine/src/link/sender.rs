//! The sending half of a link.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::plan::Plan;
use super::shared::Shared;
use super::{LinkError, StackedInput};
use crate::arena;
use crate::generate::Vocabulary;
use crate::platform;
use crate::protocol::{Place, Run, SlotGrant, Terms, ToWorker};

/// Bytes that are copied into shared memory before other tasks get their turn.
const COPY_STEP: usize = 1024 * 1024;

/// Sends runs and commands to one worker; cheap to clone, usable from any task.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

/// A lent slot that returns unless its run is sent.
struct Lease<'a> {
    shared: &'a Shared,
    grant: Option<SlotGrant>,
}

// === impl Sender ===

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends a command; the arena goes along with the hello.
    ///
    /// # Errors
    ///
    /// [`LinkError::Refused`] for a run or terms, which only the link itself can make;
    /// [`LinkError::Lost`] once the worker is gone.
    pub async fn send(&self, message: &ToWorker) -> Result<(), LinkError> {
        if let ToWorker::Run(_) | ToWorker::Terms(_) = message {
            return Err(LinkError::Refused(crate::error::EngineError::Protocol {
                reason: format!("{} is not sent by hand", message.kind()),
            }));
        }
        self.shared.wait_for_backlog().await?;
        self.shared.enqueue(|outbox| outbox.push(message, None))?;
        if let ToWorker::Hello { .. } = message {
            self.send_terms()?;
        }
        Ok(())
    }

    /// Sends the bytes of every token of the model that is loaded next.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`] once the worker is gone or the system has no memory for it.
    pub async fn send_vocabulary(&self, vocabulary: &Vocabulary) -> Result<(), LinkError> {
        let bytes = postcard::to_allocvec(vocabulary).map_err(LinkError::lost)?;
        let message = ToWorker::Vocabulary(bytes.len());
        self.shared.wait_for_backlog().await?;
        if !platform::SHARED_MEMORY {
            return self.shared.enqueue(|outbox| {
                outbox.push_pieces(&message, bytes.len(), [[bytes.as_slice()].as_slice()])
            });
        }
        let memory = platform::sealed_memory("impetus-vocabulary", bytes.len() as u64)
            .map_err(LinkError::lost)?;
        arena::write_at(&memory, &bytes, 0).map_err(LinkError::lost)?;
        self.shared
            .enqueue(|outbox| outbox.push(&message, Some(memory.into())))
    }

    /// Sends one run; its answer comes from the receiver under the same `id`.
    ///
    /// Returns once the run is on its way or waits behind others that are. Waits while too much
    /// waits to be written and, for tensors that need one, for a free slot; the receiver has to be
    /// driven meanwhile, by another task. Dropping the future before it is ready sends nothing and
    /// keeps nothing.
    ///
    /// # Errors
    ///
    /// [`LinkError::Refused`] if the parts do not add up to the shape, the inputs exceed the cap or
    /// `id` is in flight already; [`LinkError::Lost`] once the worker is gone.
    pub async fn run(&self, id: u64, inputs: &[StackedInput<'_>]) -> Result<(), LinkError> {
        let shared = &*self.shared;
        let limits = &shared.limits;
        let plan = Plan::of(inputs, limits)?;
        let layout = shared.arena.layout();
        let inline = plan.total() <= limits.inline_max;
        let in_slot = !inline && plan.total() <= layout.slot_bytes();
        let wants_slot = in_slot || shared.large_outputs.load(Ordering::Relaxed);
        let mut lease = if wants_slot && layout.slots() > 0 {
            Lease::take(shared).await?
        } else {
            Lease::none(shared)
        };
        if inline {
            shared.wait_for_backlog().await?;
            return lease.send_inline(id, &plan);
        }
        let attached = match (in_slot, lease.grant) {
            (true, Some(grant)) => {
                self.fill_slot(grant, &plan).await?;
                None
            }
            _ => Some(attach(&plan).await?),
        };
        shared.wait_for_backlog().await?;
        lease.send_shared(id, &plan, attached)
    }

    /// Returns the number of runs sent and not answered.
    pub fn in_flight(&self) -> usize {
        self.shared.ledger().in_flight()
    }

    /// Says that nobody wants a run any more, so that the worker may end it early. The run is
    /// answered all the same.
    ///
    /// Never waits: where the line is full, dozens of runs are being given up already.
    pub fn interrupt(&self, id: u64) {
        self.shared.say_unwanted(id);
    }

    /// Returns whether something has arrived from the worker that the receiver has not read: what
    /// looks like silence is then the server's own slowness.
    pub fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(&self.shared.socket).is_ok_and(|bytes| bytes > 0)
    }

    /// Returns whether the worker is gone.
    pub fn is_lost(&self) -> bool {
        self.shared.alive().is_err()
    }

    /// Ends the connection, and with it the worker; the receiver reports what still arrived and
    /// then the loss.
    pub fn close(&self) {
        self.shared.close();
    }

    fn send_terms(&self) -> Result<(), LinkError> {
        let shared = &*self.shared;
        let layout = shared.arena.layout();
        let terms = ToWorker::Terms(Terms {
            frame_cap: shared.limits.frame_cap,
            inline_max: shared.limits.inline_max,
            output_cap: shared.limits.output_cap,
            slots: layout.slots(),
            slot_bytes: layout.slot_bytes(),
        });
        let descriptor = shared.arena.descriptor().map_err(LinkError::lost)?;
        shared.enqueue(|outbox| outbox.push(&terms, descriptor))
    }

    async fn fill_slot(&self, grant: SlotGrant, plan: &Plan<'_>) -> Result<(), LinkError> {
        let arena = &self.shared.arena;
        let Some(memory) = arena.memory() else {
            return Ok(());
        };
        let base = arena.layout().inputs(grant.index).start;
        copy_in(memory, base, plan).await.map_err(LinkError::lost)
    }
}

// === impl Lease ===

impl<'a> Lease<'a> {
    fn none(shared: &'a Shared) -> Self {
        Self {
            shared,
            grant: None,
        }
    }

    async fn take(shared: &'a Shared) -> Result<Self, LinkError> {
        let grant = shared.wait_for(|shared| shared.ledger().lend()).await?;
        Ok(Self {
            shared,
            grant: Some(grant),
        })
    }

    fn send_inline(&mut self, id: u64, plan: &Plan<'_>) -> Result<(), LinkError> {
        let run = self.run(id, plan, Place::Inline);
        self.enter(id, |shared| {
            shared.enqueue(|outbox| outbox.push_pieces(&run, plan.total(), plan.pieces()))
        })
    }

    fn send_shared(
        &mut self,
        id: u64,
        plan: &Plan<'_>,
        attached: Option<File>,
    ) -> Result<(), LinkError> {
        let place = match (&attached, self.grant) {
            (None, Some(grant)) => Place::Slot(grant),
            _ => Place::Attached,
        };
        let run = self.run(id, plan, place);
        self.enter(id, |shared| {
            shared.enqueue(|outbox| outbox.push(&run, attached.map(Into::into)))
        })
    }

    fn run(&self, id: u64, plan: &Plan<'_>, place: Place) -> ToWorker {
        ToWorker::Run(Run {
            id,
            slot: self.grant,
            inputs: plan.tensors(place),
        })
    }

    /// Enters the run, with the slot, before its frame can leave; takes both back if it cannot.
    fn enter(
        &mut self,
        id: u64,
        send: impl FnOnce(&Shared) -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        let shared = self.shared;
        shared.ledger().enter(id, self.grant)?;
        self.grant = None;
        send(shared).inspect_err(|_| {
            // Nobody but this call knows the run, so it is there to be removed.
            let _ = shared.ledger().leave(id);
            shared.room.notify_waiters();
        })
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(grant) = self.grant {
            self.shared.ledger().give_back(grant);
            self.shared.room.notify_waiters();
        }
    }
}

/// Returns a memory file of its own for inputs that exceed a slot.
async fn attach(plan: &Plan<'_>) -> Result<File, LinkError> {
    let memory =
        platform::sealed_memory("impetus-inputs", plan.total() as u64).map_err(LinkError::lost)?;
    copy_in(&memory, 0, plan).await.map_err(LinkError::lost)?;
    Ok(memory)
}

/// Copies the inputs into shared memory, in steps between which other tasks run.
async fn copy_in(memory: &File, base: usize, plan: &Plan<'_>) -> io::Result<()> {
    let mut copied = 0;
    for (offset, part) in plan.parts() {
        for (index, step) in part.chunks(COPY_STEP).enumerate() {
            arena::write_at(memory, step, base + offset + index * COPY_STEP)?;
            copied += step.len();
            if copied >= COPY_STEP {
                copied = 0;
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(())
}
