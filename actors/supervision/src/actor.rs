//! What a program writes: messages and actors.
//!
//! An actor is a plain value with one sequential loop around it: `started`, then one message at a time, then
//! `stopping` if the end is an orderly one. It is built by its factory on the thread it will live on, so it need not
//! be `Send`, and a restart builds it anew: state is never resumed. Whatever fails is returned as an [`ActorError`]
//! or panics; both end the incarnation, and the supervisor decides what follows.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ActorId, Clock, Context, ExitReason, Generation, ProcessLost};

/// A message that an actor can be sent.
pub trait Message: Send + 'static {
    /// Returns what the status board shows as progress while this message is handled.
    fn label(&self) -> &'static str {
        "message"
    }

    /// Returns how long handling may take, where that differs from the child spec's `handle_deadline`.
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Returns a copy to be handled again, once, should the incarnation end while this message is in hand.
    ///
    /// The default is `None`: a message in hand when its actor dies is gone. Only a message whose handling twice does
    /// no harm may return a copy.
    fn replay(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// A supervised actor.
pub trait Actor: Sized + 'static {
    /// The messages it handles.
    type Msg: Message;

    /// Runs once before the first message, within the child spec's `start_deadline`.
    ///
    /// # Errors
    /// An error ends the incarnation as [`ExitReason::FailedStart`] (or `ProcessLost`).
    fn started(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), ActorError>> {
        let _ = ctx;
        ready(Ok(()))
    }

    /// Handles one message, within the message's or the child spec's deadline.
    ///
    /// # Errors
    /// An error ends the incarnation as [`ExitReason::Error`] (or `ProcessLost`).
    fn handle(
        &mut self,
        msg: Self::Msg,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), ActorError>>;

    /// Runs every [`ChildSpec::tick`](crate::ChildSpec::tick), between messages.
    ///
    /// # Errors
    /// As for `handle`.
    fn tick(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), ActorError>> {
        let _ = ctx;
        ready(Ok(()))
    }

    /// Runs before an orderly end, and only then; not after a panic, an error or a hang.
    fn stopping(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = ()> {
        let _ = ctx;
        ready(())
    }

    /// Returns what the actor says about itself. Asked after `started`, every message, every tick and every ring.
    fn status(&self) -> StatusReport {
        StatusReport::default()
    }
}

/// What a factory is told about the incarnation it builds.
#[derive(Clone)]
pub struct Birth {
    /// The actor's name.
    pub id: ActorId,
    /// The number of this incarnation.
    pub generation: Generation,
    /// How the one before it ended; none for the first.
    pub last_exit: Option<ExitReason>,
    /// The system's clock.
    pub clock: Arc<dyn Clock>,
}

/// Why an actor cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// Something failed; the text says what.
    #[error("{0}")]
    Failed(String),
    /// The process that the actor stands for ended.
    #[error("{0}")]
    ProcessLost(ProcessLost),
}

/// What an actor says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// 0 (useless) to 100 (all is well).
    pub score: u8,
    /// One line for a person.
    pub note: Option<String>,
    /// Further facts by name.
    pub details: BTreeMap<String, String>,
}

// === impl Birth ===

impl fmt::Debug for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Birth")
            .field("id", &self.id)
            .field("generation", &self.generation)
            .field("last_exit", &self.last_exit)
            .finish_non_exhaustive()
    }
}

// === impl ActorError ===

impl ActorError {
    /// Returns a failure with the text of `error`.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ProcessLost> for ActorError {
    fn from(lost: ProcessLost) -> Self {
        Self::ProcessLost(lost)
    }
}

// === impl StatusReport ===

impl Default for StatusReport {
    fn default() -> Self {
        Self {
            score: 100,
            note: None,
            details: BTreeMap::new(),
        }
    }
}
