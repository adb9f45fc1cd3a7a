//! Watching children: what became of them, and whether they still move.

use std::sync::Arc;
use std::time::Duration;

use super::SupervisorActor;
use crate::decide::{Key, Phase, Toll};
use crate::event::EventKind;
use crate::link::{Link, Remains, Stage};
use crate::roster::Child;
use crate::{ActorState, Context, ExitReason};

/// A child and what its supervisor remembers about it from turn to turn.
pub(super) struct Watched {
    pub(super) child: Arc<Child>,
    /// The live incarnation.
    pub(super) link: Option<Arc<Link>>,
    /// How many turns its loop had made when it was last seen to move, and when that was.
    pub(super) moved: (u64, Duration),
    /// What the board was last told: where it stands, and whether only the pause of healing keeps it there.
    pub(super) published: Option<(ActorState, bool)>,
    /// The last incarnation that was abandoned, while something of it may be left.
    pub(super) victim: Option<Arc<Remains>>,
    /// When it was asked to stop.
    pub(super) stopping_since: Option<Duration>,
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(child: Arc<Child>) -> Self {
        Self {
            child,
            link: None,
            moved: (0, Duration::ZERO),
            published: None,
            victim: None,
            stopping_since: None,
        }
    }

    /// Returns what the child hangs on and for how long it is overdue.
    fn hung(&mut self, link: &Link, now: Duration) -> Option<(String, Duration)> {
        if let Some(overdue) = link.overdue(now) {
            return Some(overdue);
        }
        // An idle loop that does not turn while messages wait has lost its thread to something undeclared.
        let turns = link.turns();
        let idle = link.is_idle() && link.stage() >= Stage::Started;
        let waiting = self.child.spec.mailbox.depth() > 0;
        if turns != self.moved.0 || !idle || !waiting {
            self.moved = (turns, now);
            return None;
        }
        let limit = self.child.spec.settings.limits.handle;
        let still = now.saturating_sub(self.moved.1);
        let overdue = still.checked_sub(limit).filter(|over| !over.is_zero())?;
        Some(("inbox".to_owned(), overdue))
    }
}

// === impl SupervisorActor ===

impl SupervisorActor {
    /// Reads what the children's links say.
    pub(super) fn look(&mut self, ctx: &Context<Self>, now: Duration) {
        let keys: Vec<Key> = self.watched.keys().copied().collect();
        for key in keys {
            self.look_after(key, ctx, now);
        }
    }

    fn look_after(&mut self, key: Key, ctx: &Context<Self>, now: Duration) {
        let Some(watched) = self.watched.get_mut(&key) else {
            return;
        };
        if watched.victim.take_if(|victim| victim.is_gone()).is_some() {
            self.decider.left_nothing(key);
        }
        let Some(link) = watched.link.clone() else {
            return;
        };
        if let Some(reason) = link.exit() {
            return self.on_exit(key, &link, &reason, ctx);
        }
        // A child that is being stopped has the stop's deadline; only a supervisor may take as long as its own children
        // do, as long as it turns.
        let stopping = matches!(self.decider.phase(key), Some(Phase::Stopping { .. }));
        let watches = !stopping || watched.child.spec.nested.is_some();
        // Its turns are followed also while nobody is judged, so that no old standstill is held against it later.
        let overdue = watched
            .hung(&link, now)
            .filter(|_| watches && self.judges(now));
        if let Some(overdue) = overdue {
            return self.on_hang(key, &link, overdue, ctx);
        }
        let stage = link.stage();
        if stage == Stage::Launched {
            return;
        }
        let is_news = self.decider.phase(key) == Some(Phase::Starting);
        match stage {
            Stage::Settled => self.decider.settled(key, now),
            _ => self.decider.started(key, now),
        }
        if is_news {
            self.publish(key);
            tell_start(&link, ctx);
        }
    }

    fn on_exit(&mut self, key: Key, link: &Arc<Link>, reason: &ExitReason, ctx: &Context<Self>) {
        let now = ctx.clock().now();
        ctx.shared().ledger.enter_ended(link);
        let mut kind = EventKind::Exited;
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.link = None;
            if let Some(since) = watched.stopping_since.take() {
                let took = now.saturating_sub(since);
                ctx.shared()
                    .note_stopped(link.fence().id(), !reason.is_abnormal(), took);
                kind = EventKind::Stopped;
            }
        }
        link.entry()
            .ended(reason.clone(), ctx.shared().board.wall());
        let toll = match link.is_excused() {
            true => Toll::Excused,
            false => Toll::Charged,
        };
        self.decider.ended(key, reason, toll, now);
        self.publish(key);
        tell_exit(link, reason, kind, ctx);
    }

    fn on_hang(
        &mut self,
        key: Key,
        link: &Arc<Link>,
        (item, overdue): (String, Duration),
        ctx: &Context<Self>,
    ) {
        let now = ctx.clock().now();
        let overdue_ms = u64::try_from(overdue.as_millis()).unwrap_or(u64::MAX);
        let reason = ExitReason::Hang { item, overdue_ms };
        self.abandon(key, link, ctx);
        let toll = match ctx.shared().ledger.has_room() {
            true => Toll::Charged,
            false => Toll::AtCap,
        };
        link.entry()
            .ended(reason.clone(), ctx.shared().board.wall());
        self.decider.ended(key, &reason, toll, now);
        self.publish(key);
        tell_exit(link, &reason, EventKind::Fenced, ctx);
    }

    /// Fences a child's incarnation off and lets go of it.
    pub(super) fn abandon(
        &mut self,
        key: Key,
        link: &Arc<Link>,
        ctx: &Context<Self>,
    ) -> Vec<Arc<Link>> {
        let abandoned = link.abandon();
        ctx.shared().ledger.enter(&abandoned);
        let have_room = ctx.shared().ledger.has_room();
        self.decider.set_leaks_have_room(have_room);
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.link = None;
            watched.victim = Some(Arc::clone(link.remains()));
        }
        abandoned
    }
}

/// Events are recorded when the board shows what they say, so that whoever waits for one finds it there.
fn tell_exit(link: &Link, reason: &ExitReason, kind: EventKind, ctx: &Context<SupervisorActor>) {
    let board = &ctx.shared().board;
    let message = format!("{}: {reason}", reason.kind());
    board.record(link.fence().id(), link.generation(), kind, message);
}

pub(super) fn tell_start(link: &Link, ctx: &Context<SupervisorActor>) {
    let generation = link.generation();
    let kind = match generation.restarts() {
        0 => EventKind::Started,
        _ => EventKind::Restarted,
    };
    let message = format!("generation {generation} runs");
    let board = &ctx.shared().board;
    board.record(link.fence().id(), generation, kind, message);
}
