//! The actor that looks after one worker: its incarnation is the worker's process.
//!
//! It opens the process, and then only watches: the end of the link, the word of the judge that a
//! run has overrun its budget, the silence of an idle worker, its memory. Whatever ends the
//! incarnation ends the process, and a process that an abandoned incarnation left behind is killed
//! by the next one. The supervisor decides whether and when there is a next one.
//!
//! When a worker is lost, this is where it is found out how, before what it ran is sent again:
//! whether that speaks against a request depends on it. An end that is not the worker's doing, or
//! that a suspected request brought about, is excused and charged to nobody.

mod ending;
mod recycling;
mod workshop;

use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_supervision::{Actor, ActorError, Context, Message, StatusReport};
use tracing::info;

use super::WorkerState;
use super::dispatch::Link;
use super::host::HostedWorker;
use super::ledger::LinkId;
use super::loss::{Blame, Loss};
use super::memory::{Claim, WorkerMemory};
use super::model::{ServedModel, Successor};
use super::opening::{Opened, Opening, REAP_WITHIN, Step};
use super::restart::RestartReason;

pub use workshop::{WorkerSettings, Workshop};

/// How often a worker's memory and silence are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a worker's actor is told.
#[derive(Debug)]
pub enum WorkerMsg {
    /// One of the link's tasks has ended.
    LinkEnded {
        /// The incarnation whose link it was.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// A run has overrun its budget.
    Overdue(Overrun),
    /// A worker has been loaded that can take this one's place, or could not.
    Successor {
        /// The incarnation that asked for it.
        generation: u64,
        /// How that went.
        outcome: Succession,
    },
}

/// How it went to have a worker loaded beside the one that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Succession {
    /// It is there.
    Ready,
    /// Memory has no room for both.
    NoRoom(String),
    /// It could not be loaded, which one that started afresh could not either.
    Failed(String),
}

/// A run that has overrun its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overrun {
    /// The incarnation whose worker it is.
    pub generation: u64,
    /// The number of the run.
    pub run: u64,
    /// For how long the worker had had nothing to do when it was sent.
    pub idle_before: Duration,
    /// For how long the run has been going on.
    pub age: Duration,
    /// How long it may.
    pub budget: Duration,
}

impl Message for WorkerMsg {
    fn label(&self) -> &'static str {
        match self {
            Self::LinkEnded { .. } => "link ended",
            Self::Overdue(_) => "run overdue",
            Self::Successor { .. } => "successor",
        }
    }
}

/// The supervised actor behind one worker.
pub struct ModelWorker {
    model: Arc<ServedModel>,
    index: usize,
    shop: Arc<Workshop>,
    generation: u64,
    worker: Option<HostedWorker>,
    link: Option<Link>,
    memory: Option<WorkerMemory>,
    /// Its share of memory, for as long as it lives.
    claim: Option<Claim>,
    /// When it was last looked at.
    looked: Instant,
    /// A fresh worker is being loaded to take its place.
    succession: bool,
    /// That has come to an end of which nothing has followed yet.
    outcome: Option<Succession>,
}

// === impl ModelWorker ===

impl ModelWorker {
    /// Makes the actor for the worker at place `index` of `model`.
    #[must_use]
    pub fn new(model: Arc<ServedModel>, index: usize, shop: Arc<Workshop>) -> Self {
        Self {
            model,
            index,
            shop,
            generation: 0,
            worker: None,
            link: None,
            memory: None,
            claim: None,
            looked: Instant::now(),
            succession: false,
            outcome: None,
        }
    }

