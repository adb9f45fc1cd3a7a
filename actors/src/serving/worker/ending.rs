//! How a worker comes to its end: lost, killed, or stopped in order.
//!
//! The order is always the same. No more batches are taken; what is known of the process is
//! gathered while it lives; it is ended and reaped; from the way it ended follows what the loss
//! proves; and only then is what it had given back.

use std::time::{Duration, Instant};

use impetus_engine::link::LinkError;
use impetus_supervision::{ActorError, Context, ProcessEnd, ProcessLost};
use rustix::process::Signal;
use serde_json::Value;
use tracing::warn;

use super::super::WorkerState;
use super::super::dispatch::Link;
use super::super::forensics::{LOOK_WITHIN, Scene};
use super::super::host::{HostedWorker, autopsy};
use super::super::loss::{Blame, Loss};
use super::super::model::Recovered;
use super::super::opening::{Failed, OpenError, REAP_WITHIN};
use super::super::restart::RestartReason;
use super::ModelWorker;

/// How long a worker whose link has ended may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_millis(100);

// === impl ModelWorker ===

impl ModelWorker {
    /// The link has ended: finds out what became of the worker, and gives back what it had.
    pub(super) async fn lost(&mut self, ctx: &Context<Self>, reason: String) -> ActorError {
        self.take_down(Some(&reason));
        let Some(mut worker) = self.worker.take() else {
            return ActorError::Failed(reason);
        };
        let mut process = Value::Null;
        let mut ended = worker.ended(ENDS_WITHIN).await;
        let by_itself = ended.is_some();
        if !by_itself {
            // It only closed its socket, or one end did not understand the other.
            process = look_at(&worker).await;
            worker.kill();
            ended = worker.ended(REAP_WITHIN).await;
        }
        let loss = match &ended {
            // A signal that was on its way when we killed it is the one it ended by.
            Some(lost) if by_itself || !is_kill(lost.how) => {
                Loss::of(lost.how, self.was_out_of_memory(lost.how))
            }
            _ => Loss::Unknown,
        };
        self.drained().await;
        let mut scene = self.scene(&worker, &loss);
        self.give_back(ctx, &loss, Blame::Running);
        scene.process = process;
        scene.stderr = worker.last_words();
        let last_line = scene.stderr.last().cloned();
        let evidence = loss.is_evidence();
        if evidence || !by_itself {
            self.keep(scene);
        }
        let detail = match last_line {
            Some(line) if evidence => format!("{reason}; its last words: {line}"),
            _ => reason,
        };
        ended_by(ended, detail)
    }

    /// Ends a worker for what it does, and gives back what it had.
    pub(super) async fn end(
        &mut self,
        ctx: &Context<Self>,
        mut loss: Loss,
        blame: Blame,
    ) -> ActorError {
        let Some(mut worker) = self.worker.take() else {
            return ActorError::Failed(loss.to_string());
        };
        let blame = self.settle_blame(blame);
        if let Some(link) = &self.link {
            // What is sent from now on would be lost for what was there before it.
            link.stop_taking();
        }
        let mut scene = self.scene(&worker, &loss);
        scene.process = look_at(&worker).await;
        if let (Loss::Hang(why), true) = (&loss, was_stopped(&scene.process)) {
            loss = Loss::Outside(format!("{why}; a signal had stopped it"));
        }
        let reason = loss.to_string();
        warn!(model = %self.model.spec().name, %reason, "worker is killed");
        worker.kill();
        self.take_down(Some(&reason));
        let ended = worker.ended(REAP_WITHIN).await;
        self.drained().await;
        self.give_back(ctx, &loss, blame);
        scene.cause = loss.kind();
        scene.reason.clone_from(&reason);
        scene.stderr = worker.last_words();
        self.keep(scene);
        ended_by(ended, reason)
    }

    /// A worker could not be opened: says why, and ends what there is of it.
    pub(super) async fn never_served(&mut self, failed: Failed) -> ActorError {
        let Failed {
            worker,
            what,
            error,
        } = failed;
        let overrun = matches!(error, OpenError::TimedOut(_));
        let lost = matches!(error, OpenError::Link(LinkError::Lost { .. }));
        let reason = match error {
            OpenError::Engine(error) => error.to_string(),
            error => format!("could not {what}: {error}"),
        };
        self.ends(RestartReason::FailedStart);
        let ended = match worker {
            Some(mut worker) if overrun || lost => {
                let loss = match overrun {
                    true => Loss::Hang(reason.clone()),
                    false => Loss::Crash(reason.clone()),
                };
                let mut scene = self.scene(&worker, &loss);
                if overrun {
                    scene.process = look_at(&worker).await;
                    worker.kill();
                }
                let ended = reap(&mut worker).await;
                scene.stderr = worker.last_words();
                self.keep(scene);
                ended
            }
            _ => None,
        };
        let shown = match &ended {
            Some(lost) => format!("{reason} (process {} {})", lost.pid, lost.how),
            None => reason.clone(),
        };
        self.model.places[self.index].write(self.generation, |place| {
            place.load_error = Some(shown);
        });
        self.take_down(None);
        match ended {
            Some(_) => ended_by(ended, reason),
            None => ActorError::Failed(reason),
        }
    }

