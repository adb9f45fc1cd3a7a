//! Carrying out what has been decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Request, SupervisorActor, Watched};
use crate::backoff::Delays;
use crate::decide::{Key, Member, Order, Phase, Policy, Toll};
use crate::event::EventKind;
use crate::executor::LaunchError;
use crate::inbox::{Inbox, Lane};
use crate::link::Link;
use crate::roster::{Child, Duplicate};
use crate::shared::Shared;
use crate::{
    ActorId, Birth, ChildSpec, Context, ExitReason, Shutdown, Significance, SupervisorError,
    Verdict,
};

// === impl SupervisorActor ===

impl SupervisorActor {
    /// Brings a new child into the system and starts it.
    pub(super) fn start(
        &mut self,
        spec: ChildSpec,
        ctx: &Context<Self>,
    ) -> Result<(), SupervisorError> {
        self.forget_if_done(spec.id(), ctx);
        let child = self
            .roster
            .enter(spec, ctx.id(), ctx.shared())
            .map_err(|Duplicate(id)| SupervisorError::Duplicate(id))?;
        let member = self.take_in(child, ctx.shared());
        self.decider.add(member);
        Ok(())
    }

    /// Begins to watch a child, and returns it as the decider sees it.
    pub(super) fn take_in(&mut self, child: Arc<Child>, shared: &Shared) -> Member {
        let settings = &child.spec.settings;
        let policy = Policy {
            restart: settings.restart,
            shutdown: settings.shutdown,
            significant: settings.significance == Significance::Significant,
            intensity: settings.intensity,
            cool_down: settings.cool_down,
        };
        let id = child.spec.id().clone();
        let delays = Delays::new(settings.backoff, shared.seed, &id);
        let key = child.key;
        self.watched.insert(key, Watched::new(child));
        Member::new(key, id, policy, delays)
    }

    pub(super) fn carry_out(&mut self, order: Order, ctx: &mut Context<Self>, now: Duration) {
        match order {
            Order::Launch(key) => self.launch(key, ctx, now),
            Order::AskToStop(key) => {
                if let Some(watched) = self.watched.get_mut(&key)
                    && let Some(link) = &watched.link
                {
                    watched.stopping_since = Some(now);
                    link.ask_to_stop();
                }
            }
            Order::Abandon(key) => self.give_up_stopping(key, ctx, now),
            Order::NoteDelay(key, delay) => {
                self.tell(
                    key,
                    ctx,
                    EventKind::BackingOff,
                    format!("restart in {delay:?}"),
                );
            }
            Order::NoteHeld(key) => {
                let message = "restart waits until healing is resumed".to_owned();
                self.tell(key, ctx, EventKind::BackingOff, message);
            }
            Order::NoteFailed(key, message) => self.tell(key, ctx, EventKind::Failed, message),
            Order::NoteDone(key) => {
                let message = "stays down, as its spec says".to_owned();
                self.tell(key, ctx, EventKind::Stopped, message);
            }
            Order::Forget(key) => self.forget(key, ctx),
            Order::GiveUp(key, reason) => self.reach_verdict(key, reason, ctx),
            Order::Escalate(child, reason) => {
                let board = &ctx.shared().board;
                let message = format!("{child} was given up: {reason}");
                board.record(ctx.id(), ctx.generation(), EventKind::Escalated, message);
                ctx.end(ExitReason::Escalated { child, reason });
            }
        }
    }

    fn launch(&mut self, key: Key, ctx: &Context<Self>, now: Duration) {
        let Some(watched) = self.watched.get_mut(&key) else {
            return;
        };
        let child = Arc::clone(&watched.child);
        let notify = nudge(ctx.myself_ref().inbox(), &self.looking);
        let conceive = || incarnate(&child, ctx.shared(), notify);
        // Only a supervisor that has itself been abandoned cannot adopt; it has no more business launching.
        let Some(link) = ctx.link().adopt(conceive) else {
            return;
        };
        watched.link = Some(Arc::clone(&link));
        watched.moved = (0, now);
        if let Err(error) = launch(&child, &link, ctx.shared()) {
            watched.link = None;
            let message = error.to_string();
            let reason = ExitReason::FailedStart { message };
            child.entry.ended(reason.clone(), ctx.shared().board.wall());
            let message = format!("{}: {reason}", reason.kind());
            self.tell(key, ctx, EventKind::Exited, message);
            self.decider.ended(key, &reason, Toll::Charged, now);
            let reason = reason.to_string();
            return self.answer(key, || Err(SupervisorError::NotLaunched(reason.clone())));
        }
        self.answer(key, || Ok(()));
    }

    /// Answers the requests that were waiting for a child.
    fn answer(&mut self, key: Key, outcome: impl Fn() -> Result<(), SupervisorError>) {
        for (_, answer) in self
            .waiting
            .extract_if(.., |(waits_for, _)| *waits_for == key)
        {
            answer.send(outcome());
        }
    }

