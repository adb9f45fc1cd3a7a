//! Senders: the handle that outlives incarnations, and the reply that always comes or says why not.
//!
//! An [`ActorRef`] points at an actor's inbox, not at an incarnation, so it never goes stale over a restart. Every
//! wait has a deadline. A [`Reply`] that is dropped unsent, because the actor died with the question in hand, tells
//! its asker at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::timeout;
use crate::inbox::{Inbox, Lane, Mailbox, Refused};
use crate::{ActorId, Clock, Generation, Message, SystemClock};

/// A handle to an actor's inbox.
pub struct ActorRef<M> {
    inbox: Arc<Inbox<M>>,
}

/// The sending half of an answer; goes into the message that asks.
#[derive(Debug)]
pub struct Reply<T> {
    sender: oneshot::Sender<T>,
}

/// A message that was not taken in, with the message itself.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<M> {
    /// The lane is full.
    #[error("the inbox is full")]
    Full(M),
    /// The actor has been removed, or its system has stopped.
    #[error("the inbox is closed")]
    Closed(M),
}

/// Why a message could not be sent within its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The inbox stayed full until the deadline.
    #[error("the inbox stayed full until the deadline")]
    Timeout,
    /// The actor has been removed, or its system has stopped.
    #[error("the inbox is closed")]
    Closed,
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The inbox is full: the question was not taken in.
    #[error("the inbox is full")]
    Full,
    /// No answer came within the deadline; the question may still be handled.
    #[error("no answer within the deadline")]
    Timeout,
    /// The actor ended, or dropped the reply, while it had the question.
    #[error("the actor ended before it answered")]
    Lost,
    /// The actor has been removed, or its system has stopped.
    #[error("the inbox is closed")]
    Closed,
}

// === impl ActorRef ===

impl<M: Message> ActorRef<M> {
    pub(crate) fn new(inbox: Arc<Inbox<M>>) -> Self {
        Self { inbox }
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox<M>> {
        &self.inbox
    }

    /// Returns the actor's name.
    pub fn id(&self) -> &ActorId {
        self.inbox.seat().id()
    }

    /// Puts a message into the normal lane, now or not at all.
    ///
    /// # Errors
    /// [`TrySendError`], with the message in it.
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        self.inbox.push(Lane::Normal, message).map_err(Into::into)
    }

    /// Puts a message into the priority lane, which overtakes the normal one.
    ///
    /// # Errors
    /// [`TrySendError`], with the message in it.
    pub fn try_send_priority(&self, message: M) -> Result<(), TrySendError<M>> {
        self.inbox.push(Lane::Priority, message).map_err(Into::into)
    }

    /// Puts a message into the normal lane, waiting for room for `within` at most.
    ///
    /// # Errors
    /// [`SendError`]; the message is dropped.
    pub async fn send(&self, message: M, within: Duration) -> Result<(), SendError> {
        let delivered = async {
            let mut message = message;
            loop {
                // Taken before the attempt, so that room made in between is not missed.
                let room = self.inbox.room();
                message = match self.inbox.push(Lane::Normal, message) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Closed(_)) => return Err(SendError::Closed),
                    Err(Refused::Full(message)) => message,
                };
                room.await;
            }
        };
        match timeout(&*self.clock(), within, delivered).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SendError::Timeout),
        }
    }

    /// Sends the message that `question` makes of a [`Reply`] and waits for the answer, for `within` at most.
    ///
    /// # Errors
    /// [`AskError`]; it says whether asking again makes sense.
    pub async fn ask<T>(
        &self,
        question: impl FnOnce(Reply<T>) -> M,
        within: Duration,
    ) -> Result<T, AskError> {
        let (sender, answer) = oneshot::channel();
        self.try_send(question(Reply { sender }))
            .map_err(|error| match error {
                TrySendError::Full(_) => AskError::Full,
                TrySendError::Closed(_) => AskError::Closed,
            })?;
        match timeout(&*self.clock(), within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(AskError::Lost),
            Err(_) => Err(AskError::Timeout),
        }
    }

    /// Returns how many messages wait, both lanes together.
    pub fn depth(&self) -> usize {
        self.inbox.depth()
    }

    /// Returns how many messages the normal lane holds at most.
    pub fn capacity(&self) -> usize {
        self.inbox.capacity()
    }

    /// Returns the generation that reads the inbox now, if one does.
    pub fn generation(&self) -> Option<Generation> {
        self.inbox.seat().current()
    }

    /// The system's clock. Before the system has been started there is none to ask, and real time is what a caller
    /// means then.
    fn clock(&self) -> Arc<dyn Clock> {
        match self.inbox.clock() {
            Some(clock) => Arc::clone(clock),
            None => Arc::new(SystemClock::new()),
        }
    }
}

impl<M> Clone for ActorRef<M> {
    fn clone(&self) -> Self {
        Self {
            inbox: Arc::clone(&self.inbox),
        }
    }
}

impl<M: Message> fmt::Debug for ActorRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorRef")
            .field("id", self.id())
            .field("depth", &self.depth())
            .finish()
    }
}

// === impl Reply ===

impl<T> Reply<T> {
    /// Answers. Whoever asked may have given up waiting; then the answer is dropped.
    pub fn send(self, answer: T) {
        // The asker's deadline has passed: nobody is left to tell.
        let _ = self.sender.send(answer);
    }

    /// Returns true when nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

// === impl TrySendError ===

impl<M> TrySendError<M> {
    /// Returns the message that was refused.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl<M> fmt::Debug for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<M> From<Refused<M>> for TrySendError<M> {
    fn from(refused: Refused<M>) -> Self {
        match refused {
            Refused::Full(message) => Self::Full(message),
            Refused::Closed(message) => Self::Closed(message),
        }
    }
}

// === impl SendError ===

impl SendError {
    /// Returns true when the same message may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

// === impl AskError ===

impl AskError {
    /// Returns true when the same question may be answered later.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Closed)
    }
}