    /// Lets the worker finish what it has, up to the deadline, and ends it.
    pub(super) async fn stop_in_order(&mut self, deadline: Instant) {
        if let Some(link) = &self.link {
            link.stop_taking();
        }
        let id = self.link_id();
        // A worker that is lost meanwhile finishes nothing more.
        let has_ended = || self.link.as_ref().is_some_and(Link::has_ended);
        // Looked at and not signalled: a batch leaves the ledger in several ways, on the path of every
        // answer, and this happens once in a worker's life and has a deadline.
        while self.model.out_on(id) > 0 && !has_ended() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.take_down(None);
        if let Some(mut worker) = self.worker.take() {
            worker.kill();
            let _ = worker.ended(REAP_WITHIN).await;
        }
    }

    fn take_down(&mut self, reason: Option<&str>) {
        if let Some(link) = &self.link {
            link.stop_taking();
        }
        self.model.places[self.index].write(self.generation, |place| {
            place.state = WorkerState::Down;
            place.let_go();
            if let Some(reason) = reason {
                place.last_loss = Some(reason.to_owned());
            }
        });
        self.claim = None;
        self.model.note_down();
    }

    /// Names the batch that a loss may be held against as long as it is known.
    fn settle_blame(&self, blame: Blame) -> Blame {
        match blame {
            Blame::Running => match self.model.running_on(self.link_id()) {
                Some(run) => Blame::Only(run.id),
                None => Blame::Nobody,
            },
            settled => settled,
        }
    }

    /// Tells whether the kernel has killed the worker for want of memory.
    fn was_out_of_memory(&self, how: ProcessEnd) -> bool {
        is_kill(how) && self.shop.out_of_memory.explains_a_kill()
    }

    /// Waits a moment until what the worker wrote before its end has been read.
    async fn drained(&self) {
        if let Some(link) = &self.link {
            // What comes later than this is run once more.
            let _ = tokio::time::timeout(ENDS_WITHIN, link.drained()).await;
        }
    }

    /// Gives back what the worker had; an end that proves nothing against the worker is excused.
    fn give_back(&self, ctx: &Context<Self>, loss: &Loss, blame: Blame) {
        // Before anybody gets an answer: who asks for the figures then finds it counted.
        self.model.note_loss(loss);
        self.ends(RestartReason::from(loss));
        let recovered = self.model.recover(self.link_id(), loss, blame);
        if matches!(loss, Loss::Outside(_)) || recovered.under_suspicion {
            ctx.excuse();
        }
        let Recovered {
            requests,
            quarantined,
            ..
        } = recovered;
        let mut message = format!("lost its worker ({loss}) with {requests} requests");
        for fingerprint in &quarantined {
            let model = &self.model.spec().name;
            warn!(%model, %fingerprint, %loss, "request quarantined");
            message = format!("{message}; {fingerprint} is quarantined");
        }
        self.shop.note(self.name(), message);
    }

    fn scene(&self, worker: &HostedWorker, loss: &Loss) -> Scene {
        Scene {
            actor: self.name().to_owned(),
            generation: self.generation,
            pid: worker.pid(),
            run_budget_ms: self.model.run_budget().as_secs_f64() * 1e3,
            batches: self.model.describe_on(self.link_id()),
            memory_limits: self.memory,
            ..Scene::of(self.model.spec(), loss, self.shop.clock.wall())
        }
    }

    fn keep(&self, scene: Scene) {
        let Some(archive) = &self.shop.forensics else {
            return;
        };
        match scene.keep(archive) {
            Some(file) => self
                .shop
                .note(self.name(), format!("forensics in {}", file.display())),
            None => warn!("forensics were not kept, too many wait to be written"),
        }
    }
}

/// Returns the error of an actor whose process has ended, if it has.
fn ended_by(ended: Option<ProcessLost>, detail: String) -> ActorError {
    match ended {
        Some(mut lost) => {
            // A thread has said itself how it ended.
            lost.detail = Some(match lost.detail {
                Some(own) => format!("{detail}: {own}"),
                None => detail,
            });
            ActorError::ProcessLost(lost)
        }
        None => ActorError::Failed(format!("{detail}; its process has not ended")),
    }
}

/// Waits a moment for the worker's end, then brings it about.
async fn reap(worker: &mut HostedWorker) -> Option<ProcessLost> {
    if let Some(ended) = worker.ended(ENDS_WITHIN).await {
        return Some(ended);
    }
    worker.kill();
    worker.ended(REAP_WITHIN).await
}

fn is_kill(how: ProcessEnd) -> bool {
    how == ProcessEnd::Signal(Signal::KILL.as_raw())
}

/// Tells whether a process stood still because of a signal: that is nothing it did.
fn was_stopped(process: &Value) -> bool {
    process["State"]
        .as_str()
        .is_some_and(|state| state.starts_with(['T', 't']))
}

/// Reads what the kernel says about a worker, for a moment at most: a process that is stuck in the
/// kernel may hold up who looks at it.
async fn look_at(worker: &HostedWorker) -> Value {
    let Some(pid) = worker.pid() else {
        return Value::Null;
    };
    let look = tokio::task::spawn_blocking(move || autopsy(pid));
    match tokio::time::timeout(LOOK_WITHIN, look).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Value::Null,
    }
}
