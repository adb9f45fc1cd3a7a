//! The life of one incarnation: the sequential loop around an actor, and the guard that reports its end.
//!
//! Everything the actor's author wrote runs inside one unwind boundary, on one thread, one step at a time; around it
//! stands a drop guard that was made before the body was handed to the executor. So there is no way to end (return,
//! error, panic, dropped task, stopped arbiter, thread that could not be made) without the supervisor being told.
//! The actor's state is dropped before the end is reported, so its successor finds files and sockets closed.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::Instrument;

use crate::executor::Body;
use crate::inbox::Received;
use crate::link::{Link, Stage};
use crate::shared::Shared;
use crate::tasks::{Spawned, WithTasks};
use crate::{Actor, ActorError, ActorRef, Birth, Context, ExitReason, Fault, Message};

const MAX_MESSAGE_BYTES: usize = 2048;

/// Messages handled in a row before the executor gets its turn.
const TURNS_IN_A_ROW: u32 = 64;

/// The time limits of an incarnation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) start: Duration,
    pub(crate) handle: Duration,
    pub(crate) tick: Option<Duration>,
}

/// What an incarnation is made from.
pub(crate) struct Conception<A: Actor> {
    pub(crate) factory: Arc<dyn Fn(&Birth) -> A + Send + Sync>,
    pub(crate) birth: Birth,
    pub(crate) myself: ActorRef<A::Msg>,
    pub(crate) link: Arc<Link>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
}

/// Reports the end, whatever it is; `Killed` if nobody says better.
struct ExitGuard {
    link: Arc<Link>,
    shared: Arc<Shared>,
    reason: ExitReason,
}

/// The loop's own state.
struct Life<A: Actor> {
    actor: A,
    ctx: Context<A>,
    limits: Limits,
    next_tick: Option<Duration>,
    /// The sleep that ends at the given time.
    sleep: Option<(Duration, BoxFuture<'static, ()>)>,
    turns: u32,
}

/// What a turn of the loop is about.
enum Turn<M> {
    Over,
    Look,
    Tick,
    Message(M),
}

/// Returns the body an executor runs.
pub(crate) fn body<A: Actor>(conception: Conception<A>) -> Body {
    conception.link.declare("start", conception.limits.start);
    let mut guard = ExitGuard {
        link: Arc::clone(&conception.link),
        shared: Arc::clone(&conception.shared),
        reason: ExitReason::Killed,
    };
    Box::new(move || {
        let span = tracing::info_span!(
            "actor",
            id = %conception.birth.id,
            generation = conception.birth.generation.get(),
        );
        let life = async move {
            let spawned = Spawned::default();
            let link = Arc::clone(&conception.link);
            let deadline = conception.limits.handle;
            let life = live(conception, spawned.clone());
            let life = AssertUnwindSafe(WithTasks::new(life, spawned, link, deadline));
            // The actor and its tasks are dropped with this statement, before the guard reports.
            guard.reason = life.catch_unwind().await.unwrap_or_else(|panic| {
                let message = panic_message(&*panic);
                ExitReason::Panic { message }
            });
            drop(guard);
        };
        life.instrument(span).boxed_local()
    })
}

async fn live<A: Actor>(conception: Conception<A>, spawned: Spawned) -> ExitReason {
    let Conception {
        factory,
        birth,
        myself,
        link,
        shared,
        limits,
    } = conception;
    let mut ctx = Context::new(myself, link, shared, spawned);
    let mut actor = factory(&birth);
    if let Err(error) = actor.started(&mut ctx).await {
        return match error {
            ActorError::Failed(message) => ExitReason::FailedStart {
                message: concise(message),
            },
            ActorError::ProcessLost(lost) => ExitReason::ProcessLost(lost),
        };
    }
    let now = ctx.clock().now();
    let mut life = Life {
        actor,
        ctx,
        limits,
        next_tick: limits.tick.map(|period| now.saturating_add(period)),
        sleep: None,
        turns: 0,
    };
    life.report();
    life.ctx.link().rest();
    let reached = match life.ctx.settles_by_itself() {
        true => Stage::Started,
        false => Stage::Settled,
    };
    life.ctx.link().reach(reached);
    let reason = life.run().await;
    // What the actor's drop does is still its own work.
    life.ctx.link().declare("drop", limits.handle);
    reason
}

// === impl Life ===

impl<A: Actor> Life<A> {
    async fn run(&mut self) -> ExitReason {
        loop {
            self.ctx.link().turned();
            if let Some(reason) = self.ctx.take_ending() {
                return self.end_in_order(reason).await;
            }
            if !self.ctx.link().fence().is_current() {
                return ExitReason::Killed;
            }
            if self.ctx.link().stop_asked() {
                return self.end_in_order(ExitReason::Shutdown).await;
            }
            if let Err(error) = self.turn().await {
                return error.into();
            }
        }
    }

