//! What an actor can reach from inside: itself, its clock, its fence, its progress, and its end.

mod ending;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::fence::Fence;
use crate::inbox::{Lane, Refused};
use crate::link::Link;
use crate::shared::Shared;
use crate::tasks::Spawned;
use crate::{Actor, ActorId, ActorRef, Clock, ExitReason, Generation};

/// The surroundings of a running incarnation, handed to each of its methods.
///
/// ```
/// # use std::time::Duration;
/// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
/// # struct Work;
/// # impl Message for Work {}
/// # struct Worker;
/// # impl Actor for Worker {
/// #     type Msg = Work;
/// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
///     println!("{} handles something in generation {}", ctx.id(), ctx.generation());
///     Ok(())
/// }
/// # }
/// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
/// # let executor = TestExecutor::new();
/// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
/// # worker.try_send(Work)?;
/// # executor.advance(Duration::from_secs(5));
/// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
/// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
/// # assert_eq!(failed, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Context<A: Actor> {
    myself: ActorRef<A::Msg>,
    link: Arc<Link>,
    shared: Arc<Shared>,
    spawned: Spawned,
    ending: Option<ExitReason>,
    alarm: Option<Duration>,
    settles_by_itself: bool,
}

// === impl Context ===

impl<A: Actor> Context<A> {
    pub(crate) fn new(
        myself: ActorRef<A::Msg>,
        link: Arc<Link>,
        shared: Arc<Shared>,
        spawned: Spawned,
    ) -> Self {
        Self {
            myself,
            link,
            shared,
            spawned,
            ending: None,
            alarm: None,
            settles_by_itself: false,
        }
    }

    /// Returns the actor's name.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     assert_eq!(ctx.id().as_str(), "worker");
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> &ActorId {
        self.link.fence().id()
    }

    /// Returns the number of this incarnation.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     assert_eq!(ctx.generation().get(), 1);
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generation(&self) -> Generation {
        self.link.generation()
    }

    /// Returns the system's clock.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     let begun = ctx.clock().now();
    ///     ctx.clock().sleep(Duration::from_millis(20)).await;
    ///     assert_eq!(ctx.clock().now() - begun, Duration::from_millis(20));
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.link.clock()
    }

    /// Returns a handle to the actor's own inbox.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     let myself = ctx.myself();
    ///     // A task or a callback can report back through it.
    ///     assert_eq!(myself.id(), ctx.id());
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn myself(&self) -> ActorRef<A::Msg> {
        self.myself.clone()
    }

    /// Declares what the actor works on and how long that may take; it holds until the handler returns or declares
    /// anew. Past the deadline the supervisor abandons the incarnation.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     for part in 1..=3 {
    ///         ctx.progress(format!("part {part} of 3"), Duration::from_secs(2));
    ///         ctx.clock().sleep(Duration::from_secs(1)).await;
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn progress(&self, item: impl Into<String>, within: Duration) {
        self.link.declare(item.into(), within);
    }

    /// Returns a fence that work done elsewhere on this incarnation's behalf can check.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     let fence = ctx.fence();
    ///     // Whoever commits on this actor's behalf asks first, however much later that is.
    ///     fence.check().map_err(ActorError::failed)?;
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fence(&self) -> Fence {
        self.link.fence().clone()
    }

    /// Takes the next message of the normal lane without waiting, so that a handler can do several at once.
    ///
    /// Returns none when the lane is empty or the incarnation has been fenced.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     let mut batch = 1;
    ///     while batch < 100 && ctx.try_next().is_some() {
    ///         batch += 1;
    ///     }
    ///     println!("{batch} in one transaction");
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_next(&mut self) -> Option<A::Msg> {
        self.myself.inbox().try_next(self.link.fence())
    }

    /// Puts `msg` into the actor's own priority lane after `delay`, unless the incarnation has ended by then. Waits
    /// for room if the lane is full.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     ctx.send_after(Duration::from_secs(60), Work);
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_after(&self, delay: Duration, msg: A::Msg) {
        let sleep = self.clock().sleep(delay);
        let myself = self.myself.clone();
        self.spawned.push(async move {
            sleep.await;
            let mut waiting = msg;
            loop {
                let room = myself.inbox().room();
                match myself.inbox().push(Lane::Priority, waiting) {
                    Ok(()) | Err(Refused::Closed(_)) => return,
                    Err(Refused::Full(message)) => waiting = message,
                }
                room.await;
            }
        });
    }

    /// Runs `task` beside the actor, on its thread; it is dropped when the incarnation ends, and a panic in it is a
    /// panic of the actor.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # struct Work;
    /// # impl Message for Work {}
    /// # struct Worker;
    /// # impl Actor for Worker {
    /// #     type Msg = Work;
    /// async fn handle(&mut self, _: Work, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     let sleep = ctx.clock().sleep(Duration::from_secs(1));
    ///     ctx.spawn(async move {
    ///         sleep.await;
    ///         println!("a second later");
    ///     });
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # worker.try_send(Work)?;
    /// # executor.advance(Duration::from_secs(5));
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # let failed = status.last_exit.filter(|exit| exit.reason.kind() != "normal");
    /// # assert_eq!(failed, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.push(task);
    }

    /// Sets when the next tick comes at the latest.
    pub(crate) fn set_alarm(&mut self, at: Option<Duration>) {
        self.alarm = at;
    }

    pub(crate) fn alarm(&self) -> Option<Duration> {
        self.alarm
    }

    /// Leaves it to the actor to say when it has settled; otherwise it has when `started` has returned.
    pub(crate) fn settle_later(&mut self) {
        self.settles_by_itself = true;
    }

    pub(crate) fn settles_by_itself(&self) -> bool {
        self.settles_by_itself
    }

    pub(crate) fn myself_ref(&self) -> &ActorRef<A::Msg> {
        &self.myself
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
