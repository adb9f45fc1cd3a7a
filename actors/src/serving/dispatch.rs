//! The tasks that carry batches between a model's queue and one worker's socket, and the one that
//! judges how long that takes.
//!
//! They hold no state that matters: everything taken from the queue is in the ledger. When one
//! ends, for whatever reason, a guard keeps the others from taking more and tells the worker's
//! actor, whose business it is to find out why, to give back what was out, and to end the
//! incarnation. Where there is no actor to tell, the guard gives it back itself.

mod judge;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_engine::link::{LinkError, Received, Receiver, Sender, StackedInput};
use impetus_engine::{DType, EngineError, Tensor};
use impetus_supervision::{ActorRef, Fence};
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};

use super::generation::Streams;
use super::job::Job;
use super::ledger::LinkId;
use super::loss::{Blame, Loss};
use super::model::ServedModel;
use super::queue::Taker;
use super::share::Seat;
use super::worker::WorkerMsg;

/// What the tasks of a link share.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) model: Arc<ServedModel>,
    pub(super) id: LinkId,
    pub(super) fence: Fence,
    pub(super) actor: ActorRef<WorkerMsg>,
    /// Room in the worker, in batches.
    room: Rc<Semaphore>,
    /// Room in the worker when it is empty.
    whole_room: u32,
    /// Told when the worker has answered all it had.
    emptied: Rc<Notify>,
    stop: Rc<Stop>,
    /// When the worker last answered, and so began with what is next.
    turned: Rc<Cell<Instant>>,
    reported: Rc<Cell<bool>>,
    /// Said when everything the worker wrote has been read.
    drained: Rc<Stop>,
}

/// A word that holds for good once it has been said.
#[derive(Debug, Default)]
struct Stop {
    said: Cell<bool>,
    heard: Notify,
}

/// Keeps the others from going on and reports the end of a task, also when it is dropped in the
/// middle.
struct EndGuard {
    link: Link,
    /// Why the task ended; `None` when it ended in order and there is nothing to mend.
    reason: Option<String>,
}

// === impl Stop ===

impl Stop {
    fn say(&self) {
        self.said.set(true);
        self.heard.notify_waiters();
    }

    /// Waits until it has been said.
    async fn wait(&self) {
        // All of it happens on one thread: nothing comes between the look and the wait.
        while !self.said.get() {
            self.heard.notified().await;
        }
    }
}

// === impl Link ===

impl Link {
    pub(super) fn new(
        model: Arc<ServedModel>,
        id: LinkId,
        fence: Fence,
        actor: ActorRef<WorkerMsg>,
    ) -> Self {
        let whole_room = u32::try_from(model.limits().in_flight.max(1)).unwrap_or(u32::MAX);
        Self {
            model,
            id,
            fence,
            actor,
            room: Rc::new(Semaphore::new(whole_room as usize)),
            whole_room,
            emptied: Rc::default(),
            stop: Rc::default(),
            turned: Rc::new(Cell::new(Instant::now())),
            reported: Rc::default(),
            drained: Rc::default(),
        }
    }

