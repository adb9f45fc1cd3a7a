//! The supervisor: a thin loop around the [`Decider`].
//!
//! A supervisor is an actor like any other: its loop runs in the same harness, its requests come through the same
//! kind of inbox, and its own supervisor watches it by the same means. Each turn it reads what its children's links
//! say, tells the decider, and carries out the orders. It waits for nobody: a launch is bounded by the executor, a
//! stop by a deadline, and abandoning by nothing at all.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::clock::timeout;
use crate::decide::{Decider, Key};
use crate::inbox::Received;
use crate::link::Stage;
use crate::roster::Roster;
use crate::{
    Actor, ActorError, ActorId, ActorState, ChildSpec, Context, Message, Reply, SupervisorError,
};

pub(crate) mod act;
mod watch;

use act::nudge;
use watch::{Watched, tell_start};

/// How often a supervisor looks after its children's deadlines, at least.
pub(crate) const MAX_POLL: Duration = Duration::from_millis(100);

/// A supervisor that has not turned for longer than this has itself been held up.
const LONG_GAP: Duration = Duration::from_secs(1);

/// The most that a supervisor that was held up makes allowance for.
const MAX_ALLOWANCE: Duration = Duration::from_secs(60);

/// How long one turn of a supervisor that is stopping may take.
const STOP_TURN: Duration = Duration::from_secs(10);

/// What a supervisor can be asked.
pub(crate) enum Request {
    /// Something about a child has changed.
    Look,
    Start(Box<ChildSpec>, Answer),
    Stop(ActorId, Answer),
    Restart(ActorId, Answer),
}

/// Where the answer to a request goes.
pub(crate) type Answer = Reply<Result<(), SupervisorError>>;

/// The actor.
pub(crate) struct SupervisorActor {
    roster: Arc<Roster>,
    decider: Decider,
    /// In the order of the keys, so that the same history leads to the same steps.
    watched: BTreeMap<Key, Watched>,
    /// Requests that are answered once the child is down and forgotten, or launched anew.
    waiting: Vec<(Key, Answer)>,
    /// Coalesces the nudges of children: one look sees all.
    looking: Arc<AtomicBool>,
    is_root: bool,
    last_turn: Option<Duration>,
    /// Nobody is judged to hang before this.
    judges_from: Duration,
    /// How much of the pause of healing was left at the last turn.
    paused_for: Option<Duration>,
}

// === impl Request ===

impl Message for Request {
    fn label(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Start(..) => "start_child",
            Self::Stop(..) => "stop_child",
            Self::Restart(..) => "restart_child",
        }
    }
}

// === impl SupervisorActor ===

impl Actor for SupervisorActor {
    type Msg = Request;

    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        ctx.settle_later();
        self.is_root = ctx.link().entry().parent().is_none();
        if self.is_root {
            // Nobody above the root would say so.
            ctx.link().entry().set_state(ActorState::Running);
            tell_start(ctx.link(), ctx);
        }
        self.decider = Decider::new(self.roster.strategy, self.is_root);
        ctx.spawn(self.look_when_healing_changes(ctx));
        for child in self.roster.children() {
            let member = self.take_in(child, ctx.shared());
            self.decider.add_queued(member);
        }
        self.advance(ctx);
        Ok(())
    }

    async fn handle(&mut self, msg: Request, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        let now = ctx.clock().now();
        self.waiting.retain(|(_, answer)| !answer.is_abandoned());
        match msg {
            Request::Look => {}
            Request::Start(spec, answer) => answer.send(self.start(*spec, ctx)),
            Request::Stop(id, answer) => match self.roster.find(&id) {
                Some(child) => {
                    self.waiting.push((child.key, answer));
                    self.decider.remove(child.key, now);
                }
                None => answer.send(Err(SupervisorError::Unknown(id))),
            },
            Request::Restart(id, answer) => match self.roster.find(&id) {
                Some(child) => {
                    self.waiting.push((child.key, answer));
                    self.decider.restart(child.key, now);
                }
                None => answer.send(Err(SupervisorError::Unknown(id))),
            },
        }
        self.advance(ctx);
        Ok(())
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        self.advance(ctx);
        Ok(())
    }

    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        self.decider.stop(ctx.clock().now());
        self.advance(ctx);
        while !self.decider.is_down() {
            ctx.link().declare("stop", STOP_TURN);
            let now = ctx.clock().now();
            let due = self.decider.next_due(now);
            let within = due.map_or(MAX_POLL, |due| (due - now).min(MAX_POLL));
            let clock = Arc::clone(ctx.clock());
            // A nudge or the time: either way it is time to look.
            let _ = timeout(&*clock, within, nudged(ctx)).await;
            self.advance(ctx);
        }
    }
}

