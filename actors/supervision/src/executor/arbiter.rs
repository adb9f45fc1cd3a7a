//! One actix arbiter per incarnation.
//!
//! Arbiters can only be made on a thread that an actix `System` is registered on, and making one waits until its
//! thread is up. So this executor keeps a `System` on a thread of its own, and a launcher thread that makes the
//! arbiters; a supervisor waits for the launcher for [`PATIENCE`] at most and then goes on, and what became of the
//! launch reaches it like any other end. The incarnation itself is an actix actor whose `started` spawns the body
//! as a future of its context. However it ends, its arbiter is stopped, the thread ends, and the end of the
//! *thread*, seen by a thread-local's destructor, is what makes it gone.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use actix::prelude::{Actor as _, ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use actix_rt::{Arbiter, ArbiterHandle, System};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use futures_util::future::{AbortHandle, AbortRegistration, Abortable};

use super::{Body, Executor, Incarnation, LaunchError};
use crate::platform::name_thread;
use crate::sync::lock;

/// How long a supervisor waits for the launcher before it goes on with other things.
const PATIENCE: Duration = Duration::from_millis(20);

/// Launches that may wait for the launcher; more than that means that the machine has no threads to give.
const BACKLOG: usize = 256;

/// Runs each incarnation on an actix arbiter of its own. Needs no ambient actix `System`.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use impetus_supervision::example::{Count, counter};
/// use impetus_supervision::{ArbiterExecutor, SupervisorSpec, System};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (spec, counter) = counter("counter");
/// let running = System::builder()
///     .executor(Arc::new(ArbiterExecutor::new()))
///     .start(SupervisorSpec::new("root").child(spec))?;
/// counter.try_send(Count::Add(2))?;
/// assert_eq!(counter.ask(Count::Total, Duration::from_secs(5)).await?, 2);
/// running.stop(Duration::from_secs(5)).await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ArbiterExecutor {
    launcher: Mutex<Option<Launcher>>,
}

struct Launcher {
    orders: Sender<Order>,
    system: System,
}

struct Order {
    name: String,
    body: Body,
    registration: AbortRegistration,
    gone: Gone,
    outcome: Sender<Result<(), LaunchError>>,
}

struct ArbiterIncarnation {
    abort: AbortHandle,
    gone: Arc<AtomicBool>,
}

/// Marks an incarnation as gone when dropped: with its order, or with its thread.
struct Gone(Arc<AtomicBool>);

/// The actix actor around a body.
struct Shell {
    body: Option<Abortable<futures_util::future::LocalBoxFuture<'static, ()>>>,
    _arbiter: StopOnDrop,
}

struct StopOnDrop(ArbiterHandle);

thread_local! {
    static GONE: RefCell<Option<Gone>> = const { RefCell::new(None) };
}

// === impl ArbiterExecutor ===

impl ArbiterExecutor {
    /// Returns an executor. Its threads are started with the first incarnation.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use impetus_supervision::{ArbiterExecutor, System};
    ///
    /// let builder = System::builder().executor(Arc::new(ArbiterExecutor::new()));
    /// # drop(builder);
    /// ```
    pub fn new() -> Self {
        Self {
            launcher: Mutex::new(None),
        }
    }

    fn orders(&self) -> Result<Sender<Order>, LaunchError> {
        let mut launcher = lock(&self.launcher);
        if let Some(running) = &*launcher {
            return Ok(running.orders.clone());
        }
        let started = Launcher::start()?;
        let orders = started.orders.clone();
        *launcher = Some(started);
        Ok(orders)
    }

    fn refused(&self, error: &TrySendError<Order>) -> LaunchError {
        if error.is_full() {
            return LaunchError::new("the launcher is not keeping up");
        }
        // The next launch starts a new one.
        *lock(&self.launcher) = None;
        LaunchError::new("the launcher has ended")
    }
}

