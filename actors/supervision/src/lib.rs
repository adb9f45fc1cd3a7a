//! Supervision trees for actix: child specs, restart intensity, generations, fencing, progress and hang recovery.
//!
//! A program that must run for months contains parts that will fail in ways nobody has thought of. This crate keeps
//! such failures small: each part is an [`Actor`] with a thread of its own and a supervisor that replaces it, by rules
//! that are stated in its [`ChildSpec`] and nowhere else. State is rebuilt, never resumed; messages wait; siblings go
//! on; and what cannot be healed is reported once, with its cause, instead of being retried for ever unseen.
//!
//! ```
//! use std::time::Duration;
//!
//! use impetus_supervision::example::{Count, Counter};
//! use impetus_supervision::{ChildSpec, SupervisorSpec, TestExecutor};
//!
//! let (spec, counter) = ChildSpec::actor("counter", |_birth| Counter::default());
//! let executor = TestExecutor::new();
//! let running = executor.system().start(SupervisorSpec::new("root").child(spec))?;
//!
//! counter.try_send(Count::Add(40))?;
//! counter.try_send(Count::Break("out of paper"))?;
//! counter.try_send(Count::Add(2))?;
//! let total = counter.ask(Count::Total, Duration::from_secs(1));
//!
//! // The first 40 went with the state; the 2 waited in the inbox for the second generation.
//! assert_eq!(executor.run_until(total)?, 2);
//! # drop(running);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to begin
//!
//! - To write an actor: [`Actor`], [`Message`], [`Context`]; [`example`] is one to read.
//! - To say how it is kept alive: [`ChildSpec`], [`SupervisorSpec`], [`Intensity`], [`Backoff`].
//! - To run a tree: [`System`], [`Running`]; to change it while it runs: [`SupervisorRef`].
//! - To talk to an actor: [`ActorRef`], [`Reply`].
//! - To see how it is: [`StatusBoard`], [`ActorStatus`], [`Event`], [`Verdict`].
//! - To hold the tree still while somebody looks: [`Healing`].
//! - To make work done elsewhere harmless once its actor is gone: [`Fence`].
//! - To test: [`TestExecutor`], [`FaultKit`].
//!
//! # How it is built
//!
//! Decisions are pure: intensity, backoff, strategies, ordered stops and escalation are one state machine that knows
//! no threads and no clock. A supervisor is a thin loop around it, and is itself an actor, run by the same harness as
//! those it supervises. Where incarnations run is an [`Executor`]: actix arbiters in earnest, one thread and virtual
//! time in tests. Ends are state that a supervisor reads, not messages that could be lost. Nothing waits without a
//! deadline, and nothing waits for an incarnation that has been abandoned.

#![deny(missing_docs)]

mod actor;
mod actor_ref;
mod backoff;
mod board;
mod clock;
mod context;
mod decide;
mod event;
pub mod example;
mod executor;
mod exit;
mod fault;
mod fence;
mod healing;
mod history;
mod id;
mod inbox;
mod incarnation;
mod intensity;
mod ledger;
mod link;
mod platform;
mod policy;
mod roster;
mod shared;
mod spec;
mod status;
mod supervisor;
mod supervisor_ref;
mod sync;
mod system;
mod tasks;
mod test_executor;
mod timestamp;
mod watchdog;

pub use actor::{Actor, ActorError, Birth, Message, StatusReport};
pub use actor_ref::{ActorRef, AskError, Reply, SendError, TrySendError};
pub use backoff::{Backoff, InvalidBackoff};
pub use board::StatusBoard;
pub use clock::{Clock, SystemClock};
pub use context::Context;
pub use event::{Event, EventKind};
pub use executor::{ArbiterExecutor, Body, Executor, Incarnation, LaunchError};
pub use exit::{ExitReason, ProcessEnd, ProcessLost};
pub use fault::{Fault, FaultKit};
pub use fence::{Fence, Fenced};
pub use futures_util::future::{BoxFuture, LocalBoxFuture};
pub use healing::Healing;
pub use id::{ActorId, Generation};
pub use intensity::{Intensity, InvalidIntensity};
pub use policy::{Restart, Shutdown, Significance, Strategy};
pub use spec::{ChildSpec, SupervisorSpec};
pub use status::{ActorState, ActorStatus, ExitRecord, MailboxStatus, ProgressStatus, StatusNode};
pub use supervisor_ref::{SupervisorError, SupervisorRef};
pub use system::{Running, StartError, StopReport, Stopped, System, SystemBuilder, Verdict};
pub use test_executor::{TestClock, TestExecutor};
pub use timestamp::Timestamp;

/// The programs in the README, compiled and run like every other example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