impl SupervisorActor {
    pub(crate) fn new(roster: Arc<Roster>) -> Self {
        Self {
            decider: Decider::new(roster.strategy, false),
            roster,
            watched: BTreeMap::new(),
            waiting: Vec::new(),
            looking: Arc::new(AtomicBool::new(false)),
            is_root: false,
            last_turn: None,
            judges_from: Duration::ZERO,
            paused_for: None,
        }
    }

    /// Makes allowance for time that the supervisor itself did not have: if its own turns stopped (the process was
    /// frozen, the machine starved) the children's may have too, and get that time back.
    fn make_allowance(&mut self, now: Duration) {
        let gap = self
            .last_turn
            .map_or(Duration::ZERO, |last| now.saturating_sub(last));
        self.last_turn = Some(now);
        if gap > LONG_GAP {
            self.judges_from = now.saturating_add(gap.min(MAX_ALLOWANCE));
        }
    }

    /// Reads whether healing is paused, and, at the root, records that a pause has run out.
    fn heed_healing(&mut self, ctx: &Context<Self>) {
        let healing = &ctx.shared().healing;
        if self.is_root {
            healing.expire();
        }
        self.paused_for = healing.paused_for();
        self.decider.set_heals(self.paused_for.is_none());
    }

    /// Tells whether a child that is overdue counts as hung.
    fn judges(&self, now: Duration) -> bool {
        self.paused_for.is_none() && now >= self.judges_from
    }

    /// Has the supervisor look as soon as healing is paused or resumed by hand.
    fn look_when_healing_changes(&self, ctx: &Context<Self>) -> impl Future<Output = ()> + use<> {
        let look = nudge(ctx.myself_ref().inbox(), &self.looking);
        let mut changed = ctx.shared().healing.watch();
        async move {
            // Ends with the supervisor at the latest: the switch itself lives as long as the system.
            while changed.changed().await.is_ok() {
                look();
            }
        }
    }

    /// Returns when to look next if nobody says anything before.
    fn next_look(&self, now: Duration) -> Option<Duration> {
        let resumed = self.paused_for.map(|left| now.saturating_add(left));
        let due = self.decider.next_due(now);
        due.into_iter().chain(resumed).min()
    }

    /// One turn: look, decide, act, until nothing is left to do at this moment.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        // Lowered before looking, so that what changes from here on raises it again.
        self.looking.store(false, Ordering::SeqCst);
        if !ctx.link().fence().is_current() {
            return;
        }
        let now = ctx.clock().now();
        self.make_allowance(now);
        if self.is_root {
            ctx.shared().board.root_turned();
        }
        self.decider
            .set_leaks_have_room(ctx.shared().ledger.has_room());
        self.heed_healing(ctx);
        self.look(ctx, now);
        self.decider.poll(now);
        while let Some(order) = self.decider.next_order() {
            self.carry_out(order, ctx, now);
            // A launch may have taken a while, and this supervisor may have been abandoned meanwhile.
            if !ctx.link().fence().is_current() {
                return;
            }
            self.decider.poll(now);
        }
        self.publish_all();
        if self.decider.is_settled() {
            ctx.link().reach(Stage::Settled);
            if self.is_root {
                ctx.shared().board.set_started();
            }
        }
        ctx.set_alarm(self.next_look(now));
    }
}

/// Waits until a child's link, or anybody else, has something to say. Requests are too late by now: dropping one tells
/// whoever made it.
async fn nudged(ctx: &Context<SupervisorActor>) {
    poll_fn(|cx| {
        let received = ctx
            .myself_ref()
            .inbox()
            .poll_receive(ctx.link().fence(), cx);
        match received {
            Poll::Ready(Received::Fenced) | Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(()),
        }
    })
    .await;
}