impl Default for ArbiterExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ArbiterExecutor {
    fn drop(&mut self) {
        if let Some(launcher) = lock(&self.launcher).take() {
            launcher.system.stop();
        }
    }
}

impl Executor for ArbiterExecutor {
    fn launch(&self, name: &str, body: Body) -> Result<Box<dyn Incarnation>, LaunchError> {
        let orders = self.orders()?;
        let (abort, registration) = AbortHandle::new_pair();
        let gone = Arc::new(AtomicBool::new(false));
        let (outcome, answer) = bounded(1);
        let order = Order {
            name: name.to_owned(),
            body,
            registration,
            gone: Gone(Arc::clone(&gone)),
            outcome,
        };
        orders
            .try_send(order)
            .map_err(|error| self.refused(&error))?;
        // Past the patience the launch is still on: its end, if that is what comes, is reported by the body's drop.
        if let Ok(Err(error)) = answer.recv_timeout(PATIENCE) {
            return Err(error);
        }
        Ok(Box::new(ArbiterIncarnation { abort, gone }))
    }
}

// === impl Launcher ===

impl Launcher {
    fn start() -> Result<Self, LaunchError> {
        let (ready, system) = bounded(1);
        thread::Builder::new()
            .name("actor-system".to_owned())
            .spawn(move || run_system(&ready))
            .map_err(LaunchError::new)?;
        let system = system
            .recv()
            .map_err(|_| LaunchError::new("the actix system did not start"))?
            .map_err(LaunchError::new)?;
        let (orders, inbound) = bounded(BACKLOG);
        let registered = system.clone();
        thread::Builder::new()
            .name("actor-launcher".to_owned())
            .spawn(move || run_launcher(registered, &inbound))
            .inspect_err(|_| system.stop())
            .map_err(LaunchError::new)?;
        Ok(Self { orders, system })
    }
}

fn run_system(ready: &Sender<std::io::Result<System>>) {
    let runtime = match event_loop() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever asked waits for exactly this answer and takes it.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let runner = System::with_tokio_rt(move || runtime);
    let _ = ready.send(Ok(System::current()));
    if let Err(error) = runner.run() {
        tracing::error!(%error, "the actix system ended");
    }
}

fn run_launcher(system: System, orders: &Receiver<Order>) {
    System::set_current(system);
    for order in orders {
        let outcome = order.outcome.clone();
        // The supervisor may have lost patience; then the body's own report tells it.
        let _ = outcome.try_send(make(order).inspect_err(|error| {
            tracing::error!(%error, "no arbiter for an incarnation");
        }));
    }
}

fn make(order: Order) -> Result<(), LaunchError> {
    let Order {
        name,
        body,
        registration,
        gone,
        ..
    } = order;
    let arbiter = Arbiter::try_with_tokio_rt(move || {
        GONE.with(|slot| *slot.borrow_mut() = Some(gone));
        name_thread(&name);
        event_loop()
    })
    .map_err(LaunchError::new)?;
    let handle = arbiter.handle();
    let accepted = arbiter.spawn_fn(move || {
        let shell = Shell {
            body: Some(Abortable::new(body(), registration)),
            _arbiter: StopOnDrop(handle),
        };
        shell.start();
    });
    if accepted {
        return Ok(());
    }
    Err(LaunchError::new("the arbiter ended before it began"))
}

fn event_loop() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

// === impl Incarnation ===

impl Incarnation for ArbiterIncarnation {
    fn abort(&self) {
        self.abort.abort();
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// === impl Shell ===

impl actix::Actor for Shell {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        use actix::ActorContext as _;

        if let Some(body) = self.body.take() {
            let body = async move {
                // Aborted or done: either way the body has said so by its own guard.
                let _ = body.await;
            };
            ctx.spawn(body.into_actor(self).map(|(), _, ctx| ctx.stop()));
        }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

// === impl LaunchError ===

impl LaunchError {
    fn new(reason: impl std::fmt::Display) -> Self {
        Self {
            reason: reason.to_string(),
        }
    }
}
