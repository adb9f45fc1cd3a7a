//! All actors of a test on one thread, under virtual time.
//!
//! Time stands still while anything can run; when nothing can, it jumps to the next timer. So a test of a thirty
//! second cool-down takes microseconds, and takes them the same way every time. What this executor cannot show is a
//! blocked thread (there is only one, the test's) and real input or output (there is no reactor): such tests belong
//! on the [`ArbiterExecutor`](crate::ArbiterExecutor), with real time and deadlines.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::executor::{Body, Executor, Incarnation, LaunchError};
use crate::sync::lock;
use crate::{Clock, System, SystemBuilder};

mod clock;

pub use clock::TestClock;

/// How much virtual time [`TestExecutor::run_until`] lets pass before it calls the wait hopeless.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Runs a test's actors on the test's thread.
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::ActorState;
/// use impetus_supervision::example::{Count, tree};
///
/// let tree = tree()?;
/// tree.counter.try_send(Count::Stall)?;
/// // The handle deadline is 10 s, looked after every 100 ms.
/// tree.executor.advance(Duration::from_millis(10_100));
/// assert_eq!(tree.counter.generation().map(|generation| generation.get()), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TestExecutor {
    clock: Arc<TestClock>,
    queue: Arc<Queue>,
    tasks: RefCell<BTreeMap<u64, Task>>,
}

/// The part of the executor that actors and wakers reach from anywhere.
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    launched: Vec<Launched>,
    ready: VecDeque<Arc<Ticket>>,
    next_id: u64,
}

struct Launched {
    ticket: Arc<Ticket>,
    body: Body,
}

struct Task {
    ticket: Arc<Ticket>,
    future: LocalBoxFuture<'static, ()>,
}

/// A task's identity: its waker, and its incarnation handle.
struct Ticket {
    id: u64,
    queue: Arc<Queue>,
    queued: AtomicBool,
    aborted: AtomicBool,
    gone: AtomicBool,
}

struct TestIncarnation(Arc<Ticket>);

/// Tells `run_until` that its own future can go on.
struct Flag(AtomicBool);

// === impl TestExecutor ===

impl TestExecutor {
    /// Returns an executor with a clock of its own, at the clock's origin.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::{Clock, TestExecutor};
    ///
    /// assert_eq!(TestExecutor::new().clock().now(), Duration::ZERO);
    /// ```
    pub fn new() -> Self {
        Self {
            clock: Arc::new(TestClock::new()),
            queue: Arc::new(Queue {
                state: Mutex::new(QueueState::default()),
            }),
            tasks: RefCell::new(BTreeMap::new()),
        }
    }

    /// Returns the clock.
    ///
    /// ```
    /// use impetus_supervision::{System, TestExecutor};
    ///
    /// let executor = TestExecutor::new();
    /// let builder = System::builder().clock(executor.clock()).executor(executor.executor());
    /// # drop(builder);
    /// ```
    pub fn clock(&self) -> Arc<TestClock> {
        Arc::clone(&self.clock)
    }