    async fn open(&mut self, ctx: &Context<Self>) -> Result<(), ActorError> {
        let began = Instant::now();
        if let Some(reason) = self.model.places[self.index].take_end() {
            self.model.note_restart(reason);
        }
        if let Some(left_behind) = self.model.places[self.index].begin(self.generation) {
            left_behind.end();
        }
        // What older incarnations had out and nobody collected.
        let before = LinkId {
            worker: self.index,
            generation: self.generation.saturating_sub(1),
        };
        self.model.recover(before, &Loss::Unknown, Blame::Running);
        if let Some(opened) = self.take_over() {
            return self.serve(ctx, opened, None);
        }
        ctx.progress("open worker", self.shop.settings.open_within(&self.model));
        let step = |step: Step<'_>| self.show(step);
        let opening = Opening {
            model: &self.model,
            shop: &self.shop,
            generation: self.generation,
            step: &step,
        };
        let opened = tokio::select! {
            opened = opening.open() => opened,
            // A load may take minutes. What has been opened so far ends as it is dropped.
            () = ctx.stop_asked() => return Ok(()),
        };
        match opened {
            Ok(opened) => self.serve(ctx, opened, Some(began.elapsed())),
            Err(failed) => Err(self.never_served(failed).await),
        }
    }

    /// Takes the worker that the incarnation before has had loaded, if it still runs.
    fn take_over(&mut self) -> Option<Opened> {
        let Successor {
            mut worker,
            link,
            loaded,
            memory,
            claim,
        } = self.model.places[self.index].take_successor()?;
        if !worker.is_running() {
            return None;
        }
        self.show(Step::Started(&worker));
        let (sender, receiver) = link.resume().ok()?;
        Some(Opened {
            worker,
            sender,
            receiver,
            loaded,
            memory,
            claim,
        })
    }

    /// Shows on the worker's place how far opening has come.
    fn show(&self, step: Step<'_>) {
        self.model.places[self.index].write(self.generation, |place| match step {
            Step::Started(worker) => place.hold(worker.leash()),
            Step::Loading => place.state = WorkerState::Loading,
            Step::Warming => place.state = WorkerState::Warming,
        });
    }

    fn serve(
        &mut self,
        ctx: &Context<Self>,
        opened: Opened,
        took: Option<Duration>,
    ) -> Result<(), ActorError> {
        let Opened {
            worker,
            sender,
            receiver,
            loaded,
            memory,
            claim,
        } = opened;
        self.model.loaded(&loaded, took);
        let resident = worker.resident_bytes();
        let now = Instant::now();
        self.model.note_progress(now);
        self.model.places[self.index].write(self.generation, |place| {
            place.state = WorkerState::Ready;
            // Until it gets its turn, which it does at once where there are no spares.
            place.standby = self.model.limits().spares > 0;
            place.heard = Some(now);
            place.resident_bytes = resident;
            place.memory = memory;
            place.load_error = None;
            place.last_loss = None;
        });
        info!(
            model = %self.model.spec().name,
            version = %self.model.spec().version,
            pid = worker.pid(),
            load_ms = took.map_or(0.0, |took| took.as_secs_f64() * 1e3),
            run_budget_ms = self.model.run_budget().as_secs_f64() * 1e3,
            "worker serves"
        );
        self.model.note_change();
        self.worker = Some(worker);
        self.memory = memory;
        self.claim = claim;
        self.looked = Instant::now();
        let link = Link::new(
            Arc::clone(&self.model),
            self.link_id(),
            ctx.fence(),
            ctx.myself(),
        );
        ctx.spawn(link.clone().judge(sender.clone()));
        ctx.spawn(link.clone().write(sender));
        ctx.spawn(link.clone().read(receiver));
        self.link = Some(link);
        Ok(())
    }

    /// Notes why the worker ends; what is said first counts.
    fn ends(&self, reason: RestartReason) {
        self.model.places[self.index].ends(self.generation, reason);
    }

    /// Returns the actor's name.
    fn name(&self) -> &str {
        self.model.places[self.index].actor()
    }

    fn link_id(&self) -> LinkId {
        LinkId {
            worker: self.index,
            generation: self.generation,
        }
    }

    /// Tells whether a run that was found overdue goes on, and has not been answered meanwhile.
    fn is_still_running(&self, overrun: &Overrun) -> bool {
        let running = self.model.running_on(self.link_id());
        overrun.generation == self.generation && running.is_some_and(|run| run.id == overrun.run)
    }

