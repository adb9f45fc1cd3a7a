//! The two tasks that carry batches between a model's queue and one worker's socket.
//!
//! They hold no state that matters: everything sent is in the ledger. When either ends, for
//! whatever reason, a guard gives back what was out and tells the worker's actor, whose business it
//! is to end the incarnation.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use impetus_engine::link::{LinkError, Received, Receiver, Sender, StackedInput};
use impetus_engine::{DType, EngineError, Tensor};
use impetus_supervision::{ActorRef, Fence};
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};

use super::job::Job;
use super::ledger::LinkId;
use super::model::ServedModel;
use super::worker::WorkerMsg;

/// What both tasks share.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) model: Arc<ServedModel>,
    pub(super) id: LinkId,
    pub(super) fence: Fence,
    pub(super) actor: ActorRef<WorkerMsg>,
    /// Room in the worker, in batches.
    room: Rc<Semaphore>,
    stop: Rc<Notify>,
    reported: Rc<Cell<bool>>,
}

/// Gives back what is out and reports the end of a task, also when it is dropped in the middle.
struct EndGuard {
    link: Link,
    /// Why the task ended; `None` when it ended in order and there is nothing to mend.
    reason: Option<String>,
}

// === impl Link ===

impl Link {
    pub(super) fn new(
        model: Arc<ServedModel>,
        id: LinkId,
        fence: Fence,
        actor: ActorRef<WorkerMsg>,
    ) -> Self {
        let room = Rc::new(Semaphore::new(model.limits().in_flight.max(1)));
        Self {
            model,
            id,
            fence,
            actor,
            room,
            stop: Rc::default(),
            reported: Rc::default(),
        }
    }

    /// Takes no more batches; those that are out are still answered.
    pub(super) fn stop_taking(&self) {
        self.room.close();
        self.stop.notify_one();
    }

    /// Takes batches from the queue and writes them, as long as the worker has room.
    pub(super) async fn write(self, sender: Sender) {
        let mut guard = EndGuard::new(&self);
        guard.reason = self
            .write_until_it_ends(&sender)
            .await
            .err()
            .map(|end| end.to_string());
    }

    async fn write_until_it_ends(&self, sender: &Sender) -> Result<(), LinkError> {
        let max_rows = match self.model.signature() {
            Some(signature) if signature.batches => self.model.limits().max_batch,
            _ => 1,
        };
        loop {
            let Ok(room) = self.room.acquire().await else {
                return Ok(());
            };
            room.forget();
            let Some(batch) = self.take(max_rows).await else {
                return Ok(());
            };
            let inputs: Vec<_> = batch.iter().map(|job| Arc::clone(&job.inputs)).collect();
            let id = self.model.ledger.enter(self.id, batch);
            if !self.fence.is_current() {
                // The guard gives the batch back; a fenced incarnation writes nothing.
                return Err(LinkError::Lost {
                    reason: "the incarnation was given up".to_owned(),
                });
            }
            match send(sender, id, &inputs).await {
                Ok(()) => {}
                Err(LinkError::Refused(error)) => self.fail(id, &error),
                Err(lost) => return Err(lost),
            }
        }
    }

    /// Waits for a batch, until there will be none or none is wanted.
    async fn take(&self, max_rows: usize) -> Option<Vec<Job>> {
        tokio::select! {
            // A batch that is there is taken, never dropped unanswered.
            biased;
            batch = self.model.queue.take(max_rows) => batch,
            () = self.stop.notified() => None,
        }
    }

    /// Reads what the worker says and answers the batches it has done.
    pub(super) async fn read(self, mut receiver: Receiver) {
        let mut guard = EndGuard::new(&self);
        guard.reason = Some(loop {
            match receiver.next().await {
                Ok(received) => {
                    if let Err(reason) = self.take_in(received) {
                        break reason;
                    }
                }
                Err(error) => break error.to_string(),
            }
        });
    }

    fn take_in(&self, received: Received) -> Result<(), String> {
        let now = Instant::now();
        self.model.places[self.id.worker].write(self.id.generation, |place| {
            place.heard = Some(now);
        });
        match received {
            Received::Done {
                id,
                outputs,
                run_micros,
            } => {
                self.room.add_permits(1);
                if let Some(batch) = self.model.ledger.settle(self.id, id) {
                    self.model.complete(batch, outputs, run_micros);
                }
            }
            Received::RunFailed { id, error } => self.fail(id, &error),
            Received::Beat { self_checks, .. } => {
                self.model.places[self.id.worker].write(self.id.generation, |place| {
                    place.self_checks = self_checks;
                });
            }
            Received::SelfCheckFailed { detail } => {
                return Err(format!("idle self-check failed: {detail}"));
            }
            other => debug!(message = ?other, "message without a meaning while serving"),
        }
        Ok(())
    }

    fn fail(&self, id: u64, error: &EngineError) {
        self.room.add_permits(1);
        warn!(model = %self.model.spec().name, %error, "execution failed");
        if let Some(batch) = self.model.ledger.settle(self.id, id) {
            self.model.failed(batch, error);
        }
    }
}

/// One input of a batch, its members laid behind one another.
struct Stacked<'a> {
    name: &'a str,
    dtype: DType,
    shape: Vec<usize>,
    parts: Vec<&'a [u8]>,
}

async fn send(sender: &Sender, id: u64, members: &[Arc<Vec<Tensor>>]) -> Result<(), LinkError> {
    let stacked = stack(members);
    let inputs: Vec<StackedInput<'_>> = stacked
        .iter()
        .map(|input| StackedInput {
            name: input.name,
            dtype: input.dtype,
            shape: &input.shape,
            parts: &input.parts,
        })
        .collect();
    sender.run(id, &inputs).await
}

fn stack(members: &[Arc<Vec<Tensor>>]) -> Vec<Stacked<'_>> {
    let Some(first) = members.first() else {
        return Vec::new();
    };
    first
        .iter()
        .enumerate()
        .map(|(index, tensor)| {
            let mut shape = tensor.shape().to_vec();
            if let (Some(rows), true) = (shape.first_mut(), members.len() > 1) {
                // Members of a shared batch have a first dimension: they were found to stack.
                *rows = members
                    .iter()
                    .filter_map(|m| m[index].shape().first())
                    .sum();
            }
            Stacked {
                name: tensor.name(),
                dtype: tensor.dtype(),
                shape,
                parts: members.iter().map(|m| m[index].data()).collect(),
            }
        })
        .collect()
}

// === impl EndGuard ===

impl EndGuard {
    fn new(link: &Link) -> Self {
        Self {
            link: link.clone(),
            reason: Some("the task was dropped".to_owned()),
        }
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let Some(reason) = self.reason.take() else {
            return;
        };
        let link = &self.link;
        link.model.recover(link.id.worker, link.id.generation);
        if !link.reported.replace(true) {
            let told = link.actor.try_send_priority(WorkerMsg::LinkEnded {
                generation: link.id.generation,
                reason,
            });
            if told.is_err() {
                debug!("the worker's actor is not there to hear of its link's end");
            }
        }
    }
}