    /// Returns what a system launches its incarnations with.
    ///
    /// ```
    /// use impetus_supervision::{System, TestExecutor};
    ///
    /// let executor = TestExecutor::new();
    /// let builder = System::builder().clock(executor.clock()).executor(executor.executor());
    /// # drop(builder);
    /// ```
    pub fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Arc::clone(&self.queue))
    }

    /// Returns a system's builder with this executor and its clock.
    ///
    /// ```
    /// use impetus_supervision::{SupervisorSpec, TestExecutor};
    ///
    /// let running = TestExecutor::new().system().leak_cap(1).start(SupervisorSpec::new("root"))?;
    /// # drop(running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn system(&self) -> SystemBuilder {
        System::builder()
            .clock(self.clock())
            .executor(self.executor())
    }

    /// Runs everything until `future` is ready, letting time jump to the next timer whenever nothing can run.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// let total = tree.counter.ask(Count::Total, Duration::from_secs(1));
    /// assert_eq!(tree.executor.run_until(total)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When nothing is left that could wake the future, or an hour of virtual time has passed.
    pub fn run_until<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let limit = self.clock.now().saturating_add(PATIENCE);
        loop {
            if flag.0.swap(false, Ordering::SeqCst)
                && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return output;
            }
            if self.run_one() || flag.0.load(Ordering::SeqCst) {
                continue;
            }
            let next = self.clock.next_timer().filter(|next| *next <= limit);
            let next = next.expect("the future can still become ready: a timer within the hour");
            self.clock.advance_to(next);
        }
    }

    /// Lets `duration` pass, running everything that becomes able to run meanwhile.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::{Clock, TestExecutor};
    ///
    /// let executor = TestExecutor::new();
    /// executor.advance(Duration::from_secs(3));
    /// assert_eq!(executor.clock().now(), Duration::from_secs(3));
    /// ```
    pub fn advance(&self, duration: Duration) {
        let until = self.clock.now().saturating_add(duration);
        self.settle();
        while let Some(next) = self.clock.next_timer().filter(|next| *next <= until) {
            self.clock.advance_to(next);
            self.settle();
        }
        self.clock.advance_to(until);
        self.settle();
    }

    /// Runs everything that can run now, without letting time pass.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// tree.counter.try_send(Count::Add(1))?;
    /// assert_eq!(tree.counter.depth(), 1);
    /// tree.executor.settle();
    /// assert_eq!(tree.counter.depth(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settle(&self) {
        while self.run_one() {}
    }

    /// Polls one task. Returns false when none can run.
    fn run_one(&self) -> bool {
        self.take_in_launched();
        let Some(ticket) = lock(&self.queue.state).ready.pop_front() else {
            return false;
        };
        ticket.queued.store(false, Ordering::SeqCst);
        // Taken out while it is polled: it may launch, wake or abort others, and itself.
        let Some(mut task) = self.tasks.borrow_mut().remove(&ticket.id) else {
            return true;
        };
        let waker = Waker::from(Arc::clone(&ticket));
        let aborted = |ticket: &Ticket| ticket.aborted.load(Ordering::SeqCst);
        let done = aborted(&ticket)
            || task
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready();
        if done || aborted(&ticket) {
            drop(task);
        } else {
            self.tasks.borrow_mut().insert(ticket.id, task);
        }
        true
    }

    fn take_in_launched(&self) {
        loop {
            let launched = std::mem::take(&mut lock(&self.queue.state).launched);
            if launched.is_empty() {
                return;
            }
            for Launched { ticket, body } in launched {
                let task = Task {
                    future: body(),
                    ticket: Arc::clone(&ticket),
                };
                self.tasks.borrow_mut().insert(ticket.id, task);
                ticket.wake();
            }
        }
    }
}

impl Default for TestExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for TestExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestExecutor")
            .field("now", &self.clock.now())
            .field("tasks", &self.tasks.borrow().len())
            .finish()
    }
}

// === impl Queue ===

impl Executor for Arc<Queue> {
    fn launch(&self, _name: &str, body: Body) -> Result<Box<dyn Incarnation>, LaunchError> {
        let mut state = lock(&self.state);
        state.next_id += 1;
        let ticket = Arc::new(Ticket {
            id: state.next_id,
            queue: Arc::clone(self),
            queued: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        state.launched.push(Launched {
            ticket: Arc::clone(&ticket),
            body,
        });
        Ok(Box::new(TestIncarnation(ticket)))
    }
}

// === impl Task ===

impl Drop for Task {
    fn drop(&mut self) {
        self.ticket.gone.store(true, Ordering::SeqCst);
    }
}

// === impl Ticket ===

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let queue = Arc::clone(&self.queue);
        lock(&queue.state).ready.push_back(self);
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// === impl TestIncarnation ===

impl Incarnation for TestIncarnation {
    fn abort(&self) {
        self.0.aborted.store(true, Ordering::SeqCst);
        Arc::clone(&self.0).wake();
    }

    fn is_gone(&self) -> bool {
        self.0.gone.load(Ordering::SeqCst)
    }
}
