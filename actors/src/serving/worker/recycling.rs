//! A worker that has grown too large makes room for a fresh one, so that nobody waits.
//!
//! Where a spare stands by, it takes over at once. Where memory has room for one worker more, a
//! fresh one is loaded beside the old, which serves on, and takes its place with the next
//! incarnation. Where neither is so, the old one finishes what it has and is started afresh: others
//! serve meanwhile, or requests wait for the load.

use std::sync::Arc;
use std::time::Instant;

use impetus_engine::link;
use impetus_supervision::{ActorRef, Context};
use tracing::{info, warn};

use super::super::loss::Loss;
use super::super::model::{ServedModel, Successor};
use super::super::opening::{OpenError, Opening};
use super::super::restart::RestartReason;
use super::{ModelWorker, Succession, WorkerMsg, Workshop};

/// What it takes to load a successor beside the worker that serves.
struct Heir {
    model: Arc<ServedModel>,
    shop: Arc<Workshop>,
    index: usize,
    generation: u64,
    actor: ActorRef<WorkerMsg>,
}

// === impl ModelWorker ===

impl ModelWorker {
    /// Judges a worker by its hard limit.
    pub(super) fn too_large(&self, resident: Option<u64>) -> Option<Loss> {
        let (memory, resident) = (self.memory?, resident?);
        let hard = memory.hard_limit_bytes;
        (resident >= hard).then(|| {
            Loss::Memory(format!(
                "{resident} bytes are resident, the hard limit is {hard}"
            ))
        })
    }

    /// Begins to recycle a worker that is over its soft limit.
    pub(super) fn recycle_if_large(&mut self, ctx: &mut Context<Self>, resident: Option<u64>) {
        let (Some(memory), Some(resident)) = (self.memory, resident) else {
            return;
        };
        let soft = memory.soft_limit_bytes;
        let recycled = self.model.places[self.index].read().recycled;
        let pause = self.shop.memory.recycle_pause();
        let rested = recycled.is_none_or(|recycled| recycled.elapsed() >= pause);
        if resident < soft || self.succession || !rested {
            return;
        }
        info!(resident, soft, "worker is over its soft limit of memory");
        if self.model.has_standby(self.index) {
            return self.make_room(ctx, "a spare takes over");
        }
        self.succession = true;
        let heir = Heir {
            model: Arc::clone(&self.model),
            shop: Arc::clone(&self.shop),
            index: self.index,
            generation: self.generation,
            actor: ctx.myself(),
        };
        ctx.spawn(heir.prepare());
    }

    /// A successor is there, or could not be had.
    pub(super) fn succeed(&mut self, ctx: &mut Context<Self>, outcome: Succession) {
        self.succession = false;
        match outcome {
            Succession::Ready => self.make_room(ctx, "a fresh worker takes over"),
            Succession::NoRoom(reason) => {
                warn!(%reason, "no worker could be loaded beside the one that is too large");
                self.make_room(ctx, "it starts afresh");
            }
            Succession::Failed(reason) => {
                // One that started afresh would fail as well, and this one serves.
                warn!(%reason, "no worker could be loaded in place of the one that is too large");
                self.rest();
            }
        }
    }

    /// Waits for the next try to recycle.
    fn rest(&self) {
        self.model.places[self.index].write(self.generation, |place| {
            place.recycled = Some(Instant::now());
        });
    }

    fn make_room(&mut self, ctx: &mut Context<Self>, how: &str) {
        self.model.note_recycled();
        self.ends(RestartReason::Recycled);
        let message = format!("is over its soft limit of memory: {how}");
        self.shop.note(self.name(), message);
        self.rest();
        ctx.excuse();
        ctx.stop();
    }
}

// === impl Heir ===

impl Heir {
    async fn prepare(self) {
        let outcome = match self.load().await {
            Ok(successor) => {
                self.model.places[self.index].leave(self.generation, successor);
                Succession::Ready
            }
            Err(outcome) => outcome,
        };
        // An inbox that takes nothing has an actor behind it that is replaced for that.
        let _ = self.actor.try_send_priority(WorkerMsg::Successor {
            generation: self.generation,
            outcome,
        });
    }

    async fn load(&self) -> Result<Successor, Succession> {
        let opening = Opening {
            model: &self.model,
            shop: &self.shop,
            generation: self.generation + 1,
            step: &|_| {},
        };
        let opened = opening.open().await.map_err(|failed| {
            let reason = format!("could not {}: {}", failed.what, failed.error);
            match failed.error {
                OpenError::NoRoom(_) => Succession::NoRoom(reason),
                _ => Succession::Failed(reason),
            }
        })?;
        let link = link::park(&opened.sender, opened.receiver)
            .map_err(|error| Succession::Failed(error.to_string()))?;
        Ok(Successor {
            worker: opened.worker,
            link,
            loaded: opened.loaded,
            memory: opened.memory,
            claim: opened.claim,
        })
    }
}