    /// The stop's deadline has passed, or the child is one that is stopped without asking.
    fn give_up_stopping(&mut self, key: Key, ctx: &Context<Self>, now: Duration) {
        let Some(watched) = self.watched.get_mut(&key) else {
            return;
        };
        let Some(link) = watched.link.clone() else {
            return;
        };
        let asked = watched.stopping_since.take();
        let brutal = watched.child.spec.settings.shutdown == Shutdown::Brutal;
        watched
            .child
            .entry
            .ended(ExitReason::Killed, ctx.shared().board.wall());
        let took = asked.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        for left in self.abandon(key, &link, ctx) {
            ctx.shared().note_stopped(left.fence().id(), brutal, took);
        }
        let message = match brutal {
            true => "stopped without asking",
            false => "did not stop within its deadline",
        };
        self.tell(key, ctx, EventKind::Fenced, message.to_owned());
    }

    fn forget(&mut self, key: Key, ctx: &Context<Self>) {
        if let Some(watched) = self.watched.remove(&key) {
            watched.child.leave(ctx.shared());
        }
        self.roster.forget(key);
        self.answer(key, || Ok(()));
    }

    /// Makes room for a child of the same name as one that has ended for good.
    fn forget_if_done(&mut self, id: &ActorId, ctx: &Context<Self>) {
        if let Some(child) = self.roster.find(id)
            && self.decider.phase(child.key) == Some(Phase::Done)
        {
            self.decider.forget(child.key);
            self.forget(child.key, ctx);
        }
    }

    fn reach_verdict(&mut self, key: Key, reason: String, ctx: &Context<Self>) {
        let Some(watched) = self.watched.get(&key) else {
            return;
        };
        let actor = watched.child.spec.id().clone();
        self.publish(key);
        let board = &ctx.shared().board;
        let at = board.wall();
        board.give_up(Verdict { actor, reason, at });
    }

    /// Shows the children's phases on the board.
    pub(super) fn publish_all(&mut self) {
        let keys: Vec<Key> = self.watched.keys().copied().collect();
        for key in keys {
            self.publish(key);
        }
    }

    pub(super) fn publish(&mut self, key: Key) {
        let held = self.decider.is_held(key);
        let phase = self.decider.phase(key);
        let shown = phase.map(|phase| (phase.state(), held));
        if let Some(watched) = self.watched.get_mut(&key)
            && watched.published != shown
            && let Some((state, held)) = shown
        {
            watched.published = shown;
            watched.child.entry.show(state, held);
        }
    }

    fn tell(&mut self, key: Key, ctx: &Context<Self>, kind: EventKind, message: String) {
        self.publish(key);
        if let Some(watched) = self.watched.get(&key) {
            let entry = &watched.child.entry;
            let board = &ctx.shared().board;
            board.record(entry.id(), entry.generation(), kind, message);
        }
    }
}

/// Hands the lease to a child's next generation.
pub(crate) fn incarnate(
    child: &Child,
    shared: &Shared,
    notify: Arc<dyn Fn() + Send + Sync>,
) -> Arc<Link> {
    let fence = child.spec.seat.grant();
    child.spec.mailbox.reclaim();
    let link = Arc::new(Link::new(
        fence,
        Arc::clone(&shared.clock),
        Arc::clone(&child.entry),
        notify,
    ));
    child.entry.begin(&link, shared.clock.now());
    link
}

/// Has the executor start an incarnation.
pub(crate) fn launch(
    child: &Child,
    link: &Arc<Link>,
    shared: &Arc<Shared>,
) -> Result<(), LaunchError> {
    let birth = Birth {
        id: child.spec.id().clone(),
        generation: link.generation(),
        last_exit: child.entry.last_exit(),
        clock: Arc::clone(&shared.clock),
    };
    let limits = child.spec.settings.limits;
    let body = child
        .spec
        .plan
        .body(birth, Arc::clone(link), Arc::clone(shared), limits);
    let handle = shared.executor.launch(child.spec.id().as_str(), body)?;
    link.attach(handle);
    Ok(())
}

/// Makes the closure by which a child's link tells its supervisor to look.
pub(super) fn nudge(
    inbox: &Arc<Inbox<Request>>,
    looking: &Arc<AtomicBool>,
) -> Arc<dyn Fn() + Send + Sync> {
    let inbox = Arc::downgrade(inbox);
    let looking = Arc::clone(looking);
    Arc::new(move || {
        if looking.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(inbox) = inbox.upgrade() {
            // Full or closed: then other messages make it look, or nobody is left to.
            let _ = inbox.push(Lane::Priority, Request::Look);
        }
    })
}
