//! How an incarnation ends by its own will, and what it learns of an end that others want.

use std::future::Future;

use super::Context;
use crate::{Actor, ExitReason};

// === impl Context ===

impl<A: Actor> Context<A> {
    /// Ends the incarnation with [`ExitReason::Normal`] once the current message has been handled.
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
    ///     ctx.stop();
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
    pub fn stop(&mut self) {
        self.end(ExitReason::Normal);
    }

    /// Waits until the actor is asked to stop. The future may outlive the borrow of the context.
    ///
    /// Between two messages the runtime looks by itself. This is for a start, or a message, that takes long and can be
    /// given up: a supervisor that stops would otherwise wait for it, and abandon it at its deadline.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use impetus_supervision::{Actor, ActorError, ChildSpec, Context, Message, SupervisorSpec, TestExecutor};
    /// # #[derive(Debug)]
    /// # enum Never {}
    /// # impl Message for Never {}
    /// # struct Loader;
    /// # impl Actor for Loader {
    /// #     type Msg = Never;
    /// #     async fn handle(&mut self, never: Never, _: &mut Context<Self>) -> Result<(), ActorError> {
    /// #         match never {}
    /// #     }
    /// async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    ///     ctx.progress("load", Duration::from_secs(600));
    ///     tokio::select! {
    ///         () = std::future::pending() => {}
    ///         () = ctx.stop_asked() => {}
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let (spec, _) = ChildSpec::actor("loader", |_| Loader);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # executor.settle();
    /// let report = executor.run_until(running.stop(Duration::from_secs(5)));
    /// assert!(report.clean, "the load was given up");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_asked(&self) -> impl Future<Output = ()> + use<A> {
        self.link().until_stop_asked()
    }

    /// Says that the end which follows is not this actor's doing: it is restarted at once, and the end counts neither
    /// towards its restart intensity nor towards its backoff.
    ///
    /// For what befalls an actor from outside (its process was killed by somebody else) and for ends it arranges itself
    /// (it makes room for a fresh incarnation). An incarnation that has not come to run yet cannot be excused, so each
    /// excused end costs at least one start that succeeded.
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
    ///     ctx.excuse();
    ///     Err(ActorError::failed("killed by somebody else"))
    /// }
    /// # }
    /// # let (spec, worker) = ChildSpec::actor("worker", |_| Worker);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # for _ in 0..100 {
    /// #     worker.try_send(Work)?;
    /// #     executor.settle();
    /// # }
    /// # let status = running.board().get(&"worker".into()).ok_or("no worker")?;
    /// # assert_eq!(status.generation.get(), 101);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn excuse(&self) {
        self.link.excuse();
    }

    // What the loop and supervisors use.

    pub(crate) fn end(&mut self, reason: ExitReason) {
        self.ending.get_or_insert(reason);
    }

    pub(crate) fn take_ending(&mut self) -> Option<ExitReason> {
        self.ending.take()
    }
}
