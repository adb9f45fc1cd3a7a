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
///
/// ```
/// use impetus_supervision::example::{Count, tree};
///
/// let tree = tree()?;
/// let counter = tree.counter.clone();
/// counter.try_send(Count::Break("a reason"))?;
/// tree.executor.settle();
/// // The same handle reaches the next incarnation.
/// counter.try_send(Count::Add(1))?;
/// assert_eq!(counter.generation().map(|generation| generation.get()), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ActorRef<M> {
    inbox: Arc<Inbox<M>>,
}

/// The sending half of an answer; goes into the message that asks.
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
#[derive(Debug)]
pub struct Reply<T> {
    sender: oneshot::Sender<T>,
}

/// A message that was not taken in, with the message itself.
///
/// ```
/// use impetus_supervision::TrySendError;
/// use impetus_supervision::example::{Count, counter};
///
/// let (spec, counter) = counter("counter");
/// drop(spec);
/// assert!(matches!(counter.try_send(Count::Add(1)), Err(TrySendError::Closed(Count::Add(1)))));
/// ```
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
///
/// ```
/// use impetus_supervision::SendError;
///
/// assert_eq!(SendError::Closed.to_string(), "the inbox is closed");
/// ```
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
///
/// ```
/// use std::time::Duration;
///
/// use impetus_supervision::AskError;
/// use impetus_supervision::example::{Count, tree};
///
/// let tree = tree()?;
/// tree.counter.try_send(Count::Stall)?;
/// let total = tree.counter.ask(Count::Total, Duration::from_secs(1));
/// assert_eq!(tree.executor.run_until(total), Err(AskError::Timeout));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    ///
    /// ```
    /// let (_spec, counter) = impetus_supervision::example::counter("clicks");
    /// assert_eq!(counter.id().as_str(), "clicks");
    /// ```
    pub fn id(&self) -> &ActorId {
        self.inbox.seat().id()
    }

    /// Puts a message into the normal lane, now or not at all.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, counter};
    ///
    /// let (spec, counter) = counter("counter");
    /// let spec = spec.capacity(1);
    /// assert!(counter.try_send(Count::Add(1)).is_ok());
    /// assert!(counter.try_send(Count::Add(1)).is_err());
    /// # drop(spec);
    /// ```
    ///
    /// # Errors
    /// [`TrySendError`], with the message in it.
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        self.inbox.push(Lane::Normal, message).map_err(Into::into)
    }

    /// Puts a message into the priority lane, which overtakes the normal one.
    ///
    /// ```
    /// use impetus_supervision::example::{Count, counter};
    ///
    /// let (spec, counter) = counter("counter");
    /// let spec = spec.capacity(1);
    /// counter.try_send(Count::Add(1))?;
    /// // The normal lane is full; this one is not.
    /// counter.try_send_priority(Count::Break("out of order"))?;
    /// # drop(spec);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TrySendError`], with the message in it.
    pub fn try_send_priority(&self, message: M) -> Result<(), TrySendError<M>> {
        self.inbox.push(Lane::Priority, message).map_err(Into::into)
    }

    /// Puts a message into the normal lane, waiting for room for `within` at most.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// tree.executor.run_until(tree.counter.send(Count::Add(4), Duration::from_secs(1)))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// use std::time::Duration;
    ///
    /// use impetus_supervision::example::{Count, tree};
    ///
    /// let tree = tree()?;
    /// tree.counter.try_send(Count::Add(4))?;
    /// let total = tree.counter.ask(Count::Total, Duration::from_secs(1));
    /// assert_eq!(tree.executor.run_until(total)?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// ```
    /// use impetus_supervision::example::{Count, counter};
    ///
    /// let (spec, counter) = counter("counter");
    /// counter.try_send(Count::Add(1))?;
    /// assert_eq!(counter.depth(), 1);
    /// # drop(spec);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn depth(&self) -> usize {
        self.inbox.depth()
    }

    /// Returns how many messages the normal lane holds at most.
    ///
    /// ```
    /// let (spec, counter) = impetus_supervision::example::counter("counter");
    /// assert_eq!(counter.capacity(), 1024);
    /// # drop(spec);
    /// ```
    pub fn capacity(&self) -> usize {
        self.inbox.capacity()
    }

    /// Returns the generation that reads the inbox now, if one does.
    ///
    /// ```
    /// let (spec, counter) = impetus_supervision::example::counter("counter");
    /// assert_eq!(counter.generation(), None);
    /// # drop(spec);
    /// ```
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
    ///
    /// ```
    /// use impetus_supervision::{ActorError, Reply};
    ///
    /// fn divide(a: u64, b: u64, reply: Reply<u64>) -> Result<(), ActorError> {
    ///     // Returning without sending would tell the asker that its question is lost.
    ///     let quotient = a.checked_div(b).ok_or_else(|| ActorError::failed("division by zero"))?;
    ///     reply.send(quotient);
    ///     Ok(())
    /// }
    /// # let _ = divide;
    /// ```
    pub fn send(self, answer: T) {
        // The asker's deadline has passed: nobody is left to tell.
        let _ = self.sender.send(answer);
    }

    /// Returns true when nobody waits for the answer any more.
    ///
    /// ```
    /// use impetus_supervision::Reply;
    ///
    /// fn answer(reply: Reply<String>, work: impl FnOnce() -> String) {
    ///     // Work for somebody who has gone is work for nobody.
    ///     if !reply.is_abandoned() {
    ///         reply.send(work());
    ///     }
    /// }
    /// # let _ = |reply: Reply<String>| answer(reply, String::new);
    /// ```
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

// === impl TrySendError ===

impl<M> TrySendError<M> {
    /// Returns the message that was refused.
    ///
    /// ```
    /// use impetus_supervision::TrySendError;
    ///
    /// assert_eq!(TrySendError::Full("again later").into_message(), "again later");
    /// ```
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
    ///
    /// ```
    /// use impetus_supervision::SendError;
    ///
    /// assert!(SendError::Timeout.is_retryable());
    /// assert!(!SendError::Closed.is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

// === impl AskError ===

impl AskError {
    /// Returns true when the same question may be answered later.
    ///
    /// ```
    /// use impetus_supervision::AskError;
    ///
    /// assert!(AskError::Lost.is_retryable());
    /// assert!(!AskError::Closed.is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Closed)
    }
}