    /// Gives a worker the time back in which the server itself stood still: what it said meanwhile
    /// waits to be read.
    fn forgive_a_standstill(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked) > LOOK_EVERY * 4 {
            self.model.places[self.index].write(self.generation, |place| {
                place.heard = place.heard.map(|_| now);
            });
        }
        self.looked = now;
    }

    /// Judges an idle worker by its silence.
    fn silence(&self) -> Option<Loss> {
        if self.model.out_on(self.link_id()) > 0 {
            return None;
        }
        let silent = self.model.places[self.index].read().silent_for()?;
        let limit = self.shop.settings.self_check_every * 2 + self.model.run_budget();
        (silent > limit).then(|| {
            Loss::Hang(format!(
                "the idle worker was silent for {:.1} s",
                silent.as_secs_f64()
            ))
        })
    }
}

impl Actor for ModelWorker {
    type Msg = WorkerMsg;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.generation = ctx.generation().get();
        self.open(ctx).await
    }

    async fn handle(&mut self, msg: WorkerMsg, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        match msg {
            WorkerMsg::LinkEnded { generation, reason } if generation == self.generation => {
                Err(self.lost(ctx, reason).await)
            }
            WorkerMsg::Overdue(overrun) if self.is_still_running(&overrun) => {
                // One that hung while it had nothing to do hung in its self-check.
                let in_self_check = overrun.idle_before >= self.shop.settings.self_check_every;
                let blame = match in_self_check {
                    true => Blame::Nobody,
                    false => Blame::Only(overrun.run),
                };
                Err(self.end(ctx, Loss::Hang(overrun.to_string()), blame).await)
            }
            WorkerMsg::Successor {
                generation,
                outcome,
            } if generation == self.generation => {
                // Done with at the next look, which heeds that healing may be paused.
                self.outcome = Some(outcome);
                Ok(())
            }
            // Word of an incarnation that is over.
            _ => Ok(()),
        }
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        let resident = self.worker.as_ref().and_then(HostedWorker::resident_bytes);
        self.model.places[self.index].write(self.generation, |place| {
            place.resident_bytes = resident;
        });
        self.shop.out_of_memory.look();
        self.forgive_a_standstill();
        if self.model.healing().paused_for().is_some() {
            return Ok(());
        }
        if let Some(loss) = self.silence() {
            return Err(self.end(ctx, loss, Blame::Nobody).await);
        }
        if let Some(loss) = self.too_large(resident) {
            return Err(self.end(ctx, loss, Blame::Running).await);
        }
        match self.outcome.take() {
            Some(outcome) => self.succeed(ctx, outcome),
            None => self.recycle_if_large(ctx, resident),
        }
        Ok(())
    }

    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        self.ends(RestartReason::Stopped);
        let within = self.shop.settings.stop_within;
        ctx.progress("finish batches", within + REAP_WITHIN);
        self.stop_in_order(Instant::now() + within).await;
    }

    fn status(&self) -> StatusReport {
        let place = self.model.places[self.index].read();
        let (score, note) = match place.state {
            WorkerState::Ready if place.standby => (100, Some("stands by".to_owned())),
            WorkerState::Ready => (100, None),
            WorkerState::Loading => (60, Some("loading".to_owned())),
            WorkerState::Warming => (60, Some("warming up".to_owned())),
            WorkerState::Down => (0, place.load_error.or(place.last_loss)),
        };
        let mut report = StatusReport {
            score,
            note,
            ..StatusReport::default()
        };
        if let Some(pid) = place.pid {
            report.details.insert("pid".to_owned(), pid.to_string());
        }
        report
    }
}

impl Drop for ModelWorker {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.stop_taking();
        }
        // Nothing is left here when the end was found out about; after a panic nobody knows more.
        self.model
            .recover(self.link_id(), &Loss::Unknown, Blame::Running);
    }
}

// === impl Overrun ===

impl std::fmt::Display for Overrun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a run took {:.2} s, its budget is {:.2} s",
            self.age.as_secs_f64(),
            self.budget.as_secs_f64()
        )
    }
}