    /// Tells whether the link has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.reported.get()
    }

    /// Waits until everything the worker wrote before its end has been read.
    pub(super) async fn drained(&self) {
        self.drained.wait().await;
    }

    /// Takes no more batches; those that are out are still answered.
    pub(super) fn stop_taking(&self) {
        self.room.close();
        self.stop.say();
        // It may have been the one that was told of what came in.
        self.model.queue.pass_on();
    }

    /// Takes batches from the queue and writes them, as long as the worker has room.
    pub(super) async fn write(self, sender: Sender) {
        let mut guard = EndGuard::new(&self);
        let ended = match &self.model.streams {
            Some(streams) => self.write_sequences_in_turn(streams, &sender).await,
            None => self.write_until_it_ends(&sender).await,
        };
        self.model.places[self.id.worker].end_turn(self.id.generation);
        guard.reason = ended.err().map(|end| end.to_string());
    }

    async fn write_until_it_ends(&self, sender: &Sender) -> Result<(), LinkError> {
        if !self.wait_for_its_turn().await {
            return Ok(());
        }
        loop {
            let Ok(room) = self.room.acquire().await else {
                return Ok(());
            };
            room.forget();
            let Some((batch, seat)) = self.take().await else {
                return Ok(());
            };
            let suspect = batch.first().is_some_and(Job::is_suspect);
            let inputs: Vec<_> = batch.iter().map(|job| Arc::clone(&job.inputs)).collect();
            let id = self.model.ledger.enter(self.id, batch, seat);
            if suspect && !self.wait_for_the_whole_room().await {
                self.model.give_back(self.id, id);
                return Ok(());
            }
            if suspect && self.model.refuse_if_known(self.id, id) {
                self.make_room(true);
                continue;
            }
            if !self.fence.is_current() {
                self.model.give_back(self.id, id);
                return Err(LinkError::Lost {
                    reason: "the incarnation was given up".to_owned(),
                });
            }
            self.model.ledger.sending(id);
            match send(sender, id, &inputs).await {
                Ok(()) => self.model.ledger.written(id),
                Err(LinkError::Refused(error)) => self.fail(id, &error),
                Err(lost) => return Err(lost),
            }
        }
    }

    async fn write_sequences_in_turn(
        &self,
        streams: &Streams,
        sender: &Sender,
    ) -> Result<(), LinkError> {
        match self.wait_for_its_turn().await {
            true => self.write_sequences(streams, sender).await,
            false => Ok(()),
        }
    }

    /// Waits until the link is to take no more.
    pub(super) async fn stopped(&self) {
        self.stop.wait().await;
    }

    /// Waits until one worker fewer than should is serving; returns false if that is not to come.
    async fn wait_for_its_turn(&self) -> bool {
        let turn = Arc::clone(&self.model.active).acquire_owned();
        let turn = tokio::select! {
            biased;
            () = self.stop.wait() => return false,
            turn = turn => turn,
        };
        let place = &self.model.places[self.id.worker];
        turn.is_ok_and(|turn| place.take_turn(self.id.generation, turn))
    }

    /// Waits until the worker has nothing else, so that what comes next has it to itself: its end
    /// would otherwise prove nothing. Returns false when no more batches are to be taken.
    async fn wait_for_the_whole_room(&self) -> bool {
        match self.room.acquire_many(self.whole_room - 1).await {
            Ok(rest) => {
                rest.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Waits for a batch, until there will be none or none is wanted.
    async fn take(&self) -> Option<(Vec<Job>, Option<Seat>)> {
        tokio::select! {
            // A link that has ended must not take what it has just given back.
            biased;
            () = self.stop.wait() => None,
            taken = self.take_in_turn() => taken,
        }
    }

    /// Waits for a batch and, where there are other models, for a seat among theirs. What joins the
    /// batch meanwhile is in it.
    async fn take_in_turn(&self) -> Option<(Vec<Job>, Option<Seat>)> {
        let (queue, account) = (&self.model.queue, &self.model.account);
        if !account.is_shared() {
            return Some((queue.take(self).await?, None));
        }
        loop {
            queue.is_due(self).await?;
            let mut seat = account.enter().await;
            if let Some(batch) = queue.take_now(self)? {
                return Some((batch, Some(seat)));
            }
            seat.costs(Duration::ZERO);
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
        self.drained.say();
    }

    fn take_in(&self, received: Received) -> Result<(), String> {
        let now = Instant::now();
        let turned_before = self.turned.replace(now);
        self.model.places[self.id.worker].write(self.id.generation, |place| {
            place.heard = Some(now);
        });
        self.model.note_progress(now);
        match received {
            Received::Done {
                id,
                outputs,
                run_micros,
            } => {
                if let Some(mut batch) = self.model.ledger.settle(self.id, id) {
                    batch.free_since = Some(turned_before);
                    self.make_room(batch.alone);
                    self.model.complete(batch, outputs, run_micros);
                }
            }
            Received::RunFailed { id, error } => self.fail(id, &error),
            Received::Step(step) => {
                if let Some(streams) = &self.model.streams {
                    self.take_step(streams, step)?;
                }
            }
            Received::GenerationFailed(failed) => self.model.stream_failed(self.id, failed),
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
        match error {
            EngineError::Abandoned => {
                debug!(model = %self.model.spec().name, "a run was ended that nobody waited for");
            }
            error => warn!(model = %self.model.spec().name, %error, "execution failed"),
        }
        if let Some(batch) = self.model.ledger.settle(self.id, id) {
            self.make_room(batch.alone);
            self.model.failed(batch, error);
        }
    }

    /// A batch has been answered; one that was alone had all the room.
    fn make_room(&self, alone: bool) {
        let permits = if alone { self.whole_room } else { 1 };
        self.room.add_permits(permits as usize);
        if self.is_idle() {
            self.emptied.notify_waiters();
        }
    }
}

impl Taker for Link {
    fn is_idle(&self) -> bool {
        // One batch's room belongs to whoever asks.
        self.room.available_permits() + 1 >= self.whole_room as usize
    }

    async fn turned_idle(&self) {
        self.emptied.notified().await;
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
        link.stop_taking();
        link.model.places[link.id.worker].end_turn(link.id.generation);
        if link.reported.replace(true) {
            return;
        }
        let told = link.fence.is_current()
            && link
                .actor
                .try_send_priority(WorkerMsg::LinkEnded {
                    generation: link.id.generation,
                    reason,
                })
                .is_ok();
        if !told {
            debug!("the worker's actor is not there to hear of its link's end");
            link.model.recover(link.id, &Loss::Unknown, Blame::Running);
        }
    }
}
