//! Fencing: an abandoned incarnation can do nothing any more.
//!
//! A blocked thread cannot be stopped from outside; it can only be made harmless. Every actor has a *seat*, and at
//! most one generation holds its lease. When a supervisor abandons an incarnation it revokes the lease first and
//! acts afterwards, and whatever has an effect (the inbox, the status board, a database commit, a write to a
//! link) checks the lease inside its own critical section. So a thread that wakes after hours finds that its
//! generation is over, whatever it tries.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{ActorId, Generation};

/// A handle by which work done on behalf of an incarnation asks whether it still counts.
///
/// ```
/// use impetus_supervision::{Fence, Fenced};
///
/// /// Work done elsewhere on an actor's behalf.
/// fn commit(row: &str, fence: &Fence) -> Result<(), Fenced> {
///     fence.check()?;
///     println!("committed {row}");
///     Ok(())
/// }
/// # let _ = commit;
/// ```
#[derive(Clone)]
pub struct Fence {
    seat: Arc<Seat>,
    generation: Generation,
}

/// The incarnation was abandoned: its successor, if any, has the say now.
///
/// ```
/// use impetus_supervision::{ActorError, Fenced};
///
/// fn give_up(fenced: Fenced) -> ActorError {
///     ActorError::failed(fenced)
/// }
/// # let _ = give_up;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("generation {generation} of {id} has been fenced off")]
pub struct Fenced {
    /// The actor.
    pub id: ActorId,
    /// The generation that asked.
    pub generation: Generation,
}

/// The place that successive incarnations of one actor take in turn.
pub(crate) struct Seat {
    id: ActorId,
    /// The generation that holds the lease; 0 while nobody does.
    lease: AtomicU64,
    /// The highest generation ever granted.
    latest: AtomicU64,
}

// === impl Fence ===

impl Fence {
    pub(crate) fn new(seat: Arc<Seat>, generation: Generation) -> Self {
        Self { seat, generation }
    }

    /// Returns true while the incarnation holds its actor's lease.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// #
    /// # use impetus_supervision::{
    /// #     Actor, ActorError, ChildSpec, Context, Fence, Message, SupervisorSpec, TestExecutor,
    /// # };
    /// #
    /// # struct Lend(Arc<Mutex<Option<Fence>>>);
    /// # impl Message for Lend {}
    /// #
    /// # struct Lender;
    /// # impl Actor for Lender {
    /// #     type Msg = Lend;
    /// #     async fn handle(&mut self, msg: Lend, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    /// #         *msg.0.lock().expect("not poisoned") = Some(ctx.fence());
    /// #         Ok(())
    /// #     }
    /// # }
    /// #
    /// # let (spec, lender) = ChildSpec::actor("lender", |_| Lender);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # let slot = Arc::new(Mutex::new(None));
    /// # lender.try_send(Lend(Arc::clone(&slot)))?;
    /// # executor.settle();
    /// # let fence = slot.lock().expect("not poisoned").take().expect("lent");
    ///
    /// assert!(fence.is_current());
    /// executor.run_until(running.stop(std::time::Duration::from_secs(1)));
    /// assert!(!fence.is_current());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_current(&self) -> bool {
        self.seat.is_current(self.generation)
    }

    /// Returns an error once the incarnation has been abandoned; to be called right before anything irrevocable.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// #
    /// # use impetus_supervision::{
    /// #     Actor, ActorError, ChildSpec, Context, Fence, Message, SupervisorSpec, TestExecutor,
    /// # };
    /// #
    /// # struct Lend(Arc<Mutex<Option<Fence>>>);
    /// # impl Message for Lend {}
    /// #
    /// # struct Lender;
    /// # impl Actor for Lender {
    /// #     type Msg = Lend;
    /// #     async fn handle(&mut self, msg: Lend, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    /// #         *msg.0.lock().expect("not poisoned") = Some(ctx.fence());
    /// #         Ok(())
    /// #     }
    /// # }
    /// #
    /// # let (spec, lender) = ChildSpec::actor("lender", |_| Lender);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # let slot = Arc::new(Mutex::new(None));
    /// # lender.try_send(Lend(Arc::clone(&slot)))?;
    /// # executor.settle();
    /// # let fence = slot.lock().expect("not poisoned").take().expect("lent");
    ///
    /// assert!(fence.check().is_ok());
    /// executor.run_until(running.stop(std::time::Duration::from_secs(1)));
    /// let error = fence.check().expect_err("the incarnation has ended");
    /// assert_eq!(error.to_string(), "generation 1 of lender has been fenced off");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Fenced`] when the lease has moved on.
    pub fn check(&self) -> Result<(), Fenced> {
        if self.is_current() {
            return Ok(());
        }
        Err(Fenced {
            id: self.seat.id.clone(),
            generation: self.generation,
        })
    }

    /// Returns the generation this fence belongs to.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// #
    /// # use impetus_supervision::{
    /// #     Actor, ActorError, ChildSpec, Context, Fence, Message, SupervisorSpec, TestExecutor,
    /// # };
    /// #
    /// # struct Lend(Arc<Mutex<Option<Fence>>>);
    /// # impl Message for Lend {}
    /// #
    /// # struct Lender;
    /// # impl Actor for Lender {
    /// #     type Msg = Lend;
    /// #     async fn handle(&mut self, msg: Lend, ctx: &mut Context<Self>) -> Result<(), ActorError> {
    /// #         *msg.0.lock().expect("not poisoned") = Some(ctx.fence());
    /// #         Ok(())
    /// #     }
    /// # }
    /// #
    /// # let (spec, lender) = ChildSpec::actor("lender", |_| Lender);
    /// # let executor = TestExecutor::new();
    /// # let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
    /// # let slot = Arc::new(Mutex::new(None));
    /// # lender.try_send(Lend(Arc::clone(&slot)))?;
    /// # executor.settle();
    /// # let fence = slot.lock().expect("not poisoned").take().expect("lent");
    ///
    /// assert_eq!(fence.generation().get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) fn id(&self) -> &ActorId {
        &self.seat.id
    }

    pub(crate) fn revoke(&self) {
        self.seat.revoke(self.generation);
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence")
            .field("id", &self.seat.id)
            .field("generation", &self.generation)
            .field("current", &self.is_current())
            .finish()
    }
}

// === impl Seat ===

impl Seat {
    pub(crate) fn new(id: ActorId) -> Self {
        Self {
            id,
            lease: AtomicU64::new(0),
            latest: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> &ActorId {
        &self.id
    }

    /// Hands the lease to the next generation; the one before it is fenced by the same step.
    pub(crate) fn grant(self: &Arc<Self>) -> Fence {
        let next = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        self.lease.store(next, Ordering::SeqCst);
        Fence::new(Arc::clone(self), Generation::from_raw(next))
    }

    pub(crate) fn is_current(&self, generation: Generation) -> bool {
        self.lease.load(Ordering::SeqCst) == generation.get()
    }

    pub(crate) fn current(&self) -> Option<Generation> {
        match self.lease.load(Ordering::SeqCst) {
            0 => None,
            number => Some(Generation::from_raw(number)),
        }
    }

    /// Takes the lease back, unless a later generation holds it already.
    fn revoke(&self, generation: Generation) {
        // A failed exchange means that the lease has moved on by itself, which is what was wanted.
        let _ =
            self.lease
                .compare_exchange(generation.get(), 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}