    async fn end_in_order(&mut self, reason: ExitReason) -> ExitReason {
        if reason_is_orderly(&reason) {
            self.ctx.link().declare("stop", self.limits.handle);
            self.actor.stopping(&mut self.ctx).await;
        }
        reason
    }

    async fn turn(&mut self) -> Result<(), ActorError> {
        if let Some(fault) = self.ctx.shared().faults.strike(self.ctx.id()) {
            self.ctx.link().declare("fault", self.limits.handle);
            self.commit(fault).await?;
            self.ctx.link().rest();
        }
        match self.next().await {
            Turn::Over => return Ok(()),
            Turn::Look => {}
            Turn::Tick => {
                self.ctx.link().declare("tick", self.limits.handle);
                self.actor.tick(&mut self.ctx).await?;
                let now = self.ctx.clock().now();
                self.next_tick = self.limits.tick.map(|period| now.saturating_add(period));
            }
            Turn::Message(message) => {
                let within = message.deadline().unwrap_or(self.limits.handle);
                self.ctx.link().declare(message.label(), within);
                self.actor.handle(message, &mut self.ctx).await?;
                self.ctx
                    .myself_ref()
                    .inbox()
                    .settle(self.ctx.link().fence());
            }
        }
        self.report();
        self.ctx.link().rest();
        Ok(())
    }

    /// Waits for what comes next.
    async fn next(&mut self) -> Turn<A::Msg> {
        self.turns += 1;
        if self.turns >= TURNS_IN_A_ROW {
            self.turns = 0;
            yield_once().await;
        }
        poll_fn(|cx| {
            let due = match (self.next_tick, self.ctx.alarm()) {
                (Some(tick), Some(alarm)) => Some(tick.min(alarm)),
                (tick, alarm) => tick.or(alarm),
            };
            if due.is_some_and(|due| self.ctx.clock().now() >= due) {
                self.sleep = None;
                return Poll::Ready(Turn::Tick);
            }
            let fence = self.ctx.link().fence();
            let received = self.ctx.myself_ref().inbox().poll_receive(fence, cx);
            match received {
                Poll::Ready(Received::Fenced) => return Poll::Ready(Turn::Over),
                Poll::Ready(Received::Nudge) => return Poll::Ready(Turn::Over),
                Poll::Ready(Received::Ring) => return Poll::Ready(Turn::Look),
                Poll::Ready(Received::Message(message)) => {
                    return Poll::Ready(Turn::Message(message));
                }
                Poll::Pending => {}
            }
            let Some(due) = due else {
                return Poll::Pending;
            };
            self.poll_sleep(due, cx).map(|()| Turn::Tick)
        })
        .await
    }

    fn poll_sleep(&mut self, due: Duration, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let clock = self.ctx.link().clock();
        let sleep = match &mut self.sleep {
            Some((until, sleep)) if *until == due => sleep,
            _ => {
                let left = due.saturating_sub(clock.now());
                &mut self.sleep.insert((due, clock.sleep(left))).1
            }
        };
        let woken = sleep.as_mut().poll(cx);
        if woken.is_ready() {
            self.sleep = None;
        }
        woken
    }

    /// Writes the actor's own word about itself on the board.
    fn report(&self) {
        let report = self.actor.status();
        let link = self.ctx.link();
        let at = (link.clock().now(), self.ctx.shared().board.wall());
        link.entry().write(link.fence(), at, report);
    }

    #[expect(clippy::disallowed_methods, reason = "blocking is what the fault does")]
    async fn commit(&mut self, fault: Fault) -> Result<(), ActorError> {
        match fault {
            Fault::Panic => panic!("injected panic"),
            Fault::Error => Err(ActorError::failed("injected error")),
            Fault::Block(duration) => {
                std::thread::sleep(duration);
                Ok(())
            }
            Fault::Starve => std::future::pending().await,
            Fault::Kill => {
                self.ctx.link().kill();
                std::future::pending().await
            }
        }
    }
}

// === impl ExitGuard ===

impl Drop for ExitGuard {
    fn drop(&mut self) {
        self.shared.bury(&self.link, &self.reason);
    }
}

/// Cuts a message to what a person reads; it is kept on the board and in the history, hundreds of times over.
fn concise(mut message: String) -> String {
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    message.truncate(end);
    message
}

fn reason_is_orderly(reason: &ExitReason) -> bool {
    !reason.is_abnormal()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => concise((*text).to_owned()),
        (None, Some(text)) => concise(text.clone()),
        (None, None) => "a panic without a message".to_owned(),
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl From<ActorError> for ExitReason {
    fn from(error: ActorError) -> Self {
        match error {
            ActorError::Failed(message) => Self::Error {
                message: concise(message),
            },
            ActorError::ProcessLost(lost) => Self::ProcessLost(lost),
        }
    }
}
