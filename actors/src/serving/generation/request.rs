//! What a caller hands in and gets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use impetus_engine::generate::{Chosen, Grammar, Sampling, TokenLogprobs};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::super::{ServeError, ServedModel};

/// A sequence that somebody wants generated.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// The prompt's tokens; at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to generate; `None` for as many as there is room for. What exceeds the room is cut.
    pub max_tokens: Option<usize>,
    /// Tokens that end it.
    pub stop_tokens: Vec<u32>,
    /// How a token is chosen; the seed is the caller's or was drawn for it.
    pub sampling: Sampling,
    /// Whether the caller has named the seed, so that the same request is the same sequence.
    pub seeded: bool,
    /// What the answer must conform to.
    pub grammar: Option<Grammar>,
    /// Best tokens to tell with each one; `None` for no probabilities at all.
    pub logprobs: Option<usize>,
    /// Whether to tell the probabilities of the prompt's tokens too.
    pub prompt_logprobs: bool,
    /// Monotonic time by which nobody waits for the end any more.
    pub deadline: Instant,
    /// The id under which the caller and the log know it, if it has one.
    pub id: Option<Arc<str>>,
}

/// What happens to a sequence, in this order: once begun, then tokens, of which the last one says why it
/// is the last; or at any time a failure, after which nothing more comes.
#[derive(Debug, Clone)]
pub enum StreamEvent {
    /// A worker has taken the whole prompt in. Told once, however often the sequence is resumed.
    Begun {
        /// Tokens of the prompt whose keys and values were there already.
        reused: usize,
        /// Probabilities of the prompt's tokens but the first, where asked for.
        prompt_logprobs: Vec<TokenLogprobs>,
        /// How long it waited before it was sent to a worker.
        queued: Duration,
    },
    /// The next token.
    Token(Chosen),
    /// It cannot be finished.
    Failed(ServeError),
}

/// The events of one sequence. Dropping it cancels the sequence.
#[derive(Debug)]
pub struct TokenStream {
    model: Arc<ServedModel>,
    sequence: u64,
    events: mpsc::Receiver<StreamEvent>,
    since: Instant,
    deadline: Instant,
    ended: bool,
}

// === impl TokenStream ===

impl TokenStream {
    pub(in crate::serving) fn new(
        model: Arc<ServedModel>,
        sequence: u64,
        events: mpsc::Receiver<StreamEvent>,
        deadline: Instant,
    ) -> Self {
        Self {
            model,
            sequence,
            events,
            since: Instant::now(),
            deadline,
            ended: false,
        }
    }

    /// Returns the model that generates it.
    #[must_use]
    pub fn model(&self) -> &Arc<ServedModel> {
        &self.model
    }

    /// Waits for the next event; `None` after the last one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        if self.ended {
            return None;
        }
        let event = match timeout_at(self.deadline.into(), self.events.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => StreamEvent::Failed(self.model.stream_lost()),
            Err(_) => StreamEvent::Failed(self.model.stream_overdue(self.deadline - self.since)),
        };
        self.ended = event.is_last();
        if matches!(event, StreamEvent::Failed(_)) {
            self.model.cancel_stream(self.sequence);
        }
        Some(event)
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        if !self.ended {
            self.model.cancel_stream(self.sequence);
        }
    }
}

// === impl StreamEvent ===

impl StreamEvent {
    /// Tells whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Self::Begun { .. } => false,
            Self::Token(chosen) => chosen.finish.is_some(),
            Self::Failed(_) => true,
        }
    }
}
